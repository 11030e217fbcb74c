"""Masked prediction of discrete units (HuBERT, arXiv 2106.07447; WavLM, arXiv 2110.13900).

What a model in pre-training does not hear: masked spans, other voices, noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from skill_bench.models.encoder import Encoder
from skill_bench.pretraining.recipe import Corruption, Masking, Prediction
from skill_bench.training.loop import Objective

UnitsOf = Callable[[Float[Tensor, "batch samples"]], Int[Tensor, "clusterings batch frames"]]
"""Clean waves to the units of each frame, one of each clustering."""


class MaskedPrediction(nn.Module):
    """An encoder with a mask embedding and classifiers over units; the encoder is what remains.

    Args:
        n_units: of each clustering.
        prediction: hidden states that predict the units, each with classifiers of its own. HuBERT asks the last alone;
            asking lower ones too teaches them sooner (ILS-SSL, arXiv 2112.08778).
    """

    def __init__(self, encoder: Encoder, *, n_units: Sequence[int], prediction: Prediction) -> None:
        super().__init__()
        self.n_units, self.prediction = list(n_units), prediction
        self.encoder = encoder
        dim = encoder.architecture.dim
        self.mask_embedding = nn.Parameter(torch.empty(dim).uniform_())
        self.classifiers = nn.ModuleList(nn.Linear(dim, sum(n_units)) for _ in prediction.layers)

    def forward(
        self, clean: Float[Tensor, "batch samples"], units: UnitsOf, masking: Masking, corruption: Corruption
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Cross-entropy at masked frames plus ``visible_weight`` times that at visible ones (HuBERT, eq. 2).

        The mean over layers and clusterings; the accuracies are those of the last layer.
        """
        targets = units(clean)
        channels, _ = self.encoder.frames(corrupted(clean, corruption))
        projected = self.encoder.projection(channels)
        masked = masked_spans(masking, *projected.shape[:2], device=clean.device)
        projected = torch.where(masked[:, :, None], self.mask_embedding, projected)
        states = list(self.encoder.transform(projected, None))
        losses, right = [], []
        for layer, classifier in zip(self.prediction.layers, self.classifiers, strict=True):
            logits = classifier(states[layer]).float().split(self.n_units, dim=2)
            losses += [self._loss(of_one, target, masked) for of_one, target in zip(logits, targets, strict=True)]
            right = [of_one.argmax(2) == target for of_one, target in zip(logits, targets, strict=True)]
        hits = torch.stack(right).float()
        return torch.stack(losses).mean(), {
            "masked_accuracy": hits[:, masked].mean(),
            "visible_accuracy": hits[:, ~masked].mean(),
        }

    def _loss(
        self,
        logits: Float[Tensor, "batch frames units"],
        target: Int[Tensor, "batch frames"],
        masked: Tensor,
    ) -> Float[Tensor, ""]:
        loss = F.cross_entropy(logits[masked], target[masked])
        if self.prediction.visible_weight:
            loss = loss + self.prediction.visible_weight * F.cross_entropy(logits[~masked], target[~masked])
        return loss


class PretrainObjective(Objective):
    """Masked prediction as the training loop takes it."""

    def __init__(self, model: MaskedPrediction, units: UnitsOf, masking: Masking, corruption: Corruption) -> None:
        super().__init__()
        self.model, self.units, self.masking, self.corruption = model, units, masking, corruption

    def forward(
        self, update: int, waves: Float[Tensor, "batch samples"], shared: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        loss: tuple[Tensor, dict[str, Tensor]] = self.model(waves, self.units, self.masking, self.corruption)
        return loss


def masked_spans(masking: Masking, batch: int, frames: int, *, device: torch.device) -> Bool[Tensor, "batch frames"]:
    """True where a span covers a frame; spans may overlap."""
    starts = (torch.rand(batch, frames, device=device) < masking.start_probability).float()
    covered = F.max_pool1d(F.pad(starts, (masking.n_frames - 1, 0)), masking.n_frames, stride=1)
    return covered.bool()


def corrupted(clean: Float[Tensor, "batch samples"], options: Corruption) -> Float[Tensor, "batch samples"]:
    """Another utterance on part of each, white noise, another loudness."""
    (batch, samples), device = clean.shape, clean.device
    power = clean.square().mean(1, keepdim=True).clamp(min=1e-8)
    noisy = clean
    if batch > 1:
        other = torch.randperm(batch, device=device)
        below = torch.empty(batch, 1, device=device).uniform_(*options.mixing_db)
        ratio = power / power[other] * 10 ** (-below / 10)
        inside = torch.zeros(batch, samples, device=device)
        for row in range(batch):
            length = int(torch.randint(1, samples // 2 + 1, ()))
            start = int(torch.randint(0, samples - length + 1, ()))
            inside[row, start : start + length] = float(torch.rand(()) < options.mixing_probability)
        noisy = noisy + clean[other] * ratio.sqrt() * inside
    level = (power * 10 ** (-torch.empty(batch, 1, device=device).uniform_(*options.noise_db) / 10)).sqrt()
    chosen = (torch.rand(batch, 1, device=device) < options.noise_probability).float()
    noisy = noisy + chosen * level * torch.randn(batch, samples, device=device)
    return noisy * 10 ** (torch.empty(batch, 1, device=device).uniform_(-options.gain_db, options.gain_db) / 20)
