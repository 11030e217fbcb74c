"""The one door that every weight of every format comes through: named, whole, of the right kind, shape and value."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from skill_bench.base.errors import CheckpointError, KeyMismatch
from skill_bench.models.architecture import Architecture
from skill_bench.models.encoder import Encoder
from skill_bench.models.invalid import shown

_WRAPPERS = ("module.", "_orig_mod.", "model.", "wav2vec2.")
"""What DistributedDataParallel, torch.compile and training scripts put before the names of a model's weights."""
_LARGEST = 1e12  # what one flipped bit makes of a weight, and whose products overflow


def build_architecture(source: str, /, **values: Any) -> Architecture:
    """An architecture from the values of a foreign file.

    Raises:
        CheckpointError: no encoder has them.
    """
    try:
        return Architecture.from_dict(values)
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}. Check that it is the configuration of this model.") from error


def state_dict(value: Any, *, name: str, source: str) -> dict[str, Any]:
    """``value`` as a dict of names, or says what it is instead.

    Raises:
        CheckpointError: no dict, or names that are no strings.
    """
    if not isinstance(value, Mapping):
        raise CheckpointError(
            f"{source}: {name} is a {type(value).__name__}, expected a dict of tensors by name (a state_dict). "
            "Get the file again."
        )
    for key in value:
        if not isinstance(key, str):
            raise CheckpointError(f"{source}: {name} has the key {shown(key)}, expected names of weights alone.")
    return dict(value)


def rename(
    tensors: Mapping[str, Any],
    architecture: Architecture,
    foreign_name: Callable[[str], str],
    *,
    source: str,
    may_drop: Iterable[str] = (),
) -> dict[str, Tensor]:
    """``tensors`` under our names, float32; nothing is left out in silence.

    Args:
        foreign_name: our parameter's name -> its name in ``tensors``.
        may_drop: regular expressions (of whole names) of what is allowed to be left over: mask embeddings, heads.

    Raises:
        KeyMismatch: a name is missing, or left over and not allowed to be; in the names of the file, with the likely
            cause.
        CheckpointError: what is under a name is no tensor of stored, finite floats in the architecture's shape.
    """
    shapes = expected_shapes(architecture)
    names = {ours: foreign_name(ours) for ours in shapes}
    theirs = set(names.values())
    allowed = re.compile("|".join(f"(?:{pattern})" for pattern in may_drop) or r"(?!)")
    unexpected = [key for key in tensors if key not in theirs and not allowed.fullmatch(key)]
    missing = [key for key in names.values() if key not in tensors]
    if missing or unexpected:
        raise KeyMismatch(source, missing=missing, unexpected=unexpected, cause=_likely_cause(missing, unexpected))
    return {ours: _checked(tensors[name], shapes[ours], f"{source}: {name}") for ours, name in names.items()}


def _checked(tensor: Any, shape: tuple[int, ...], what: str) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise CheckpointError(f"{what} is a {type(tensor).__name__}, expected a tensor. Get the file again.")
    # The gate's scale is stored as (1, heads, 1, 1), otherwise only the size of a 1 may differ.
    if tuple(n for n in tensor.shape if n != 1) != tuple(n for n in shape if n != 1):
        raise CheckpointError(
            f"{what} has shape {tuple(tensor.shape)}, the architecture needs {shape}. "
            "Check that configuration and weights come from the same model."
        )
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        raise CheckpointError(
            f"{what} is a {tensor.layout} tensor on {tensor.device}, expected stored values. Save it as dense, with "
            "its values."
        )
    if not tensor.dtype.is_floating_point:
        raise CheckpointError(
            f"{what} holds {tensor.dtype}, expected floating-point weights. Quantised weights cannot be read: save "
            "the model before it was quantised."
        )
    stored = tensor.untyped_storage().nbytes() // tensor.element_size()
    if stored < tensor.numel():
        raise CheckpointError(
            f"{what} claims {tensor.numel():,} values of which {stored:,} are stored. Save tensor.clone() instead."
        )
    found = tensor.detach().reshape(shape).to(torch.float32)
    if not bool(found.isfinite().all()):
        raise CheckpointError(
            f"{what} holds values that are not finite in float32. The training diverged, or the file is damaged: "
            "take an earlier checkpoint."
        )
    largest = float(found.abs().max()) if found.numel() else 0.0
    if largest > _LARGEST:
        raise CheckpointError(
            f"{what} holds values up to {largest:.1g}, which no trained model has: the file is damaged. Get it again."
        )
    if what.endswith("running_var") and bool((found < 0).any()):
        raise CheckpointError(f"{what} holds negative variances. Get the file again.")
    return found


@functools.lru_cache(maxsize=64)
def expected_shapes(architecture: Architecture) -> Mapping[str, tuple[int, ...]]:
    """Names and shapes of the parameters of an encoder, without allocating them."""
    with torch.device("meta"):
        encoder = Encoder(architecture)
    return MappingProxyType({name: tuple(tensor.shape) for name, tensor in encoder.state_dict().items()})


def modern_weight_norm(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """``weight_g`` and ``weight_v`` (before torch 2.0) under the names of ``torch.nn.utils.parametrizations``."""
    return {
        re.sub(r"\.weight_([gv])$", lambda m: f".parametrizations.weight.original{'gv'.index(m[1])}", key): value
        for key, value in tensors.items()
    }


def without_wrappers(
    tensors: Mapping[str, Any], *, own: tuple[str, ...] = (), source: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Takes off what programs put before the names of a model's weights, and says so in notes.

    Args:
        own: prefixes that belong to the format, taken off without a note.

    Raises:
        CheckpointError: two names become one.
    """
    stripped: dict[str, Any] = {}
    taken: set[str] = set()
    for key, tensor in tensors.items():
        name = key.replace("_orig_mod.", "")
        taken |= {"_orig_mod."} if name != key else set()
        while prefix := next((p for p in (*_WRAPPERS, *own) if name.startswith(p)), None):
            taken.add(prefix)
            name = name.removeprefix(prefix)
        if name in stripped:
            raise CheckpointError(f"{source}: holds some weights with and without a prefix of {', '.join(taken)}.")
        stripped[name] = tensor
    said = [prefix for prefix in _WRAPPERS if prefix in taken.difference(own)]
    return stripped, (f"names of weights began with {' and '.join(said)}: taken off",) if said else ()


def _likely_cause(missing: list[str], unexpected: list[str]) -> str | None:
    """Why names do not fit, where they tell."""
    prefixes = {key.removesuffix(name) for name in missing[:3] for key in unexpected if key.endswith(f".{name}")}
    if len(prefixes) == 1:
        return f"All names begin with {prefixes.pop()!r}: another model is around this one. Save its own state_dict."
    if _mentions(missing, _GATES) and not _mentions(unexpected, _GATES):
        return "The configuration says WavLM, but the weights have no gates of a position bias: HuBERT or wav2vec 2.0?"
    if _mentions(unexpected, _GATES) and not _mentions(missing, _GATES):
        return "The weights have gates of a position bias, as WavLM has, but the configuration does not say so."
    says, has = ({int(n) for key in keys for n in re.findall(_LAYER, key)} for keys in (missing, unexpected))
    if says and not has and min(says) > 0:
        return f"The configuration has more layers than the weights: those of layer {min(says)} are missing."
    if has and not says and min(has) > 0:
        return f"The weights have more layers than the configuration: layer {min(has)} is left over."
    return None


_GATES = re.compile(r"\.(gru_rel_pos_linear|grep_linear|gate\.linear)\.")
_LAYER = re.compile(r"(?<!conv_)layers\.(\d+)\.final_(?:layer_)?norm\.weight")


def _mentions(keys: list[str], pattern: re.Pattern[str]) -> bool:
    return any(pattern.search(key) for key in keys)
