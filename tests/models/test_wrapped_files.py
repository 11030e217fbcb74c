"""Files as other programs leave them: wrappers around names, and what the errors advise, followed to the end."""

from __future__ import annotations

import enum
import types
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from checkpoint_files import FAMILIES, encoder, fairseq_config, fairseq_state, write
from omegaconf import OmegaConf
from torch import Tensor, nn

from skill_bench.base.errors import CheckpointError, KeyMismatch, UnsafeFile
from skill_bench.models import checkpoint
from skill_bench.models.convert import diarizen
from skill_bench.models.convert.shared.key_names import torchaudio_names
from skill_bench.models.encoder import Encoder
from skill_bench.models.export import dphubert

WEIGHTS = {"torchaudio": None, "dphubert wavlm": "state_dict", "wavlm release": "model", "fairseq": "model",
           "s3prl": "model_weight", "transformers wavlm": None}  # fmt: skip


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "model.wav2vec2.", "module._orig_mod."])
@pytest.mark.parametrize("family", WEIGHTS)
def test_prefixes_are_taken_off_and_that_is_said(family: str, prefix: str, tmp_path: Path) -> None:
    plain = checkpoint.load(write(FAMILIES[family](), tmp_path / "plain"))
    parts = FAMILIES[family]()
    name = list(parts)[-1]
    inside = WEIGHTS[family]
    state = parts[name] if inside is None else parts[name][inside]
    wrapped = {f"{prefix}{key}": tensor for key, tensor in state.items()}
    parts[name] = wrapped if inside is None else {**parts[name], inside: wrapped}
    loaded = checkpoint.load(write(parts, tmp_path / "wrapped"))
    assert loaded.sha256 == plain.sha256
    (note,) = set(loaded.notes) - set(plain.notes)
    for part in prefix.split("."):
        assert part in note
    assert note.startswith("names of weights began with ")


def test_unknown_prefix_is_named_instead_of_a_lost_position_bias(tmp_path: Path) -> None:
    content = dphubert.content(encoder(wavlm=True))
    content["state_dict"] = {f"student.{key}": tensor for key, tensor in content["state_dict"].items()}
    torch.save(content, tmp_path / "m.pth")
    with pytest.raises(
        KeyMismatch, match=r"All names begin with 'student\.': another model is around this one"
    ) as found:
        checkpoint.load(tmp_path / "m.pth")
    assert "pruned away" not in str(found.value)


def test_unknown_prefix_is_named_instead_of_missing_layers(tmp_path: Path) -> None:
    parts = FAMILIES["torchaudio"]()
    (name,) = parts
    parts[name] = {f"student.{key}": tensor for key, tensor in parts[name].items()}
    with pytest.raises(CheckpointError, match=r"all names begin with 'student\.': another model is around this one"):
        checkpoint.load(write(parts, tmp_path / "m"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_configurations_are_text_in_any_form(encoding: str, tmp_path: Path) -> None:
    """As editors and shells of Windows leave them."""
    place = write(FAMILIES["transformers hubert"](), tmp_path / "m")
    plain = checkpoint.load(place)
    for name in ("config.json", "preprocessor_config.json"):
        (place / name).write_text((place / name).read_text(), encoding=encoding)
    assert checkpoint.load(place).sha256 == plain.sha256
    (place / "config.json").write_bytes(b'{"name": "Jos\xe9"}')
    with pytest.raises(CheckpointError, match=r"config\.json:1: not UTF-8 \(byte 13\)\. Save the file as UTF-8"):
        checkpoint.load(place)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"encoder_layers": 3}, "The configuration has more layers than the weights: those of layer 2 are missing."),
        ({"encoder_layers": 1}, "The weights have more layers than the configuration: layer 1 is left over."),
    ],
)
def test_likely_causes(change: dict[str, Any], cause: str, tmp_path: Path) -> None:
    model = encoder(wavlm=False)
    torch.save({"cfg": {"model": fairseq_config(model.architecture) | change}, "model": fairseq_state(model)},
               tmp_path / "m.pt")  # fmt: skip
    with pytest.raises(KeyMismatch, match=cause):
        checkpoint.load(tmp_path / "m.pt")


def test_weights_of_hubert_under_a_configuration_of_wavlm(tmp_path: Path) -> None:
    config = fairseq_config(encoder(wavlm=True).architecture)
    torch.save({"cfg": config, "model": fairseq_state(encoder(wavlm=False))}, tmp_path / "m.pt")
    with pytest.raises(KeyMismatch, match="says WavLM, but the weights have no gates of a position bias"):
        checkpoint.load(tmp_path / "m.pt")


def advised(path: Path) -> str:
    with pytest.raises(UnsafeFile) as caught:
        checkpoint.load(path)
    message = str(caught.value)
    assert "save {'state_dict': ..., 'config': ...} of tensors, numbers, strings, lists and dicts alone" in message
    return message


@pytest.mark.parametrize("wavlm", [False, True])
@pytest.mark.parametrize("form", ["args", "cfg"])
def test_advice_for_fairseqs_objects(form: str, wavlm: bool, tmp_path: Path) -> None:
    model = encoder(wavlm=wavlm)
    args = types.SimpleNamespace(**fairseq_config(model.architecture), optimizer="adam", lr=[1e-4])
    cfg = types.SimpleNamespace(model=args, task=types.SimpleNamespace(normalize=False))
    torch.save({form: args if form == "args" else cfg, "model": fairseq_state(model)}, tmp_path / "m.pt")
    assert "(fairseq: vars(args), or " in advised(tmp_path / "m.pt")
    trusted = torch.load(tmp_path / "m.pt", weights_only=False)
    config = vars(trusted["args"]) if form == "args" else {"model": vars(cfg.model), "task": vars(cfg.task)}
    torch.save({"state_dict": trusted["model"], "config": config}, tmp_path / "plain.pt")
    loaded = checkpoint.load(tmp_path / "plain.pt")
    assert loaded.format == "fairseq_file"
    assert loaded.sha256 == checkpoint.weights_sha256(model.architecture, model.state_dict())


class Mode(enum.Enum):
    """As fairseq's choices are."""

    default = "default"


def test_advice_for_hydras_objects(tmp_path: Path) -> None:
    model = encoder(wavlm=False)
    config = {**fairseq_config(model.architecture), "extractor_mode": Mode.default}
    cfg = OmegaConf.create({"model": config, "task": {"normalize": False, "data": "${model.encoder_layers}"}})
    torch.save({"cfg": cfg, "model": fairseq_state(model)}, tmp_path / "m.pt")
    assert "OmegaConf.to_container(cfg, enum_to_str=True)" in advised(tmp_path / "m.pt")
    trusted = torch.load(tmp_path / "m.pt", weights_only=False)
    config = OmegaConf.to_container(trusted["cfg"], enum_to_str=True)  # type: ignore[assignment]
    torch.save({"state_dict": trusted["model"], "config": config}, tmp_path / "plain.pt")
    loaded = checkpoint.load(tmp_path / "plain.pt")
    assert loaded.sha256 == checkpoint.weights_sha256(model.architecture, model.state_dict())


def test_advice_for_models_of_transformers(tmp_path: Path) -> None:
    """data2vec: torch pickles no module with today's weight normalisation."""
    config = transformers.Data2VecAudioConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, conv_dim=[8] * 7,
        num_conv_pos_embedding_groups=4,
    )  # fmt: skip
    torch.save(transformers.Data2VecAudioModel(config), tmp_path / "m.bin")
    assert "A model of transformers: save_pretrained" in advised(tmp_path / "m.bin")
    folder = tmp_path / "saved"
    torch.load(tmp_path / "m.bin", weights_only=False).save_pretrained(folder)
    with pytest.raises(CheckpointError, match=r"Add preprocessor_config\.json with {\"do_normalize\": true}"):
        checkpoint.load(folder)
    (folder / "preprocessor_config.json").write_text('{"do_normalize": true}')
    assert checkpoint.load(folder).format == "transformers_folder"


class Wrapped(nn.Module):
    """A module that was pickled whole."""

    def __init__(self, state: dict[str, Tensor], config: dict[str, Any] | None) -> None:
        super().__init__()
        self.config = config
        self.state = state

    def state_dict(self, *_: Any, **__: Any) -> Any:
        return self.state


def test_advice_for_dphuberts_and_torchaudios_objects(tmp_path: Path) -> None:
    model = encoder(wavlm=True)
    content = dphubert.content(model)
    module = Wrapped(content["state_dict"], content["config"])
    torch.save(module, tmp_path / "m.pt")
    message = advised(tmp_path / "m.pt")
    assert "DPHuBERT: its own config" in message
    assert "torchaudio: its state_dict() without a configuration" in message
    torch.save({"state_dict": module.state_dict(), "config": module.config}, tmp_path / "dphubert.pt")
    torch.save(module.state_dict(), tmp_path / "torchaudio.pt")
    assert checkpoint.load(tmp_path / "dphubert.pt").format == "dphubert"
    assert checkpoint.load(tmp_path / "torchaudio.pt").format == "torchaudio_state"


def published(name: str) -> tuple[Encoder, dict[str, Tensor]]:
    """DiariZen's file of random weights in a published shape, and its encoder."""
    model = Encoder(diarizen.published_architecture(name, "")).requires_grad_(False).eval()
    rename = torchaudio_names()
    state = {f"wavlm_model.{rename(key)}": tensor for key, tensor in model.state_dict().items()}
    return model, {**state, "weight_sum.weight": torch.zeros(1, 13), "classifier.bias": torch.zeros(11)}


def test_diarizens_published_model_in_its_folder(tmp_path: Path) -> None:
    model, state = published("wavlm_base_s80_md")
    torch.save(state, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.toml").write_text("[model]\n")
    loaded = checkpoint.load(tmp_path)
    assert (loaded.format, loaded.metadata) == ("diarizen", {"title": "DiariZen wavlm_base_s80_md"})
    assert loaded.notes == ("the diarisation model behind WavLM is left out",)
    assert loaded.sha256 == checkpoint.weights_sha256(model.architecture, model.state_dict())
    heads = [len(layer.heads) for layer in loaded.encoder.architecture.layers]
    assert heads == [2, 3, 3, 5, 2, 1, 4, 4, 0, 0, 2, 1]


def test_diarizens_whole_wavlm(tmp_path: Path) -> None:
    content = dphubert.content(encoder(wavlm=True))
    state = {f"wavlm_model.{key}": tensor for key, tensor in content["state_dict"].items()}
    torch.save({**state, "proj.bias": torch.zeros(2)}, tmp_path / "m.bin")
    torch.save(content, tmp_path / "m.pth")
    loaded = checkpoint.load(tmp_path / "m.bin")
    assert loaded.format == "diarizen"
    assert loaded.sha256 == checkpoint.load(tmp_path / "m.pth").sha256


def test_diarizens_other_shapes_are_not_guessed(tmp_path: Path) -> None:
    _, state = published("wavlm_base_s80_md")
    key = "wavlm_model.encoder.transformer.layers.3.feed_forward.intermediate_dense.weight"
    torch.save({**state, key: torch.zeros(5, 768)}, tmp_path / "m.bin")
    with pytest.raises(CheckpointError, match=r"which heads it keeps is not in the file\. Give the file that apply_pr"):
        checkpoint.load(tmp_path / "m.bin")


def test_diarizens_pruned_wavlm(tmp_path: Path) -> None:
    """As its apply_pruning.py writes it: DPHuBERT's two parts, one more key, ``pytorch_model.bin``."""
    content = dphubert.content(encoder(wavlm=True))
    content["config"] |= {"use_layerwise_prune": False, "encoder_layer_drop": 0.05}
    torch.save(content, tmp_path / "pytorch_model.bin")
    (tmp_path / "pruned_config.json").write_text("{}")
    assert checkpoint.load(tmp_path).format == "dphubert"


@pytest.mark.parametrize("given", ["[[8, 10, 5], [8, 3, 2]]", [[8, 10, 5], [8, 3, 2]], [(8, 10, 5), (8, 3, 2)]])
def test_lists_where_fairseq_writes_strings(given: Any, tmp_path: Path) -> None:
    model = encoder(wavlm=False)
    shape = model.architecture
    config = {"model": {**fairseq_config(shape), "conv_feature_layers": given}}
    state = fairseq_state(model)
    kept = {k: v for k, v in state.items() if not any(f"conv_layers.{i}." in k for i in range(2, 7))}
    torch.save({"cfg": config, "model": kept}, tmp_path / "m.pt")
    assert [c.kernel for c in checkpoint.load(tmp_path / "m.pt").encoder.architecture.convs] == [10, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder_attention_heads": 0}, "encoder_attention_heads = 0, expected greater than or equal to 1"),
        ({"encoder_attention_heads": 10**12}, "= 1000000000000, expected less than or equal to 1024"),
        ({"encoder_layers": 10**6}, "encoder_layers = 1000000, expected less than or equal to 256"),
        ({"encoder_layers": 3.0}, r"encoder_layers = 3\.0, expected a valid integer"),
        ({"encoder_embed_dim": "768"}, "encoder_embed_dim = '768', expected a valid integer"),
        ({"layer_norm_first": "0"}, "layer_norm_first = '0', expected a valid boolean"),
        ({"conv_feature_layers": "[(8,10,5)] * 10000000000"}, r"cannot be read \(expected lists"),
        ({"conv_feature_layers": "(" * 1000}, "conv_feature_layers = .* cannot be read"),
        ({"conv_feature_layers": [[8, 10]]}, r"conv_feature_layers\.0.*expected"),
    ],
)
def test_values_of_other_types_and_sizes(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    model = encoder(wavlm=False)
    torch.save({"cfg": {"model": fairseq_config(model.architecture) | change}, "model": fairseq_state(model)},
               tmp_path / "m.pt")  # fmt: skip
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(tmp_path / "m.pt")


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(16, dtype=torch.int64), "holds torch.int64, expected floating-point weights"),
        (torch.full((16,), float("nan")), "holds values that are not finite in float32"),
        (torch.full((16,), 1e300, dtype=torch.float64), "holds values that are not finite in float32"),
        (torch.zeros(1).expand(16), r"claims 16 values of which 1 are stored. Save tensor.clone\(\) instead"),
        (torch.zeros(16, device="meta"), "is a torch.strided tensor on meta, expected stored values"),
        ([0.0] * 16, "is a list, expected a tensor"),
    ],
)
@pytest.mark.parametrize("family", ["wavlm release", "dphubert wavlm", "fairseq", "s3prl"])
def test_one_check_of_weights_for_all(family: str, tensor: Any, message: str, tmp_path: Path) -> None:
    parts = FAMILIES[family]()
    state = parts[next(iter(parts))][WEIGHTS[family] or ""]
    name = next(key for key in state if key.endswith("layers.1.final_layer_norm.bias"))
    state[name] = tensor
    with pytest.raises(CheckpointError, match=rf"{name} {message}"):
        checkpoint.load(write(parts, tmp_path / "m"))
