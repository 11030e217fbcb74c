"""An encoder as one .onnx file that says what it is, and how far it is from the encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.base.documents import write_atomic
from skill_bench.base.errors import CheckpointError
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.models.checkpoint import LoadedModel
from skill_bench.models.encoder import Encoder
from skill_bench.models.export.onnx import OPSET, to_onnx
from skill_bench.models.export.quantise import quantise
from skill_bench.models.onnx_file import Parity, Precision, Stated, described
from skill_bench.models.runtime import Session

MOST_RELATIVE = 1e-3
"""Of a float32 graph: sums in another order move a state by some 1e-6; more says that the graph is another model."""
_ODD_SAMPLES = 59_121
Waves = Sequence[Float[Tensor, " _own_samples"]]


def write(
    loaded: LoadedModel, path: Path, *, metadata: Mapping[str, str], precision: Precision, speech: Waves = ()
) -> Stated:
    """Writes the file in one step, checked by ONNX's own checker, and returns what it says of itself.

    Args:
        loaded: The encoder.
        path: Ends in ``.onnx``.
        metadata: Kept in the file.
        precision: Of the linear layers' weights.
        speech: For the ranges of ``int8-static``, and for the parity report, which noise is taken for otherwise.

    Raises:
        UsageError: ``int8-static`` without speech.
        CheckpointError: another suffix, more than one file holds, or a graph that does not compute the encoder.
    """
    if path.suffix != ".onnx":
        raise CheckpointError(f"{path}: a graph ends in .onnx.")
    model = to_onnx(loaded.encoder)
    heard = _heard(loaded.encoder.architecture.receptive_field_samples, speech)
    parity: dict[Precision, tuple[Parity, ...]] = {"float32": _parity(model, loaded.encoder, heard)}
    if (worst := max(one.relative for one in parity["float32"])) > MOST_RELATIVE:
        raise CheckpointError(
            f"{path}: not written, because the graph's hidden states are {worst:.2g} off the model's (of their "
            f"length), expected at most {MOST_RELATIVE:g}. This is a fault of skill-bench; please report the model."
        )
    if precision != "float32":
        model = quantise(model, precision, speech=speech)
        parity[precision] = _parity(model, loaded.encoder, heard)
    stated = Stated(
        precision=precision,
        checkpoint_sha256=loaded.sha256,
        parity=parity,
        parity_on="speech" if speech else "noise",
        checkpoint=dict(metadata),
    )
    onnx.helper.set_model_props(model, described(loaded.encoder.architecture, stated))
    onnx.checker.check_model(model, full_check=True)
    write_atomic(path, model.SerializeToString(deterministic=True))
    return stated


def report(stated: Stated) -> str:
    """Opset and parity as text, a line a precision."""
    lines = [
        f"{precision} graph and torch, largest difference on {stated.parity_on}: "
        + ", ".join(f"{one.largest:.2g} ({one.n_samples / SAMPLE_RATE_HZ:.3g} s)" for one in found)
        + f"; at most {max(one.relative for one in found):.2g} of a hidden state"
        for precision, found in stated.parity.items()
    ]
    return "\n".join([f"ONNX opset {OPSET}, checked", *lines])


def _heard(shortest: int, speech: Waves) -> list[Tensor]:
    """Waveforms of four lengths: the shortest there is, 1 s, an odd one of 3.7 s, 10 s."""
    lengths = (shortest, SAMPLE_RATE_HZ, _ODD_SAMPLES, 10 * SAMPLE_RATE_HZ)
    noise = 0.1 * torch.randn(lengths[-1], generator=torch.Generator().manual_seed(0))
    track = torch.cat(list(speech)) if speech else noise
    track = track.repeat(-(-lengths[-1] // len(track)))
    return [track[:n] for n in lengths]


def _parity(model: onnx.ModelProto, encoder: Encoder, heard: Waves) -> tuple[Parity, ...]:
    session = Session(encoder.architecture, model.SerializeToString())
    found = []
    for wave in heard:
        with torch.no_grad():
            expected = torch.cat(encoder(wave[None])[0])
        difference = session.hidden_states([wave])[0] - expected
        relative = difference.flatten(1).norm(dim=1) / expected.flatten(1).norm(dim=1)
        found.append(Parity(n_samples=len(wave), largest=float(difference.abs().max()), relative=float(relative.max())))
    return tuple(found)
