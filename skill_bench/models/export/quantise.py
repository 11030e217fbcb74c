"""The linear layers of a graph in 8 bits, by ONNX Runtime's own quantiser.

Only linear layers: an inner convolution of the front end in 8 bits ruins every hidden state (docs/eight_bits.json has
how much). Most of what it hears is a thousandth of the loudest frame, below one step of 255, and the LayerNorm behind
it makes it large again. The positional convolution would cost as much exactness as all linear layers together.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from skill_bench.base.errors import UsageError
from skill_bench.models.export.onnx import INPUT, Graph, fits, require_one_file
from skill_bench.models.onnx_file import Precision

_SMALL_BYTES = 1024
"""ONNX's own tools keep weights below in the graph."""


def quantise(
    graph: Graph,
    precision: Precision,
    *,
    speech: Sequence[Float[Tensor, " _own_samples"]],
    nodes: Sequence[str] | None = None,
) -> onnx.ModelProto:
    """``graph`` with weights in int8, a scale for each output.

    Args:
        graph: Float32; may be larger than one .onnx file.
        precision: ``int8`` takes the range of what enters a layer from each utterance as it comes; ``int8-static`` has
            it from ``speech``, once, as hardware without floating point wants it.
        speech: 16 kHz; only ``int8-static`` needs any.
        nodes: With ``int8-static``, other nodes than the linear layers.

    Raises:
        UsageError: no speech where it is needed.
        CheckpointError: in 8 bits too it is more than one file holds.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

    if precision == "int8-static" and not speech:
        raise UsageError("--quantise int8-static has no speech to learn ranges from. Name some: --calibrate SPEECH.")
    model = onnx.load_model_from_string(graph.proto)
    layers = linear_layers(model) if nodes is None else list(nodes)
    with tempfile.TemporaryDirectory(prefix="skill-bench-quantise-") as folder, _quiet():
        before, after = _beside_its_weights(graph, Path(folder)), Path(folder) / "int8.onnx"
        same: dict[str, Any] = {"per_channel": True, "weight_type": QuantType.QInt8, "nodes_to_quantize": layers}
        same["use_external_data_format"] = not fits(graph.n_bytes)
        if precision == "int8":
            # It writes them as MatMul and Add first, under these names.
            same |= {"nodes_to_quantize": [f"{name}_MatMul" for name in layers], "op_types_to_quantize": ["MatMul"]}
            quantize_dynamic(before, after, **same)
        else:
            kinds = sorted({node.op_type for node in model.graph.node if node.name in layers})
            same |= {"op_types_to_quantize": kinds, "quant_format": QuantFormat.QDQ}
            quantize_static(before, after, _reader(speech), activation_type=QuantType.QUInt8, **same)
        quantised: onnx.ModelProto = onnx.load(after)
    quantised.producer_name, quantised.producer_version = model.producer_name, model.producer_version
    size = sum(len(one.raw_data) for one in quantised.graph.initializer)  # all else is some kilobytes
    require_one_file(size, advice="Export a smaller student.")
    return quantised


def _beside_its_weights(graph: Graph, folder: Path) -> Path:
    """The graph as a file, and one for each weight that is not small: no size is too large."""
    model = onnx.load_model_from_string(graph.proto)
    for one in model.graph.initializer:
        weight = graph.weights.get(one.name)
        if weight is None:
            continue
        if weight.nbytes < _SMALL_BYTES:
            one.CopyFrom(onnx.numpy_helper.from_array(weight, one.name))
        else:
            weight.tofile(folder / one.name)
    path = folder / "float32.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def linear_layers(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that multiply by weights, but for the small ones that gate a position bias."""
    weights = {one.name for one in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Gemm" and node.input[1] in weights and ".gate." not in node.input[1]
    ]


def _reader(speech: Sequence[Tensor]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """The utterances, one by one, then None."""

        def __init__(self) -> None:
            self._left = iter(speech)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            wave = next(self._left, None)
            return None if wave is None else {INPUT: wave[None].numpy()}

    return Reader()


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser advises through the root logger to simplify a graph that is simple already."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
