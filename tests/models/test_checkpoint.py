"""Our own checkpoint file: what goes in comes out, and nothing broken goes in or out."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from skill_bench.base.errors import CheckpointError, KeyMismatch
from skill_bench.models import checkpoint
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
