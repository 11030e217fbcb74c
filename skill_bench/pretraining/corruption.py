"""What a model in pre-training does not hear: masked spans, other voices, noise."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from skill_bench.pretraining.recipe import Corruption, Masking


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
