"""An upstream over an .onnx file: what is deployed is what is scored."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import torch
from jaxtyping import Float
from torch import Tensor, nn

from skill_bench.base.errors import CheckpointError
from skill_bench.base.hashed import digest
from skill_bench.models import onnx_file, size
from skill_bench.models.checkpoint import LoadedModel
from skill_bench.models.encoder import Encoder
from skill_bench.models.onnx_file import OnnxFile
from skill_bench.models.runtime import Session
from skill_bench.models.size import size_of
from skill_bench.records.record import System
from skill_bench.upstream.encoder import EncoderUpstream
from skill_bench.upstream.interface import CODE_VERSION, Upstream
from skill_bench.upstream.spec import system_of_weights

SUFFIX = ".onnx"


class GraphUpstream(Upstream):
    """Hidden states h0 to hN of a graph, on the CPU.

    Args:
        file: As read.
        system: Name, role and title; identity, hash, sizes and what the file says of itself are filled in.

    Raises:
        CheckpointError: ONNX Runtime cannot run it, or not as what it says it is.
    """

    def __init__(self, *, file: OnnxFile, system: System) -> None:
        architecture, stated = file.architecture, file.stated
        names = [f"h{index}" for index in range(len(architecture.layers) + 1)]
        with torch.device("meta"):
            n_parameters = size_of(Encoder(architecture))
        super().__init__(
            system=system.model_copy(
                update={
                    "identity": digest(f"graph {CODE_VERSION} {file.sha256}"),
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

    @property
    def runs_concurrently(self) -> bool:
        return True

    def utterance_bytes(self, n_samples: int) -> int | None:
        """As of the encoder that it was made from: what grows with the length is the same."""
        return size.utterance_bytes(self.architecture, n_samples)

    def written_down(self) -> nn.Module:
        """The encoder as torch computes it, with zeros for weights."""
        with torch.device("meta"):
            encoder = Encoder(self.architecture)
        encoder.to_empty(device="cpu").apply(_to_zero)
        loaded = LoadedModel(encoder=encoder.eval(), metadata={}, format="onnx", sha256="")
        return EncoderUpstream(loaded=loaded, system=self.system()).freeze()

    def hidden_states(self, waves: list[Float[Tensor, " samples"]]) -> list[Float[Tensor, "layers frames dim"]]:
        """See :meth:`Upstream.hidden_states`; on the CPU, whatever the waves are on."""
        shortest = self.architecture.receptive_field_samples
        found = iter(self._session.hidden_states([wave for wave in waves if len(wave) >= shortest]))
        none = torch.empty(self.n_hidden_states, 0, self.dim)
        return [next(found) if len(wave) >= shortest else none for wave in waves]


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
    if system is None:
        system = system_of_weights(name, file.sha256, metadata=file.stated.checkpoint, title=path.stem)
        system = system.model_copy(update={"title": f"{system.title} (ONNX {file.stated.precision})"})
    return GraphUpstream(file=file, system=system)


def _session(file: OnnxFile) -> Session:
    """Tried on a few frames, of which there must be as many as its architecture gives."""
    architecture, what = file.architecture, f"onnxruntime {onnxruntime.__version__} cannot run"
    try:
        session = Session(architecture, file.content)
    except Exception as error:  # onnxruntime has a dozen exceptions of its own
        raise CheckpointError(
            f"{file.path}: {what} this {file.stated.precision} graph ({_reason(error)}). Export it again with this "
            "installation, or update onnxruntime."
        ) from error
    n_samples = architecture.receptive_field_samples + 10 * architecture.hop_samples
    try:
        (states,) = session.hidden_states([torch.zeros(n_samples)])
    except Exception as error:
        raise CheckpointError(
            f"{file.path}: {what} it on {n_samples} samples, expected {architecture.n_frames(n_samples)} frames of "
            f"{architecture.dim} ({_reason(error)}): it is not the model that it says it is. Export it again."
        ) from error
    if not bool(states.isfinite().all()):
        raise CheckpointError(
            f"{file.path}: gives values that are not finite on {n_samples} samples of silence. Get the file again, or "
            "export it again."
        )
    return session


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:600] or type(error).__name__


@torch.no_grad()
def _to_zero(module: nn.Module) -> None:
    for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
        tensor.zero_()
