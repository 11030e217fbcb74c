"""A speech encoder whose layers may each have their own size: pruned wav2vec 2.0, HuBERT and WavLM.

    model = AutoModel.from_pretrained(FOLDER, trust_remote_code=True)
    output = model(waves, attention_mask, output_hidden_states=True)

This file lies beside the weights, which skill-bench wrote; it needs torch and transformers, and not skill-bench. It
computes what skill-bench's own encoder computes, for 16 kHz mono speech; normalisation of the waveform, where the model
wants it, is part of the model. An utterance's states do not depend on what it is padded with.

Formulas: wav2vec 2.0 (arXiv 2006.11477), data2vec (arXiv 2202.03555), WavLM (arXiv 2110.13900, eq. 5-7).
"""

# A folder's copy is read beside any version of torch and transformers, whose hints differ.
# mypy: disable-error-code="no-any-return, no-untyped-call, arg-type"

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput


class SkillBenchConfig(PretrainedConfig):
    """``architecture`` holds all sizes, layer by layer, as skill-bench's ``Architecture`` writes them."""

    model_type = "skill-bench"

    def __init__(self, architecture: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.architecture = architecture or {}


class Convolution(nn.Module):
    """Convolution, norm where there is one (over time, or over the channels of a frame), GELU."""

    def __init__(self, shape: dict[str, int], in_channels: int, *, bias: bool, norm: str | None) -> None:
        super().__init__()
        channels = shape["channels"]
        self.conv = nn.Conv1d(in_channels, channels, shape["kernel"], shape["stride"], bias=bias)
        self.over_time = norm == "group_norm"
        self.norm = None
        if norm is not None:
            self.norm = nn.GroupNorm(channels, channels) if self.over_time else nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x) if self.over_time else self.norm(x.transpose(1, 2)).transpose(1, 2)
        return F.gelu(x)


class FrontEnd(nn.Module):
    """(batch, samples) to (batch, frames, channels)."""

    def __init__(self, sizes: dict[str, Any]) -> None:
        super().__init__()
        convs, norm = sizes["convs"], sizes["conv_norm"]
        widths = [1, *(conv["channels"] for conv in convs)]
        norms = [norm] + [None if norm == "group_norm" else norm] * (len(convs) - 1)
        self.layers = nn.ModuleList(
            Convolution(conv, width, bias=sizes["conv_bias"], norm=norm)
            for conv, width, norm in zip(convs, widths[:-1], norms, strict=True)
        )
        self.channel_scale = nn.Parameter(torch.ones(widths[-1])) if sizes.get("channel_scale") else None

    def forward(self, waves: Tensor) -> Tensor:
        if waves.device.type != "cpu":
            return self._frames(waves)
        # One utterance at a time takes a part of the memory, and no more time.
        return torch.cat([self._frames(wave[None]) for wave in waves])

    def _frames(self, waves: Tensor) -> Tensor:
        x = waves[:, None]
        for layer in self.layers:
            x = layer(x)
        x = x.transpose(1, 2)
        return x if self.channel_scale is None else x * self.channel_scale


class Projection(nn.Module):
    """Channels to the width of the Transformer."""

    def __init__(self, sizes: dict[str, Any]) -> None:
        super().__init__()
        channels = sizes["convs"][-1]["channels"]
        self.norm = nn.LayerNorm(channels) if sizes.get("projection_norm", True) else nn.Identity()
        self.linear = nn.Linear(channels, sizes["dim"])

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(x))


class StoredNorm(nn.Module):
    """A batch norm whose statistics are the checkpoint's."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_var", torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)


class Position(nn.Module):
    """Adds to each frame where it stands: one weight-normalised convolution, or plain ones."""

    def __init__(self, sizes: dict[str, Any]) -> None:
        super().__init__()
        self.kind = sizes.get("position_norm", "weight_norm")
        convs = [
            nn.Conv1d(
                sizes["dim"],
                sizes["dim"],
                sizes["position_kernel"],
                padding=sizes["position_kernel"] // 2,
                groups=sizes["position_groups"],
            )
            for _ in range(sizes.get("position_depth", 1))
        ]
        if self.kind == "weight_norm":
            self.conv = weight_norm(convs[0], dim=2)
        else:
            self.convs = nn.ModuleList(convs)
        if self.kind == "batch_norm":
            self.norm = StoredNorm(sizes["dim"])

    def forward(self, x: Tensor) -> Tensor:
        embedded = x.transpose(1, 2)
        if self.kind == "batch_norm":
            embedded = self.norm(embedded)
        for conv in [self.conv] if self.kind == "weight_norm" else self.convs:
            embedded = conv(embedded)[..., : x.shape[1]]
            if self.kind == "layer_norm":
                embedded = F.layer_norm(embedded.transpose(1, 2), x.shape[2:]).transpose(1, 2)
            embedded = F.gelu(embedded)
        return x + embedded.transpose(1, 2)


class PositionBias(nn.Module):
    """WavLM's bias: one number a bucket of distances and head, as (heads, frames, frames)."""

    def __init__(self, sizes: dict[str, Any]) -> None:
        super().__init__()
        self.n_buckets = sizes["relative_position"]["n_buckets"]
        self.max_distance = sizes["relative_position"]["max_distance"]
        self.weight = nn.Parameter(torch.zeros(self.n_buckets, sizes["n_heads"]))

    def forward(self, n_frames: int) -> Tensor:
        position = torch.arange(n_frames, device=self.weight.device)
        return self.weight[self.buckets(position[None, :] - position[:, None])].permute(2, 0, 1)

    def buckets(self, offsets: Tensor) -> Tensor:
        """Exact when near, logarithmic when far, half of them for each sign."""
        half, exact = self.n_buckets // 2, self.n_buckets // 4
        distance = offsets.abs()
        far = torch.log(distance.float().clamp(min=1) / exact) / math.log(self.max_distance / exact) * (half - exact)
        logarithmic = exact + far.long().clamp(max=half - 1 - exact)
        return (offsets > 0).long() * half + torch.where(distance < exact, distance, logarithmic)


class PositionGate(nn.Module):
    """How strongly each query of each remaining head listens to the position bias; (batch, heads, frames, 1)."""

    def __init__(self, sizes: dict[str, Any], heads: list[int]) -> None:
        super().__init__()
        self.heads, self.n_heads = heads, sizes["n_heads"]
        self.linear = nn.Linear(sizes["head_dim"], 8)
        self.scale = nn.Parameter(torch.ones(self.n_heads))

    def forward(self, x: Tensor) -> Tensor:
        per_head = x.reshape(*x.shape[:2], self.n_heads, -1)[:, :, self.heads].transpose(1, 2)
        gates = self.linear(per_head)
        update, reset = torch.sigmoid(gates.view(*gates.shape[:3], 2, 4).sum(4)).chunk(2, dim=3)
        return update * (reset * self.scale[self.heads][:, None, None] - 1.0) + 2.0


class Attention(nn.Module):
    """Self-attention over the heads that remain."""

    def __init__(self, sizes: dict[str, Any], heads: list[int]) -> None:
        super().__init__()
        dim, self.heads, self.head_dim = sizes["dim"], heads, sizes["head_dim"]
        inner = len(heads) * self.head_dim
        self.query, self.key, self.value = nn.Linear(dim, inner), nn.Linear(dim, inner), nn.Linear(dim, inner)
        self.out = nn.Linear(inner, dim)
        self.gate = PositionGate(sizes, heads) if sizes.get("relative_position") else None

    def forward(self, x: Tensor, position_bias: Tensor | None) -> Tensor:
        query, key, value = (
            linear(x).view(*x.shape[:2], len(self.heads), self.head_dim).transpose(1, 2)
            for linear in (self.query, self.key, self.value)
        )
        bias = None if self.gate is None or position_bias is None else self.gate(x) * position_bias[self.heads]
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self.out(attended.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(dim, width), nn.Linear(width, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))


class Layer(nn.Module):
    """One Transformer layer; a block that was pruned away is None, its norm stays."""

    def __init__(self, sizes: dict[str, Any], shape: dict[str, Any]) -> None:
        super().__init__()
        self.norm_first = sizes["layer_norm_first"]
        self.attention = Attention(sizes, list(shape["heads"])) if shape["heads"] else None
        self.attention_norm = nn.LayerNorm(sizes["dim"])
        self.feed_forward = FeedForward(sizes["dim"], shape["ffn_dim"]) if shape["ffn_dim"] else None
        self.final_norm = nn.LayerNorm(sizes["dim"])

    def forward(self, x: Tensor, position_bias: Tensor | None) -> Tensor:
        if self.attention is not None:
            x = x + self.attention(self.attention_norm(x) if self.norm_first else x, position_bias)
        if not self.norm_first:
            x = self.attention_norm(x)
        if self.feed_forward is not None:
            x = x + self.feed_forward(self.final_norm(x) if self.norm_first else x)
        return x if self.norm_first else self.final_norm(x)


class SkillBenchModel(PreTrainedModel):
    """Speech at 16 kHz to hidden states, one frame for 20 ms in all published shapes."""

    config_class = SkillBenchConfig
    main_input_name = "input_values"

    def __init__(self, config: SkillBenchConfig) -> None:
        super().__init__(config)
        sizes = config.architecture
        self.front_end = FrontEnd(sizes)
        self.projection = Projection(sizes)
        self.position = Position(sizes)
        self.norm = nn.LayerNorm(sizes["dim"])
        self.position_bias = PositionBias(sizes) if sizes.get("relative_position") else None
        self.layers = nn.ModuleList(Layer(sizes, shape) for shape in sizes["layers"])
        self.post_init()

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """Hidden states h0 (the input of the first layer) to hN, the last of which is ``last_hidden_state``.

        Args:
            input_values: (batch, samples), padded on the right.
            attention_mask: (batch, samples), 1 for samples of the utterance; left out where nothing is padded. Frames
                behind an utterance's end are 0.
        """
        if attention_mask is None or bool(attention_mask.all()):
            states = self.states(input_values)
        else:  # one by one: what padding does to norms and convolutions is no part of the model
            lengths = attention_mask.sum(1).tolist()
            alone = [self.states(wave[None, :n]) for wave, n in zip(input_values, lengths, strict=True)]
            layers = zip(*alone, strict=True)
            states = [nn.utils.rnn.pad_sequence([one[0] for one in layer], batch_first=True) for layer in layers]
        shown = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        output = BaseModelOutput(last_hidden_state=states[-1], hidden_states=tuple(states) if shown else None)
        as_output = self.config.return_dict if return_dict is None else return_dict
        return output if as_output else output.to_tuple()

    def states(self, waves: Tensor) -> list[Tensor]:
        """Hidden states of utterances of one length. Without post-norm only the last has passed the final norm."""
        sizes = self.config.architecture
        if sizes.get("normalize_waveform"):
            centred = waves - waves.mean(1, keepdim=True)
            waves = centred * torch.rsqrt(centred.square().mean(1, keepdim=True) + sizes.get("normalize_eps", 1e-5))
        x = self.position(self.projection(self.front_end(waves)))
        if not sizes["layer_norm_first"]:
            x = self.norm(x)
        bias = None if self.position_bias is None else self.position_bias(x.shape[1])
        states = [x]
        for layer in self.layers:
            states.append(layer(states[-1], bias))
        if sizes["layer_norm_first"]:
            states[-1] = self.norm(states[-1])
        return states
