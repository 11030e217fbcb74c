"""Frozen encoders on a CPU: ONNX Runtime, one utterance a call, one thread a call.

So an utterance's hidden states depend neither on its batch nor on the machine's cores. Several utterances are computed
by several threads at a time, which share one session and its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.models.architecture import Architecture
from skill_bench.models.encoder import Encoder

States = Callable[[Sequence[Float[Tensor, " _own_samples"]]], list[Float[Tensor, "layers _own_frames dim"]]]
"""Utterances, each of at least one frame, to the states h0..hN of each."""


def states_of(encoder: Encoder) -> States:
    """A frozen encoder where it is now: in ONNX Runtime, or as torch computes it, one utterance after the other."""
    if applies(encoder):
        return Runtime(encoder).hidden_states
    device = encoder.norm.weight.device
    return lambda waves: [torch.cat(encoder(wave[None].to(device))[0]) for wave in waves]


def applies(encoder: Encoder) -> bool:
    """Whether `Runtime` computes this encoder now: float32 weights on a CPU, no gradients wanted, nothing drawn."""
    weight = encoder.norm.weight
    return (
        not torch.is_grad_enabled()
        and not encoder.training
        and not torch.is_autocast_enabled("cpu")
        and (weight.device.type, weight.dtype) == ("cpu", torch.float32)
    )


LONG_SAMPLES = 20 * SAMPLE_RATE_HZ
"""Memory of longer utterances is given back after each; of others it is kept for the next, which saves time."""


class Session:
    """A graph in ONNX Runtime.

    Args:
        architecture: Of the encoder that it computes.
        graph: Serialised; its input is a waveform, its outputs are the hidden states.
        weights: Those that are not in it, by name.
    """

    def __init__(
        self, architecture: Architecture, graph: bytes, weights: Mapping[str, NDArray[Any]] | None = None
    ) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what is wrong is raised
        options.enable_mem_pattern = False  # plans are made for a length, and every utterance has another
        given = {name: onnxruntime.OrtValue.ortvalue_from_numpy(weight) for name, weight in (weights or {}).items()}
        options.add_external_initializers(list(given), list(given.values()))
        self.architecture = architecture
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def hidden_states(
        self, waves: Sequence[Float[Tensor, " _own_samples"]]
    ) -> list[Float[Tensor, "layers _own_frames dim"]]:
        """States h0..hN of each utterance, which has at least one frame; as many at a time as torch has threads.

        Raises:
            NotImplementedError: torch's operations are being watched, and these would not be seen.
        """
        if torch._C._len_torch_dispatch_stack():
            raise NotImplementedError(
                "ONNX Runtime hides its matrix products; to count them, call hidden_states_by_torch."
            )
        n_threads = min(torch.get_num_threads(), len(waves))
        if n_threads < 2:
            return [self._run(wave) for wave in waves]
        with ThreadPoolExecutor(n_threads) as pool:
            return list(pool.map(self._run, waves))

    def _run(self, wave: Float[Tensor, " samples"]) -> Float[Tensor, "layers frames dim"]:
        """Each state is written to its place in one tensor."""
        architecture = self.architecture
        shape = (1, architecture.n_frames(len(wave)), architecture.dim)
        states = torch.empty(len(architecture.layers) + 1, *shape[1:])
        binding = self._session.io_binding()
        samples = wave.detach().to("cpu", torch.float32)[None].contiguous().numpy()
        binding.bind_cpu_input(self._session.get_inputs()[0].name, samples)
        for output, state in zip(self._session.get_outputs(), states, strict=True):
            binding.bind_output(output.name, "cpu", 0, np.float32, shape, state.data_ptr())
        self._session.run_with_iobinding(binding, _run_options(long=len(wave) > LONG_SAMPLES))
        return states


class Runtime:
    """An encoder in ONNX Runtime.

    The session is made at the first call, and anew when the weights have changed since.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._session: Session | None = None
        self._made_of: list[tuple[int, int]] = []
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[Runtime], tuple[Encoder]]:
        """A copy is made of a copied encoder; sessions cannot be copied."""
        return Runtime, (self.encoder,)

    def hidden_states(
        self, waves: Sequence[Float[Tensor, " _own_samples"]]
    ) -> list[Float[Tensor, "layers _own_frames dim"]]:
        """As :meth:`Session.hidden_states`, of the weights as they are now."""
        return self._current().hidden_states(waves)

    def _current(self) -> Session:
        made_of = [_state(parameter) for parameter in self.encoder.parameters()]
        with self._lock:
            if self._session is None or self._made_of != made_of:
                from skill_bench.models.export.onnx import build

                graph = build(self.encoder)
                self._session = Session(self.encoder.architecture, graph.proto, graph.weights)
                self._made_of = made_of
            return self._session


def _run_options(*, long: bool) -> Any:
    import onnxruntime

    options = onnxruntime.RunOptions()
    if long:
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def _state(parameter: Tensor) -> tuple[int, int]:
    """Another one after a change. The session's weights are views, so that no other tensor takes their place."""
    return parameter.data_ptr(), 0 if parameter.is_inference() else parameter._version
