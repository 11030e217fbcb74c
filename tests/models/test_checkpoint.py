"""Our own checkpoint file: what goes in comes out, and nothing broken goes in or out.

Files that must not be read, or cannot be: what they are, and what the user is told.
"""

from __future__ import annotations

import itertools
import json
import os
import pickle
import types
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import FAMILIES, write
from safetensors.torch import load_file, save_file

from skill_bench.base.errors import CheckpointError, KeyMismatch, UnknownFormat, UnsafeFile
from skill_bench.models import checkpoint, convert
from skill_bench.models.architecture import Architecture, LayerShape
from skill_bench.models.encoder import Encoder
from skill_bench.models.factories import WAVLM_POSITION, architecture


def pruned_architecture() -> Architecture:
    whole = architecture(
        channels=16, dim=32, n_layers=3, n_heads=4, ffn_dim=20, relative_position=WAVLM_POSITION,
        position_kernel=16, position_groups=4,
    )  # fmt: skip
    return whole.with_layers(
        (LayerShape(heads=(1, 3), ffn_dim=5), LayerShape(heads=(), ffn_dim=9), LayerShape(heads=(2,), ffn_dim=0))
    )


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(pruned_architecture()).eval().requires_grad_(False)


def test_comes_back_as_it_was(encoder: Encoder, tmp_path: Path) -> None:
    written = checkpoint.save(encoder, tmp_path / "a.safetensors", metadata={"recipe": "skill", "licence": "MIT"})
    loaded = checkpoint.load(tmp_path / "a.safetensors")
    assert (loaded.format, loaded.metadata) == ("skill-bench", {"recipe": "skill", "licence": "MIT"})
    assert loaded.sha256 == written
    assert loaded.encoder.architecture == encoder.architecture
    waves = torch.randn(1, 5000)
    pairs = list(zip(loaded.encoder(waves)[0], encoder(waves)[0], strict=True))
    assert len(pairs) == 4
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_loaded_encoder_is_frozen_and_reading_draws_no_random_numbers(encoder: Encoder, tmp_path: Path) -> None:
    checkpoint.save(encoder.train(), tmp_path / "a.safetensors", metadata={})
    state = torch.get_rng_state()
    loaded = checkpoint.load(tmp_path / "a.safetensors").encoder
    assert torch.equal(torch.get_rng_state(), state)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


def test_half_precision_halves_the_file_and_keeps_its_hash(encoder: Encoder, tmp_path: Path) -> None:
    checkpoint.save(encoder, tmp_path / "a.safetensors", metadata={})
    written = checkpoint.save(encoder, tmp_path / "b.safetensors", metadata={}, dtype=torch.float16)
    loaded = checkpoint.load(tmp_path / "b.safetensors")
    assert loaded.sha256 == written
    assert next(loaded.encoder.parameters()).dtype == torch.float32
    sizes = {name: sum(t.nbytes for t in load_file(tmp_path / f"{name}.safetensors").values()) for name in "ab"}
    assert sizes["a"] == 2 * sizes["b"]
    again = checkpoint.save(loaded.encoder, tmp_path / "c.safetensors", metadata={"other": "text"})
    assert again == written, "the hash is of the model, not of the file"


def test_hash_sees_weights_and_architecture(encoder: Encoder) -> None:
    base = checkpoint.weights_sha256(encoder.architecture, encoder.state_dict())
    changed = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    changed["norm.bias"][3] += 1e-6
    heads = pruned_architecture().layers
    moved = encoder.architecture.with_layers((LayerShape(heads=(0, 3), ffn_dim=5), *heads[1:]))
    hashes = [
        base,
        checkpoint.weights_sha256(encoder.architecture, changed),
        checkpoint.weights_sha256(moved, encoder.state_dict()),
    ]
    assert all(a != b for a, b in itertools.combinations(hashes, 2))


@pytest.mark.parametrize(
    ("name", "metadata", "dtype", "message"),
    [
        ("a.pth", {}, torch.float32, "ends in .safetensors"),
        ("a.safetensors", {"architecture": "x"}, torch.float32, "metadata 'architecture'"),
        ("a.safetensors", {"steps": 3}, torch.float32, "metadata 'steps'"),
        ("a.safetensors", {}, torch.bfloat16, "expected torch.float16 or torch.float32"),
    ],
)
def test_what_cannot_be_saved(
    encoder: Encoder, tmp_path: Path, name: str, metadata: dict[str, str], dtype: torch.dtype, message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        checkpoint.save(encoder, tmp_path / name, metadata=metadata, dtype=dtype)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_overflow_are_not_saved_over_good_ones(encoder: Encoder, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    checkpoint.save(encoder, path, metadata={})
    before = path.read_bytes()
    encoder.norm.weight[0] = 1e6
    with pytest.raises(CheckpointError, match=r"not finite in torch\.float16: norm\.weight"):
        checkpoint.save(encoder, path, metadata={}, dtype=torch.float16)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_truncated_file(encoder: Encoder, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    checkpoint.save(encoder, path, metadata={})
    whole = path.read_bytes()
    for keep in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:keep])
        with pytest.raises(CheckpointError, match="truncated or damaged"):
            checkpoint.load(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        checkpoint.load(tmp_path / "none.safetensors")


def _rewrite(
    encoder: Encoder, path: Path, *, version: str = "1", drop: str = "", add: str = "", arch: str = ""
) -> None:
    checkpoint.save(encoder, path, metadata={})
    tensors = load_file(path)
    if drop:
        del tensors[drop]
    if add:
        tensors[add] = torch.zeros(1)
    header = {
        "format": "skill-bench",
        "version": version,
        "architecture": arch or checkpoint._architecture_json(encoder.architecture),
    }
    save_file(tensors, path, metadata=header)


def test_missing_and_unexpected_weights_are_listed(encoder: Encoder, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    _rewrite(encoder, path, drop="projection.norm.weight", add="surplus")
    with pytest.raises(
        KeyMismatch, match=r"Missing \(1\): projection\.norm\.weight\. Unexpected \(1\): surplus\."
    ) as caught:
        checkpoint.load(path)
    assert (caught.value.missing, caught.value.unexpected) == (["projection.norm.weight"], ["surplus"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "9"}, "format version '9', this program reads '1'"),
        ({"arch": "{"}, "no readable architecture"),
        ({"arch": "[]"}, "not a JSON object"),
        ({"arch": '{"dim": 3}'}, "architecture in the checkpoint cannot be read"),
    ],
)
def test_headers_that_cannot_be_used(encoder: Encoder, tmp_path: Path, change: dict[str, str], message: str) -> None:
    _rewrite(encoder, tmp_path / "a.safetensors", **change)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(tmp_path / "a.safetensors")


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


def test_a_changed_bit_in_a_pickle_is_found(tmp_path: Path) -> None:
    """torch.load looks at no checksum, and would give another model."""
    path = tmp_path / "m.pth"
    torch.save({"weights": torch.arange(1000.0)}, path)
    whole = path.read_bytes()
    at = whole.index(torch.arange(500.0, 502.0).numpy().tobytes())
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(CheckpointError, match=r"m\.pth: 'm/data/0' in it does not fit its checksum: damaged\. Get the"):
        checkpoint.load(path)


def test_a_pickle_without_checksums_is_read(tmp_path: Path) -> None:
    parts = FAMILIES["torchaudio"]()
    plain = checkpoint.load(write(parts, tmp_path / "with"))
    torch.serialization.set_crc32_options(False)
    try:
        path = write(parts, tmp_path / "without")
    finally:
        torch.serialization.set_crc32_options(True)
    assert not any(part.CRC for part in zipfile.ZipFile(path).infolist())
    assert checkpoint.load(path).sha256 == plain.sha256


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
