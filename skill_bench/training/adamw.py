"""AdamW as a distillation uses it: torch's fused kernel, one pass over the weights instead of about ten."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from skill_bench.training.options import Optimizer


def adamw(
    parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]], *, options: Optimizer, fused: bool = True
) -> torch.optim.AdamW:
    """The optimiser of a stage.

    Args:
        parameters: or groups of them.
        fused: False where gradients are scaled (fp16): they are clipped before the step, which the kernel cannot await.
    """
    return torch.optim.AdamW(
        parameters,
        betas=options.betas,
        eps=options.epsilon,
        weight_decay=options.weight_decay,
        fused=fused,
    )
