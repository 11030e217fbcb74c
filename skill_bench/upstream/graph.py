"""An upstream over an .onnx file: what is deployed is what is scored."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from jaxtyping import Float
from torch import Tensor, nn

from skill_bench.base.errors import CheckpointError
from skill_bench.models import memory, onnx_file
from skill_bench.models.checkpoint import LoadedModel
from skill_bench.models.encoder import Encoder
from skill_bench.models.export.onnx import INPUT
from skill_bench.models.onnx_file import OnnxFile
from skill_bench.models.size import size_of
from skill_bench.records.record import System
from skill_bench.upstream.encoder import EncoderUpstream
from skill_bench.upstream.interface import CODE_VERSION, Upstream
from skill_bench.upstream.spec import NAME_DIGITS

SUFFIX = ".onnx"


class GraphUpstream(Upstream):
    """Hidden states h0 to hN as ONNX Runtime computes them on the CPU, an utterance a call and a thread a call.

    Args:
        file: As read.
        system: Name, role and title; identity, hash, sizes and what the file says of itself are filled in.

    Raises:
        CheckpointError: ONNX Runtime cannot run it, or it gives something else than it says.
    """

    def __init__(self, *, file: OnnxFile, system: System) -> None:
        architecture, stated = file.architecture, file.stated
        names = [f"h{index}" for index in range(len(architecture.layers) + 1)]
        with torch.device("meta"):
            n_parameters = size_of(Encoder(architecture))
        super().__init__(
            system=system.model_copy(
                update={
                    "identity": hashlib.sha256(f"graph {CODE_VERSION} {file.sha256}".encode()).hexdigest(),
                    "checkpoint_sha256": stated.checkpoint_sha256,
                    "n_parameters": n_parameters,
                    "n_hidden_states": len(names),
                    "licence": stated.checkpoint.get("licence") or system.licence,
                    "details": {
                        **system.details,
                        **stated.checkpoint,
                        "format": "onnx",
                        "family": architecture.family,
                        "graph_precision": stated.precision,
                        "graph_opset": file.opset,
                        "runtime": f"onnxruntime {onnxruntime.__version__}",
                    },
                }
            ),
            downsample_rate=architecture.hop_samples,
            dim=architecture.dim,
            layer_names=names,
        )
        self.architecture, self.disk_bytes = architecture, len(file.content)
        self._session = _session(file)
        n_samples = architecture.receptive_field_samples + 10 * architecture.hop_samples
        expected = (len(names), architecture.n_frames(n_samples), architecture.dim)
        (states,) = self.hidden_states([torch.zeros(n_samples)])
        if states.shape != expected:
            raise CheckpointError(
                f"{file.path}: gave {tuple(states.shape)} for {n_samples} samples, expected {expected}: it is not the "
                "model that it says. Export it again."
            )

    @property
    def runs_concurrently(self) -> bool:
        return True

    def utterance_bytes(self, n_samples: int) -> int | None:
        """As of the encoder that it was made from: what grows with the length is the same."""
        return memory.utterance_bytes(self.architecture, n_samples)

    def written_down(self) -> nn.Module:
        """The encoder as torch computes it, with zeros for weights."""
        with torch.device("meta"):
            encoder = Encoder(self.architecture)
        encoder.to_empty(device="cpu").apply(_to_zero)
        loaded = LoadedModel(encoder=encoder.eval(), metadata={}, format="onnx", sha256="")
        return EncoderUpstream(loaded=loaded, system=self.system()).freeze()

    def hidden_states(self, waves: list[Float[Tensor, " samples"]]) -> list[Float[Tensor, "layers frames dim"]]:
        """See :meth:`Upstream.hidden_states`; on the CPU, whatever the waves are on."""
        return [self._one(wave.detach().to("cpu", torch.float32)) for wave in waves]

    def _one(self, wave: Float[Tensor, " samples"]) -> Float[Tensor, "layers frames dim"]:
        if len(wave) < self.architecture.receptive_field_samples:
            return torch.empty(self.n_hidden_states, 0, self.dim)
        states = self._session.run(list(self.layer_names), {INPUT: wave[None].numpy()})
        return torch.cat([torch.from_numpy(state) for state in states])


def from_file(path: Path, *, system: System | None = None, name: str = "") -> GraphUpstream:
    """The upstream of a file.

    Args:
        path: Of `skill-bench export --format onnx`.
        system: Of a bundled one; else it is called ``<name>-<hash>``.
        name: Of the upstream whose place it takes.

    Raises:
        CheckpointError: as `skill_bench.models.onnx_file.read`, or ONNX Runtime cannot run it.
    """
    file = onnx_file.read(path)
    said = file.stated.checkpoint
    return GraphUpstream(
        file=file,
        system=system
        or System(
            name=f"{name}-{file.sha256[:NAME_DIGITS]}",
            title=f"{said.get('title', path.stem)} (ONNX {file.stated.precision})",
            kind="other",
            identity="",
            teacher=said.get("teacher"),
        ),
    )


def _session(file: OnnxFile) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what is wrong is raised
    try:
        return onnxruntime.InferenceSession(file.content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a dozen exceptions of its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise CheckpointError(
            f"{file.path}: onnxruntime {onnxruntime.__version__} cannot run this {file.stated.precision} graph "
            f"({reason}). Export it again with this installation, or update onnxruntime."
        ) from error


@torch.no_grad()
def _to_zero(module: nn.Module) -> None:
    for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
        tensor.zero_()
