"""Files that must not be read, or cannot be: what they are, and what the user is told."""

from __future__ import annotations

import json
import os
import pickle
import types
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from skill_bench.base.errors import CheckpointError, KeyMismatch, UnknownFormat, UnsafeFile
from skill_bench.models import checkpoint, convert


class Attack:
    """What a malicious checkpoint holds: code that runs when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("how", ["zip", "legacy", "plain pickle"])
def test_pickle_with_code_is_refused_and_not_run(how: str, tmp_path: Path) -> None:
    marker, path = tmp_path / "ran", tmp_path / "model.pth"
    content = {"state_dict": {"a": torch.zeros(2)}, "config": Attack(marker)}
    if how == "plain pickle":
        path.write_bytes(pickle.dumps({"config": Attack(marker)}, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(UnsafeFile, match=r"it asks for 'posix\.mkdir'.*save \{'state_dict'"):
        checkpoint.load(path)
    assert not marker.exists()


def test_other_classes_are_named(tmp_path: Path) -> None:
    """As fairseq's own checkpoints, which hold objects of its classes."""
    torch.save({"args": types.SimpleNamespace(a=1), "model": {}}, tmp_path / "fairseq.pt")
    with pytest.raises(UnsafeFile, match=r"asks for 'types\.SimpleNamespace'"):
        checkpoint.load(tmp_path / "fairseq.pt")


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_truncated_pickle(keep: float, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save({"state_dict": {"a": torch.zeros(2000)}, "config": {}}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep if keep >= 1 else keep * len(whole))])
    with pytest.raises(
        CheckpointError, match=r"cannot be read as a checkpoint.*truncated, damaged.*Get the file again"
    ):
        checkpoint.load(path)


def test_compressed_archives_are_not_unfolded(tmp_path: Path) -> None:
    """Some kilobytes can unfold to more than fits into memory."""
    torch.save({"state_dict": {"a": torch.zeros(10**6)}, "config": {}}, tmp_path / "whole.pth")
    with (
        zipfile.ZipFile(tmp_path / "whole.pth") as whole,
        zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for part in whole.namelist():
            packed.writestr(part, whole.read(part))
    assert (tmp_path / "packed.pth").stat().st_size < 50_000
    with pytest.raises(CheckpointError, match=r"in it is compressed, which torch\.save never does"):
        checkpoint.load(tmp_path / "packed.pth")


@pytest.mark.parametrize("content", [b"\x00" * 300, b"hello, this is text\n" * 9, b"RIFF0000WAVEfmt "])
def test_no_checkpoint_at_all(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        checkpoint.load(tmp_path / "model.pt")


def test_unknown_format_lists_formats_and_keys(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "weights": {}}, tmp_path / "model.pt")
    with pytest.raises(UnknownFormat) as caught:
        checkpoint.load(tmp_path / "model.pt")
    message = str(caught.value)
    assert "found keys: epoch, weights" in message
    assert "skill-bench (.safetensors)" in message
    for fmt in convert.formats().values():
        assert fmt.NAME in message


def test_many_keys_are_shortened(tmp_path: Path) -> None:
    save_file({f"k{i:02d}": torch.zeros(1) for i in range(30)}, tmp_path / "model.safetensors")
    with pytest.raises(UnknownFormat, match=r"k00, .*k11, and 18 more"):
        checkpoint.load(tmp_path / "model.safetensors")


def test_object_that_is_no_dict(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="holds a list, expected a dict"):
        checkpoint.load(tmp_path / "model.pt")


def test_every_format_has_its_contract() -> None:
    formats = convert.formats()
    assert {"dphubert", "transformers_folder", "torchaudio_state", "wavlm_release", "s3prl_converted"} <= set(formats)
    for name, fmt in formats.items():
        assert fmt.NAME, name
        assert callable(fmt.recognises), name
        assert callable(fmt.convert), name


CONFIG = {
    "model_type": "hubert", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 40, "conv_dim": [8] * 7, "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2], "feat_extract_norm": "group",
}  # fmt: skip


def folder(tmp_path: Path, config: dict[str, Any], *, weights: bool = True, preprocessor: str | None = None) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(config))
    if weights:
        save_file({"encoder.layer_norm.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    if preprocessor is not None:
        (tmp_path / "preprocessor_config.json").write_text(preprocessor)
    return tmp_path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "whisper"}, "model_type = 'whisper' is not supported, only 'hubert' or 'wavlm' or 'wav2vec2'"),
        ({"hidden_act": "relu"}, "hidden_act = 'relu' is not supported"),
        (
            {"adapter_attn_dim": 16, "do_stable_layer_norm": True},
            "adapter_attn_dim = 16 is not supported: adapters inside the layers change every hidden state",
        ),
        ({"num_attention_heads": 5}, "hidden_size = 32 is no multiple of num_attention_heads = 5"),
        ({"conv_stride": [5, 2]}, "conv_dim, conv_kernel and conv_stride describe 7, 7, 2 convolutions"),
        ({"num_hidden_layers": 3.0}, r"num_hidden_layers = 3\.0, expected a valid integer"),
        ({"layer_norm_eps": 1e-3}, "layer_norm_eps = 0.001 is not supported"),
        ({"model_type": None}, "configuration has no 'model_type'"),
        ({"feat_extract_norm": "layer"}, 'is not stated.*Add preprocessor_config.json with {"do_normalize": true}'),
    ],
)
def test_transformers_configurations_that_cannot_be_used(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    config = {key: value for key, value in {**CONFIG, **change}.items() if value is not None}
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(folder(tmp_path, config))


def test_transformers_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"without weights\. Expected model\.safetensors or pytorch_model\.bin"):
        checkpoint.load(folder(tmp_path, CONFIG, weights=False))


def test_transformers_folder_with_other_weights(tmp_path: Path) -> None:
    with pytest.raises(KeyMismatch, match=r"Missing \(49\): encoder\.layer_norm\.bias, encoder\.layers\.0\."):
        checkpoint.load(folder(tmp_path, CONFIG))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[1]", "holds a list, expected a JSON object"),
        ("[" * 100_000, "not valid JSON"),
        ('{"do_normalize": "false"}', "do_normalize = 'false', expected a valid boolean"),
    ],
)
def test_transformers_folder_with_damaged_json(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"preprocessor_config\.json: {message}"):
        checkpoint.load(folder(tmp_path, CONFIG, preprocessor=text))


def test_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(UnknownFormat, match=r"found files: notes\.txt\. Readable: "):
        checkpoint.load(tmp_path)


def test_folder_with_one_checkpoint_is_that_checkpoint(tmp_path: Path) -> None:
    from skill_bench.models.encoder import Encoder
    from skill_bench.models.factories import architecture

    shape = architecture(channels=8, dim=16, n_layers=1, n_heads=2, ffn_dim=8, position_kernel=8, position_groups=4)
    saved = checkpoint.save(Encoder(shape), tmp_path / "student.safetensors", metadata={})
    (tmp_path / "README.md").write_text("a model")
    assert checkpoint.load(tmp_path).sha256 == saved
    checkpoint.save(Encoder(shape), tmp_path / "other.safetensors", metadata={})
    with pytest.raises(UnknownFormat, match=r"found files: README\.md, other\.safetensors, student\.safetensors"):
        checkpoint.load(tmp_path)
