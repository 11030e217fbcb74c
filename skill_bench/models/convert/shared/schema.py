"""Foreign configurations as typed objects: one schema a program, with that program's defaults and limits on sizes.

A value of another type, an impossible size or an option that the encoder does not have is an error before anything is
built from it. Keys that change nothing at evaluation (dropout, masking, heads) are not looked at.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from skill_bench.base.errors import CheckpointError
from skill_bench.models.architecture import (
    Buckets,
    ConvNorm,
    Depth,
    Distance,
    Flag,
    Heads,
    Kernel,
    Layers,
    OptionalWidth,
    Width,
)
from skill_bench.models.invalid import shown

_MAX_CONVS = 64
_MAX_TEXT = 2000


def _fairseq_list(value: Any) -> Any:
    """fairseq writes the convolutions as Python: lists of (channels, kernel, stride), ``+`` and ``* n``. Read, not run.

    Files that went through another program have the list itself.
    """
    if not isinstance(value, str):
        return value
    try:
        if len(value) > _MAX_TEXT:
            raise ValueError(f"{len(value)} characters")
        return _list_of(ast.parse(value.strip(), mode="eval").body)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise PydanticCustomError("unreadable", "{reason}", {"reason": str(error)[:100]}) from error


def _list_of(node: ast.expr) -> list[Any]:
    match node:
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            found = _list_of(left) + _list_of(right)
        case ast.BinOp(left=left, op=ast.Mult(), right=ast.Constant(value=int(times))) if 0 <= times <= _MAX_CONVS:
            found = _list_of(left) * times
        case ast.List(elts=elements):
            found = [_triple(element) for element in elements]
        case _:
            raise ValueError(f"expected lists, + and * n (at most {_MAX_CONVS})")
    if len(found) > _MAX_CONVS:
        raise ValueError(f"{len(found)} convolutions, expected at most {_MAX_CONVS}")
    return found


def _triple(node: ast.expr) -> tuple[int, ...]:
    numbers = ast.literal_eval(node)
    if not isinstance(numbers, tuple | list) or len(numbers) != 3 or not all(type(n) is int for n in numbers):
        raise ValueError(f"expected (channels, kernel, stride), found {shown(numbers)}")
    return tuple(numbers)


def _is_common_epsilon(value: float) -> float:
    if value != 1e-5:
        raise PydanticCustomError("literal_error", "1e-05", {"expected": "1e-05"})
    return value


Conv = tuple[Width, Kernel, Kernel]
Convs = Annotated[tuple[Conv, ...], Field(min_length=1, max_length=_MAX_CONVS)]
PerConv = Field(min_length=1, max_length=_MAX_CONVS)
PerLayer = Field(min_length=1, max_length=256)
Index = Annotated[int, Field(strict=True, ge=0, lt=1024)]
_CONVS: tuple[tuple[int, int, int], ...] = ((512, 10, 5), *[(512, 3, 2)] * 4, *[(512, 2, 2)] * 2)


class Schema(BaseModel):
    """What is read of a configuration."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class DPHuBERTConfig(Schema):
    """Arguments of DPHuBERT's ``wav2vec2_model`` (pyf98/DPHuBERT, ``wav2vec2/model.py``), also DiariZen's."""

    extractor_mode: ConvNorm
    extractor_conv_layer_config: Annotated[tuple[Conv, ...], Field(max_length=_MAX_CONVS)] | None
    extractor_conv_bias: Flag
    encoder_embed_dim: Width
    encoder_pos_conv_kernel: Kernel
    encoder_pos_conv_groups: Width
    encoder_num_layers: Layers
    encoder_use_attention: Annotated[tuple[Flag, ...], PerLayer]
    encoder_use_feed_forward: Annotated[tuple[Flag, ...], PerLayer]
    encoder_ff_interm_features: Annotated[tuple[OptionalWidth, ...], PerLayer]
    encoder_layer_norm_first: Flag
    normalize_waveform: Flag

    @property
    def convs(self) -> tuple[tuple[int, int, int], ...]:
        """(channels, kernel, stride) of each; none written: the published ones."""
        return self.extractor_conv_layer_config or _CONVS


class DPHuBERTHubertConfig(DPHuBERTConfig):
    """HuBERT counts the heads that remain."""

    encoder_num_heads: Annotated[tuple[Annotated[int, Field(strict=True, ge=0, le=1024)], ...], PerLayer]
    encoder_head_dim: Width


class DPHuBERTWavLMConfig(DPHuBERTConfig):
    """WavLM lists them."""

    encoder_total_num_heads: Annotated[tuple[Heads, ...], PerLayer]
    encoder_remaining_heads: Annotated[tuple[tuple[Index, ...], ...], PerLayer]
    encoder_num_buckets: Buckets
    encoder_max_distance: Distance


class FairseqConfig(Schema):
    """fairseq's ``Wav2Vec2Config`` and what grew from it (HuBERT, data2vec, WavLM); defaults are its own."""

    activation_fn: Literal["gelu"] = "gelu"
    layer_type: Literal["transformer"] = "transformer"
    extractor_mode: Literal["default", "layer_norm"] = "default"
    conv_feature_layers: Annotated[Convs, BeforeValidator(_fairseq_list)] = _CONVS
    conv_bias: Flag = False
    encoder_embed_dim: Width = 768
    encoder_layers: Layers = 12
    encoder_attention_heads: Heads = 12
    encoder_ffn_embed_dim: Annotated[OptionalWidth, Field(ge=1)] = 3072
    conv_pos: Kernel = 128
    conv_pos_groups: Width = 16
    conv_pos_batch_norm: Flag = False
    pos_conv_depth: Depth = 1
    layer_norm_first: Flag = False


class WavLMConfig(FairseqConfig):
    """The ``cfg`` of WavLM's own release."""

    relative_position_embedding: Literal[True]
    gru_rel_pos: Literal[True] = True
    num_buckets: Buckets = 320
    max_distance: Distance = 1280
    normalize: Flag = False


class FairseqTask(Schema):
    """What fairseq's ``task`` says of the audio; its default is no normalisation."""

    normalize: Flag = False


class StatedTask(Schema):
    """The same where a program always writes it."""

    normalize: Flag


class TransformersConfig(Schema):
    """config.json; what it leaves out has the default of transformers' configuration class (a test compares them)."""

    model_type: Literal["hubert", "wavlm", "wav2vec2", "unispeech", "unispeech-sat", "data2vec-audio"]
    hidden_size: Width = 768
    num_hidden_layers: Layers = 12
    num_attention_heads: Heads = 12
    intermediate_size: Annotated[OptionalWidth, Field(ge=1)] = 3072
    hidden_act: Literal["gelu"] = "gelu"
    layer_norm_eps: Annotated[float, AfterValidator(_is_common_epsilon)] = 1e-5
    feat_extract_activation: Literal["gelu"] = "gelu"
    conv_dim: Annotated[tuple[Width, ...], PerConv] = (512,) * 7
    conv_kernel: Annotated[tuple[Kernel, ...], PerConv] = (10, 3, 3, 3, 3, 2, 2)
    conv_stride: Annotated[tuple[Kernel, ...], PerConv] = (5, 2, 2, 2, 2, 2, 2)
    conv_bias: Flag = False
    num_conv_pos_embedding_groups: Width = 16


class SpeechConfig(TransformersConfig):
    """HuBERT, WavLM, wav2vec 2.0, UniSpeech and UniSpeech-SAT; each class reads its own part of it."""

    feat_extract_norm: Literal["group", "layer"] = "group"
    num_conv_pos_embeddings: Kernel = 128
    do_stable_layer_norm: Flag = False
    feat_proj_layer_norm: Flag = True  # HuBERT alone
    conv_pos_batch_norm: Flag = False  # HuBERT alone
    num_buckets: Buckets = 320  # WavLM alone
    max_bucket_distance: Distance = 800  # WavLM alone
    add_adapter: Flag = False
    adapter_attn_dim: Annotated[int, Field(strict=True, ge=1, le=1 << 16)] | None = None  # not WavLM


class Data2VecConfig(TransformersConfig):
    """data2vec-audio, where ``num_conv_pos_embeddings`` counts convolutions."""

    num_conv_pos_embeddings: Depth = 5
    conv_pos_kernel_size: Kernel = 19
    add_adapter: Flag = False


class FeatureExtractorConfig(Schema):
    """``Wav2Vec2FeatureExtractor`` of transformers, whose default is to normalise."""

    do_normalize: Flag = True


Read = TypeVar("Read", bound=Schema)


def read_config(schema: type[Read], config: Any, *, source: str, name: str = "its configuration") -> Read:
    """``config`` as a ``schema``.

    Raises:
        CheckpointError: it is no dict, lacks a key, or has a value that is not allowed; says which, what was found and
            what was expected.
    """
    if not isinstance(config, Mapping):
        raise CheckpointError(f"{source}: {name} is a {type(config).__name__}, expected a dict. Get the file again.")
    try:
        return schema.model_validate({key: config[key] for key in schema.model_fields if key in config})
    except ValidationError as error:
        raise CheckpointError(f"{source}: {_fault(error, config)}") from error


def _fault(error: ValidationError, config: Mapping[Any, Any]) -> str:
    fault = error.errors(include_url=False)[0]
    key, *inside = (str(part) for part in fault["loc"] if isinstance(part, int) or str(part).isidentifier())
    if fault["type"] == "missing" and not inside:
        found = ", ".join(shown(name).strip("'\"") for name in list(config)[:40])
        return f"its configuration has no {key!r}. Found: {found}."
    if fault["type"] == "literal_error":
        expected = fault["ctx"]["expected"].replace(", ", " or ")
        return f"{key} = {shown(config[key])} is not supported, only {expected}."
    if fault["type"] == "unreadable":
        return f"{key} = {shown(config[key])} cannot be read ({fault['msg']})."
    where = ".".join((key, *inside))
    expected = fault["msg"].removeprefix("Input should be ")
    return (
        f"{where} = {shown(fault['input'])}, expected {expected}. Check that the configuration is the one this model "
        "was made with."
    )
