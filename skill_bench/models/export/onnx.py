"""An encoder as an ONNX graph, for ONNX Runtime here and for whoever deploys it.

The graph is written down operation by operation, as the modules are, because tracing them (``torch.onnx.export``) takes
ten seconds of processor time for each new shape, and every pruned student has its own. One utterance has no padding
and no batch, so what the modules do in three dimensions are matrices (frames, channels) here; attention is computed
a head at a time, so that only one head's scores are held and stay in the processor's caches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from skill_bench.base.errors import CheckpointError
from skill_bench.models.attention import SelfAttention
from skill_bench.models.encoder import Encoder
from skill_bench.models.frontend import ChannelNorm, ConvLayer, FrontEnd, TimeNorm
from skill_bench.models.layer import FeedForward, Layer
from skill_bench.models.position import ConvolutionalPosition, PlainPosition, RelativePositionBias, relative_buckets

OPSET = 20
"""Of the default domain, which is all that the graph uses; the first with GELU. ONNX Runtime 1.17 and later run it."""
IR_VERSION = 9
"""The first whose files may use this opset: that of onnx 1.15, on which ONNX Runtime 1.17 is built. It refuses 10."""
INPUT = "waveform"
MOST_BYTES = 2**31 - 1
"""One protobuf message, and so one .onnx file, holds no more."""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A graph whose weights are beside it, not copied.

    Attributes:
        proto: Serialised model; weights are external data in it.
        weights: By name; views of the encoder's where it stores them as the graph wants them.
    """

    proto: bytes
    weights: Mapping[str, NDArray[np.float32]]

    @property
    def n_bytes(self) -> int:
        """Of a file that holds both."""
        return len(self.proto) + sum(weight.nbytes for weight in self.weights.values())


def to_onnx(encoder: Encoder) -> onnx.ModelProto:
    """The encoder as one self-contained model.

    Input ``waveform`` (1, samples): float32, 16 kHz, as the encoder takes it; a model that normalises its waveforms
    does so inside. At least `Architecture.receptive_field_samples` samples, any number above. Outputs ``h0`` to ``hN``,
    each (1, frames, dim): the hidden states as `Encoder.forward` gives them. They are named, not stacked, so that who
    deploys one asks for that one, and who wants all can have each written to its place.

    Args:
        encoder: In evaluation mode, float32 weights on the CPU.

    Raises:
        CheckpointError: the weights are more than one file holds.
    """
    graph = build(encoder)
    require_one_file(graph.n_bytes, advice="Export a smaller student, or this one in 8 bits: --quantise int8.")
    model = onnx.load_model_from_string(graph.proto)
    for initializer in model.graph.initializer:
        if initializer.name in graph.weights:
            initializer.CopyFrom(numpy_helper.from_array(graph.weights[initializer.name], initializer.name))
    return model


def fits(n_bytes: int) -> bool:
    """Whether one .onnx file holds so much."""
    return n_bytes <= MOST_BYTES


def require_one_file(n_bytes: int, *, advice: str) -> None:
    """Refuses what one .onnx file does not hold, and says what to do instead.

    Raises:
        CheckpointError: as it says.
    """
    if not fits(n_bytes):
        raise CheckpointError(
            f"a model of {n_bytes / 1e9:.2f} GB does not fit into one .onnx file, which holds 2.15 GB at most. {advice}"
        )


@torch.no_grad()
def build(encoder: Encoder) -> Graph:
    """As :func:`to_onnx`, the weights apart."""
    graph = _Graph()
    x = _front_end(graph, encoder)
    x = _projection(graph, encoder, x)
    states = _transform(graph, encoder, x)
    outputs = [f"h{index}" for index in range(len(states))]
    for name, state in zip(outputs, states, strict=True):
        graph.op("Unsqueeze", state, graph.integers(0), name=name)
    dim = encoder.architecture.dim
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "encoder",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, (1, "samples"))],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, "frames", dim)) for name in outputs],
            [
                *(numpy_helper.from_array(constant, name) for name, constant in graph.constants.items()),
                *(_external(name, weight) for name, weight in graph.weights.items()),
            ],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="skill-bench",
    )
    return Graph(proto=model.SerializeToString(), weights=graph.weights)


def _external(name: str, weight: NDArray[np.float32]) -> TensorProto:
    found = TensorProto(
        name=name,
        data_type=TensorProto.FLOAT,
        dims=weight.shape,
        data_location=TensorProto.EXTERNAL,
    )
    found.external_data.add(key="location", value=name)
    return found


@dataclass
class _Graph:
    """Nodes, weights and constants so far."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    _numbers: Any = field(default_factory=count)

    def op(self, kind: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Adds an operation of one output and returns that."""
        return self.ops(kind, *inputs, names=[name or f"{kind}_{next(self._numbers)}"], **attributes)[0]

    def ops(self, kind: str, *inputs: str, names: list[str], **attributes: Any) -> list[str]:
        self.nodes.append(helper.make_node(kind, inputs, names, names[0], **attributes))
        return names

    def split(self, x: str, parts: int) -> list[str]:
        """``x`` in equal parts along its columns."""
        if parts == 1:
            return [x]
        number = next(self._numbers)
        names = [f"Split_{number}_{part}" for part in range(parts)]
        return self.ops("Split", x, names=names, axis=1, num_outputs=parts)

    def weight(self, name: str, value: Tensor) -> str:
        self.weights[name] = value.detach().contiguous().numpy()
        return name

    def integers(self, *values: int) -> str:
        name = "integers_" + "_".join(str(value) for value in values)
        self.constants[name] = np.array(values, dtype=np.int64)
        return name

    def integer(self, value: int) -> str:
        """A scalar."""
        self.constants[f"integer_{value}"] = np.array(value, dtype=np.int64)
        return f"integer_{value}"

    def number(self, value: float) -> str:
        """A scalar."""
        self.constants[f"number_{value}"] = np.array(value, dtype=np.float32)
        return f"number_{value}"

    def linear(self, x: str, name: str, linear: nn.Linear) -> str:
        weight, bias = self.weight(f"{name}.weight", linear.weight), self.weight(f"{name}.bias", linear.bias)
        return self.op("Gemm", x, weight, bias, transB=1)

    def layer_norm(self, x: str, name: str, norm: nn.LayerNorm | ChannelNorm) -> str:
        weight, bias = self.weight(f"{name}.weight", norm.weight), self.weight(f"{name}.bias", norm.bias)
        return self.op("LayerNormalization", x, weight, bias, axis=-1, epsilon=norm.eps)

    def transpose(self, x: str) -> str:
        """(1, a, b) to (1, b, a)."""
        return self.op("Transpose", x, perm=[0, 2, 1])


def _front_end(graph: _Graph, encoder: Encoder) -> str:
    """Frames (frames, channels)."""
    architecture, front_end = encoder.architecture, encoder.front_end
    x = INPUT
    if architecture.normalize_waveform or architecture.conv_norm == "group_norm":
        # A norm over time takes the mean off in any case; taken off before, it costs no precision.
        x = graph.op("Sub", x, graph.op("ReduceMean", x, graph.integers(1)))
    if architecture.normalize_waveform:
        variance = graph.op("ReduceMean", graph.op("Mul", x, x), graph.integers(1))
        x = graph.op("Div", x, graph.op("Sqrt", graph.op("Add", variance, graph.number(architecture.normalize_eps))))
    x = graph.op("Unsqueeze", x, graph.integers(1))
    for index, layer in enumerate(front_end.layers):
        assert isinstance(layer, ConvLayer)
        x = _convolution(graph, x, f"front_end.layers.{index}", layer)
    return _scaled(graph, graph.op("Squeeze", graph.transpose(x), graph.integers(0)), front_end)


def _convolution(graph: _Graph, x: str, name: str, layer: ConvLayer) -> str:
    x = _conv1d(graph, x, f"{name}.conv", layer.conv, layer.conv.weight, pads=[0, 0])
    if isinstance(layer.norm, TimeNorm):
        weight = graph.weight(f"{name}.norm.weight", layer.norm.weight)
        bias = graph.weight(f"{name}.norm.bias", layer.norm.bias)
        x = graph.op("InstanceNormalization", x, weight, bias, epsilon=layer.norm.eps)
    elif layer.norm is not None:
        x = graph.transpose(graph.layer_norm(graph.transpose(x), f"{name}.norm", layer.norm))
    return graph.op("Gelu", x)


def _conv1d(graph: _Graph, x: str, name: str, conv: nn.Conv1d, weight: Tensor, *, pads: list[int]) -> str:
    given = [graph.weight(f"{name}.weight", weight)]
    if conv.bias is not None:
        given.append(graph.weight(f"{name}.bias", conv.bias))
    return graph.op("Conv", x, *given, group=conv.groups, kernel_shape=conv.kernel_size, strides=conv.stride, pads=pads)


def _scaled(graph: _Graph, x: str, front_end: FrontEnd) -> str:
    if front_end.channel_scale is None:
        return x
    return graph.op("Mul", x, graph.weight("front_end.channel_scale", front_end.channel_scale))


def _projection(graph: _Graph, encoder: Encoder, x: str) -> str:
    projection = encoder.projection
    if projection.norm is not None:
        x = graph.layer_norm(x, "projection.norm", projection.norm)
    return graph.linear(x, "projection.linear", projection.linear)


def _transform(graph: _Graph, encoder: Encoder, x: str) -> list[str]:
    """The hidden states (frames, dim)."""
    x = graph.op("Add", x, _position(graph, encoder.position, x))
    norm_first = encoder.architecture.layer_norm_first
    if not norm_first:
        x = graph.layer_norm(x, "norm", encoder.norm)
    bias = {} if encoder.position_bias is None else _position_bias(graph, encoder, encoder.position_bias, x)
    states = [x]
    for index, layer in enumerate(encoder.layers):
        assert isinstance(layer, Layer)
        x = _layer(graph, x, f"layers.{index}", layer, bias)
        states.append(x)
    if norm_first:
        states[-1] = graph.layer_norm(x, "norm", encoder.norm)
    return states


def _position(graph: _Graph, position: ConvolutionalPosition | PlainPosition, x: str) -> str:
    """What is added to ``x`` (frames, dim), which stands for where a frame is."""
    x = graph.transpose(graph.op("Unsqueeze", x, graph.integers(0)))
    if isinstance(position, ConvolutionalPosition):
        x = graph.op("Gelu", _same_length(graph, x, "position.conv", position.conv, position.weight()))
    else:
        if position.norm is not None:
            parts = position.norm.state_dict()
            order = ("weight", "bias", "running_mean", "running_var")
            given = [graph.weight(f"position.norm.{part}", parts[part]) for part in order]
            x = graph.op("BatchNormalization", x, *given, epsilon=position.norm.eps)
        for index, conv in enumerate(position.convs):
            assert isinstance(conv, nn.Conv1d)
            x = _same_length(graph, x, f"position.convs.{index}", conv, conv.weight)
            if position.norm is None:
                ones = graph.weight("position.ones", torch.ones(conv.out_channels))
                normed = graph.op("LayerNormalization", graph.transpose(x), ones, axis=-1, epsilon=1e-5)
                x = graph.transpose(normed)
            x = graph.op("Gelu", x)
    return graph.op("Squeeze", graph.transpose(x), graph.integers(0))


def _same_length(graph: _Graph, x: str, name: str, conv: nn.Conv1d, weight: Tensor) -> str:
    """The modules pad an even kernel by one frame too many and drop the last one."""
    kernel = conv.kernel_size[0]
    return _conv1d(graph, x, name, conv, weight, pads=[kernel // 2, (kernel - 1) // 2])


def _position_bias(graph: _Graph, encoder: Encoder, bias: RelativePositionBias, x: str) -> dict[int, str]:
    """For every head that any layer has left: (frames, frames).

    All offsets beyond the largest distance share a bucket, so a table of the others, made here, holds every value: no
    runtime rounds a logarithm across the border of a bucket.
    """
    most = bias.shape.max_distance
    values = bias.weight[relative_buckets(torch.arange(-most, most + 1), bias.shape)]
    n_frames = graph.op("Squeeze", graph.op("Shape", x, start=0, end=1), graph.integers(0))
    frames = graph.op("Range", graph.integer(0), n_frames, graph.integer(1))
    keys = graph.op("Unsqueeze", frames, graph.integers(0))
    queries = graph.op("Unsqueeze", frames, graph.integers(1))
    offsets = graph.op("Sub", keys, queries)
    nearest = graph.op("Clip", offsets, graph.integer(-most), graph.integer(most))
    places = graph.op("Add", nearest, graph.integer(most))
    heads = sorted({head for shape in encoder.architecture.layers for head in shape.heads})
    tables = {head: graph.weight(f"position_bias.{head}", values[:, head]) for head in heads}
    return {head: graph.op("Gather", table, places, axis=0) for head, table in tables.items()}


def _layer(graph: _Graph, x: str, name: str, layer: Layer, bias: Mapping[int, str]) -> str:
    """As `Layer.forward`."""
    if layer.attention is not None:
        entering = graph.layer_norm(x, f"{name}.attention_norm", layer.attention_norm) if layer.norm_first else x
        x = graph.op("Add", x, _attention(graph, entering, f"{name}.attention", layer.attention, bias))
    if not layer.norm_first:
        x = graph.layer_norm(x, f"{name}.attention_norm", layer.attention_norm)
    if layer.feed_forward is not None:
        entering = graph.layer_norm(x, f"{name}.final_norm", layer.final_norm) if layer.norm_first else x
        x = graph.op("Add", x, _feed_forward(graph, entering, f"{name}.feed_forward", layer.feed_forward))
    return x if layer.norm_first else graph.layer_norm(x, f"{name}.final_norm", layer.final_norm)


def _feed_forward(graph: _Graph, x: str, name: str, block: FeedForward) -> str:
    return graph.linear(graph.op("Gelu", graph.linear(x, f"{name}.up", block.up)), f"{name}.down", block.down)


def _attention(graph: _Graph, x: str, name: str, attention: SelfAttention, bias: Mapping[int, str]) -> str:
    n_heads = len(attention.heads)
    queries, keys, values = (
        graph.split(graph.linear(x, f"{name}.{part}", linear), n_heads)
        for part, linear in (("query", attention.query), ("key", attention.key), ("value", attention.value))
    )
    gated: list[list[str]] = [[]] * n_heads
    if attention.gate is not None:
        gates = graph.split(_gates(graph, x, f"{name}.gate", attention), n_heads)
        gated = [[graph.op("Mul", bias[head], gate)] for head, gate in zip(attention.heads, gates, strict=True)]
    attended = []
    scale = attention.head_dim**-0.5
    for query, key, value, added in zip(queries, keys, values, gated, strict=True):
        scores = graph.op("Gemm", query, key, *added, transB=1, alpha=scale)
        attended.append(graph.op("MatMul", graph.op("Softmax", scores, axis=-1), value))
    return graph.linear(graph.op("Concat", *attended, axis=1), f"{name}.out", attention.out)


def _gates(graph: _Graph, x: str, name: str, attention: SelfAttention) -> str:
    """`PositionGate` of all heads (frames, heads).

    Its sums over four features are taken over the weights, once; the width of a head becomes one of all, with zeros.
    """
    gate, heads = attention.gate, attention.heads
    assert gate is not None
    weights, biases = gate.linear.weight.view(2, 4, -1).sum(1), gate.linear.bias.view(2, 4).sum(1)
    found = []
    for part, weight, bias in zip(("update", "reset"), weights, biases, strict=True):
        wide = torch.zeros(len(heads), gate.n_heads, gate.head_dim)
        wide[torch.arange(len(heads)), heads] = weight
        given = graph.weight(f"{name}.{part}.weight", wide.flatten(1))
        added = graph.weight(f"{name}.{part}.bias", bias.expand(len(heads)))
        found.append(graph.op("Sigmoid", graph.op("Gemm", x, given, added, transB=1)))
    update, reset = found
    scaled = graph.op("Mul", reset, graph.weight(f"{name}.scale", gate.scale[heads]))
    return graph.op("Add", graph.op("Mul", update, graph.op("Sub", scaled, graph.number(1.0))), graph.number(2.0))
