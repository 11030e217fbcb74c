"""Joint distillation and pruning as one would write it first: the yardstick for ours.

torchaudio's WavLM as teacher and student, gates multiplied in by hooks, all hidden states of both kept, nothing
recomputed. It is how DPHuBERT's public code works too (pyf98/DPHuBERT, lightning.py), which also builds on torchaudio's
model. Its LayerNorms see all channels, ours the open ones; with all gates open both give the same loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from skill_bench.distillation.losses import GroupDistillation
from skill_bench.models.layer import EncoderMasks
from skill_bench.pruning.gates import Gates
from skill_bench.records.similarity import Groups


class Straightforward(nn.Module):
    """Loss of a gated student against its teacher.

    Args:
        teacher, student: of torchaudio.models.wavlm_model.
        target, gates: as in our objective.
        groups: of layers, from 1 on.
    """

    def __init__(self, teacher: Any, student: Any, target: GroupDistillation, gates: Gates, groups: Groups) -> None:
        super().__init__()
        self.teacher, self.student = teacher.eval().requires_grad_(False), student.train()
        self.target, self.gates, self.groups = target, gates, groups
        self.masks: EncoderMasks | None = None
        for index, conv in enumerate(student.feature_extractor.conv_layers):
            conv.register_forward_hook(self._channels(index))
        for index, layer in enumerate(student.encoder.transformer.layers):
            layer.attention.attention.out_proj.register_forward_pre_hook(self._units("heads", index))
            layer.feed_forward.output_dense.register_forward_pre_hook(self._units("ffn", index))

    def forward(self, waves: Float[Tensor, "batch samples"], shared: torch.Generator) -> Float[Tensor, ""]:
        self.masks = self.gates.masks(shared)
        with torch.no_grad():
            taught = self._averages(self.teacher.extract_features(waves)[0])
        loss: Tensor
        loss, _ = self.target(self._averages(self.student.extract_features(waves)[0]), taught)
        return loss

    def _averages(self, states: Sequence[Tensor]) -> list[Tensor]:
        return [torch.stack([states[layer - 1] for layer in group]).mean(0) for group in self.groups]

    def _channels(self, index: int) -> Callable[..., Any]:
        def hook(module: nn.Module, inputs: Any, output: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
            assert self.masks is not None
            assert self.masks.channels is not None
            mask = self.masks.channels[index]
            assert mask is not None
            return output[0] * mask[:, None], output[1]

        return hook

    def _units(self, kind: str, index: int) -> Callable[..., Any]:
        def hook(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
            assert self.masks is not None
            mask: Tensor = getattr(self.masks.layers[index], kind)
            return (inputs[0] * mask.repeat_interleave(inputs[0].shape[-1] // len(mask)),)

        return hook
