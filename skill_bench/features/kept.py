"""From an upstream's hidden states to what is kept of them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.base.errors import DataError
from skill_bench.corpora.audio.audio import Audio
from skill_bench.corpora.data import Utterance
from skill_bench.features.cache import KeptFeatures


def kept(
    states: Float[Tensor, "layers frames dim"], utterance: Utterance, audio: Audio, *, pooled: bool, upstream: str
) -> KeptFeatures:
    """Time means, or frames in half precision, in single precision where a value exceeds that.

    Raises:
        DataError: NaN, infinity or no frame.
    """
    if states.ndim != 3 or states.shape[1] == 0 or not torch.isfinite(states).all():
        raise unusable(states, utterance, upstream=upstream)
    features = reduced(states, pooled=pooled)
    if not pooled and not torch.isfinite(features).all():
        features = states.float()
    return KeptFeatures(
        features=features.cpu(), original_rate_hz=audio.original_rate_hz, original_channels=audio.original_channels
    )


def reduced(states: Float[Tensor, "layers frames dim"], *, pooled: bool) -> Tensor:
    """``(layers, dim)`` float32 means, taken in float64; or ``(layers, frames, dim)`` float16."""
    return states.mean(dim=1, dtype=torch.float64).float() if pooled else states.half()


def unusable(states: Tensor, utterance: Utterance, *, upstream: str) -> DataError:
    """The error that names the utterance."""
    shape_is_wrong = states.ndim != 3 or states.shape[1] == 0
    what = f"shape {tuple(states.shape)}" if shape_is_wrong else "NaN or infinity"
    half = "float16 ends at 65504: take --precision bf16. " if states.dtype == torch.float16 else ""
    return DataError(
        f"upstream {upstream!r} returned {what} for utterance {utterance.id!r} ({utterance.path}, "
        f"{utterance.source}); finite features of shape (layers, frames, dim) are needed. "
        f"{half}Check the checkpoint, or remove the utterance from the manifest."
    )
