"""Pre-trains a teacher by masked prediction of discrete units (HuBERT, arXiv 2106.07447; WavLM, arXiv 2110.13900)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from skill_bench.models.encoder import Encoder
from skill_bench.training.loop import Objective

UnitsOf = Callable[[Float[Tensor, "batch samples"]], Int[Tensor, "batch frames"]]
"""Clean waves to the unit of each frame."""


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """What the input loses, while the units come from clean speech.

    mask_start_probability, mask_frames: spans of the front end's output (HuBERT: 0.08, 10 frames).
    mixing_probability: chance that another utterance of the batch is added to part of one, at 0 to 15 dB (WavLM).
    noise_probability: chance of white noise, at 5 to 30 dB.
    gain_db: loudness changes by up to this much either way.
    """

    mask_start_probability: float = 0.08
    mask_frames: int = 10
    mixing_probability: float = 0.2
    noise_probability: float = 0.3
    gain_db: float = 6.0

    def spans(self, batch: int, frames: int, *, device: torch.device) -> Bool[Tensor, "batch frames"]:
        starts = (torch.rand(batch, frames, device=device) < self.mask_start_probability).float()
        covered = F.max_pool1d(F.pad(starts, (self.mask_frames - 1, 0)), self.mask_frames, stride=1)
        return covered.bool()

    def waves(self, clean: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch samples"]:
        (batch, samples), device = clean.shape, clean.device
        power = clean.square().mean(1, keepdim=True).clamp(min=1e-8)
        noisy = clean
        if batch > 1:
            other = torch.randperm(batch, device=device)
            ratio = power / power[other] * 10 ** (-torch.empty(batch, 1, device=device).uniform_(0, 15) / 10)
            inside = torch.zeros(batch, samples, device=device)
            for row in range(batch):
                length = int(torch.randint(1, samples // 2 + 1, ()))
                start = int(torch.randint(0, samples - length + 1, ()))
                inside[row, start : start + length] = float(torch.rand(()) < self.mixing_probability)
            noisy = noisy + clean[other] * ratio.sqrt() * inside
        level = (power * 10 ** (-torch.empty(batch, 1, device=device).uniform_(5, 30) / 10)).sqrt()
        chosen = (torch.rand(batch, 1, device=device) < self.noise_probability).float()
        noisy = noisy + chosen * level * torch.randn(batch, samples, device=device)
        return noisy * 10 ** (torch.empty(batch, 1, device=device).uniform_(-self.gain_db, self.gain_db) / 20)


class MaskedPrediction(nn.Module):
    """An encoder with a mask embedding and a classifier over units; the encoder is what remains.

    Args:
        layers: hidden states that predict the units, each with a classifier of its own. HuBERT asks the last alone;
            asking lower ones too teaches them sooner (ILS-SSL, arXiv 2112.08778).
    """

    def __init__(self, encoder: Encoder, *, n_units: int, layers: tuple[int, ...], visible_weight: float) -> None:
        super().__init__()
        self.visible_weight, self.layers = visible_weight, layers
        self.encoder = encoder
        self.mask_embedding = nn.Parameter(torch.empty(encoder.architecture.dim).uniform_())
        self.classifiers = nn.ModuleList(nn.Linear(encoder.architecture.dim, n_units) for _ in layers)

    def forward(
        self, clean: Float[Tensor, "batch samples"], units: UnitsOf, corruption: Corruption
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Cross-entropy at masked frames plus ``visible_weight`` times that at visible ones (HuBERT, eq. 2).

        The mean over ``layers``; the accuracies are those of the last of them.
        """
        targets = units(clean)
        channels, _ = self.encoder.frames(corruption.waves(clean))
        projected = self.encoder.projection(channels)
        masked = corruption.spans(*projected.shape[:2], device=clean.device)
        projected = torch.where(masked[:, :, None], self.mask_embedding, projected)
        states = list(self.encoder.transform(projected, None))
        losses = []
        for layer, classifier in zip(self.layers, self.classifiers, strict=True):
            logits = classifier(states[layer])
            loss = F.cross_entropy(logits[masked], targets[masked])
            if self.visible_weight:
                loss = loss + self.visible_weight * F.cross_entropy(logits[~masked], targets[~masked])
            losses.append(loss)
        right = (logits.argmax(2) == targets).float()
        return torch.stack(losses).mean(), {
            "masked_accuracy": right[masked].mean(),
            "visible_accuracy": right[~masked].mean(),
        }


class PretrainObjective(Objective):
    """Masked prediction as the training loop takes it."""

    def __init__(self, model: MaskedPrediction, units: UnitsOf, corruption: Corruption) -> None:
        super().__init__()
        self.model, self.units, self.corruption = model, units, corruption

    def forward(
        self, update: int, waves: Float[Tensor, "batch samples"], shared: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        loss: tuple[Tensor, dict[str, Tensor]] = self.model(waves, self.units, self.corruption)
        return loss
