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
from skill_bench.models.export.onnx import OPSET, build, to_onnx
from skill_bench.models.export.quantise import quantise
from skill_bench.models.onnx_file import Heard, Parity, Precision, Stated, described
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
        speech: For the parity report, which noise is taken for otherwise, and for the ranges of ``int8-static``: every
            fourth utterance is held out for the report there, as ranges fit what they were learnt from.

    Raises:
        UsageError: ``int8-static`` without speech.
        CheckpointError: another suffix, more than one file holds, or a graph that does not compute the encoder.
    """
    if path.suffix != ".onnx":
        raise CheckpointError(f"{path}: a graph ends in .onnx.")
    encoder = loaded.encoder
    learnt_from, heard, on = _divided(speech, precision)
    waves = _waves(encoder.architecture.receptive_field_samples, heard)
    parity: dict[Precision, tuple[Parity, ...]] = {}
    if precision == "float32":
        model = to_onnx(encoder)
    else:
        graph = build(encoder)
        parity["float32"] = _parity(Session(encoder.architecture, graph.proto, graph.weights), encoder, waves)
        model = quantise(graph, precision, speech=learnt_from)
    parity[precision] = _parity(Session(encoder.architecture, model.SerializeToString()), encoder, waves)
    if (worst := max(one.relative for one in parity["float32"])) > MOST_RELATIVE:
        raise CheckpointError(
            f"{path}: not written, because the graph's hidden states are {worst:.2g} off the model's (of their "
            f"length), expected at most {MOST_RELATIVE:g}. This is a fault of skill-bench; please report the model."
        )
    stated = Stated(
        precision=precision,
        checkpoint_sha256=loaded.sha256,
        parity=parity,
        parity_on=on,
        checkpoint=dict(metadata),
    )
    onnx.helper.set_model_props(model, described(encoder.architecture, stated))
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


def _divided(speech: Waves, precision: Precision) -> tuple[Waves, Waves, Heard]:
    """What ranges are learnt from, what the report hears, and what that is."""
    if precision != "int8-static":
        return (), speech, "speech" if speech else "noise"
    if len(speech) == 1:
        return speech, speech, "calibration speech"
    return [wave for index, wave in enumerate(speech) if index % 4], speech[::4], "held-out speech"


def _waves(shortest: int, speech: Waves) -> list[Tensor]:
    """Waveforms of four lengths: the shortest there is, 1 s, an odd one of 3.7 s, 10 s."""
    lengths = (shortest, SAMPLE_RATE_HZ, _ODD_SAMPLES, 10 * SAMPLE_RATE_HZ)
    noise = 0.1 * torch.randn(lengths[-1], generator=torch.Generator().manual_seed(0))
    track = torch.cat(list(speech)) if speech else noise
    track = track.repeat(-(-lengths[-1] // len(track)))
    return [track[:n] for n in lengths]


def _parity(session: Session, encoder: Encoder, waves: Waves) -> tuple[Parity, ...]:
    found = []
    for wave in waves:
        with torch.no_grad():
            expected = torch.cat(encoder(wave[None])[0])
        difference = session.hidden_states([wave])[0] - expected
        relative = difference.flatten(1).norm(dim=1) / expected.flatten(1).norm(dim=1)
        found.append(Parity(n_samples=len(wave), largest=float(difference.abs().max()), relative=float(relative.max())))
    return tuple(found)
