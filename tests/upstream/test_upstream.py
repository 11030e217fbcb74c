"""How upstreams are found, made and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from skill_bench.base import catalog
from skill_bench.base.errors import CheckpointError, KeyMismatch, SkillBenchError, SpecError, UnknownName, UsageError
from skill_bench.models import checkpoint
from skill_bench.models.encoder import Encoder
from skill_bench.models.export import dphubert
from skill_bench.models.factories import architecture
from skill_bench.upstream import encoder as encoder_upstream
from skill_bench.upstream import load
from skill_bench.upstream.filterbank import FilterbankUpstream
from skill_bench.upstream.interface import Upstream
from skill_bench.upstream.load import load_folder, load_upstream
from skill_bench.upstream.spec import Filterbank, read_spec


@pytest.fixture
def ckpt(tmp_path: Path) -> Path:
    shape = architecture(channels=8, dim=16, n_layers=2, n_heads=2, ffn_dim=8, position_kernel=8, position_groups=4)
    torch.manual_seed(3)
    checkpoint.save(
        Encoder(shape), tmp_path / "student.safetensors", metadata={"licence": "CC0", "title": "Mine", "recipe": "r"}
    )
    return tmp_path / "student.safetensors"


def test_unknown_name_suggests() -> None:
    with pytest.raises(UnknownName, match=r"unknown upstream 'skil'\. Did you mean 'skill'\?"):
        load_upstream("skil")


def test_a_checkpoint_is_a_system_of_its_own(ckpt: Path) -> None:
    upstream = load_upstream("skill", ckpt)
    system = upstream.system()
    loaded = checkpoint.load(ckpt)
    assert upstream.name == f"skill-{loaded.sha256[:8]}"
    assert (system.title, system.licence, system.kind, system.checkpoint_sha256) == (
        "Mine",
        "CC0",
        "other",
        loaded.sha256,
    )
    assert system.details["recipe"] == "r"
    assert upstream.layer_names == ("h0", "h1", "h2")
    assert (upstream.dim, upstream.downsample_rate) == (16, 320)


@pytest.mark.parametrize("name", ["skill", "dphubert", "teacher"])
def test_missing_bundled_weights(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for path in catalog.entry("upstreams", name).glob("*.*"):
        if path.suffix in (".py", ".toml"):
            (folder / path.name).write_bytes(path.read_bytes())
    with pytest.raises(CheckpointError, match=rf"{name}\.safetensors are missing\. Reinstall skill-bench, or .*--ckpt"):
        load_folder(folder)


def test_untrained_takes_the_shape_but_not_the_weights(ckpt: Path) -> None:
    untrained, trained = load_upstream("random", ckpt), load_upstream("skill", ckpt)
    assert isinstance(untrained, encoder_upstream.EncoderUpstream)
    assert isinstance(trained, encoder_upstream.EncoderUpstream)
    assert untrained.encoder.architecture == trained.encoder.architecture
    assert untrained.identity != trained.identity
    assert untrained.name.startswith("random-")
    assert untrained.system().kind == "control"
    assert load_upstream("random").name == "random"


def test_untrained_leaves_the_random_state_alone() -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = load_upstream("random").identity
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert load_upstream("random").identity == first


def test_untrained_control_has_the_students_shape() -> None:
    student = catalog.entry("upstreams", "skill") / "skill.safetensors"
    if not student.is_file():
        pytest.skip("this checkout has no bundled student")
    stored = json.loads((catalog.entry("upstreams", "random") / "architecture.json").read_text())
    assert stored == json.loads(json.dumps(checkpoint.load(student).encoder.architecture.to_dict()))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fbank", {"ckpt": "x.pt"}, "'fbank' computes filterbanks: there are no weights to take from x.pt"),
        ("skill", {"ckpt": "x.pt", "layer": 3}, "'skill' has no option layer, only ckpt"),
        ("skill", {"model_config": "a.yaml"}, "takes no model_config"),
        ("hf:nothing", {}, "expected hf:ORG/MODEL"),
        ("hf:org/model", {"ckpt": "x.pt"}, "names its own weights: leave out ckpt"),
    ],
)
def test_options_that_do_not_exist(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_upstream(name, **options)


def test_large_batches_are_split_and_come_back_in_order(ckpt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upstream = load_upstream("skill", ckpt)
    waves = [torch.randn(n) for n in (5000, 900, 3000, 12000, 900)]
    whole = upstream.hidden_states(waves)
    monkeypatch.setattr(encoder_upstream, "MAX_BATCH_SAMPLES", 6000)
    split = upstream.hidden_states(waves)
    assert [states.shape[1] for states in split] == [15, 2, 9, 37, 2]
    for ours, theirs in zip(split, whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_double_precision_and_single_frame_input() -> None:
    bank = load_upstream("fbank")
    (states,) = bank.hidden_states([torch.randn(400, dtype=torch.float64)])
    assert states.shape == (1, 1, 240)
    assert not states.any(), "one frame has no variance: zeros, not NaN"


def test_filterbank_identity_follows_its_settings() -> None:
    system = load_upstream("fbank").system()
    identities = {
        FilterbankUpstream(filterbank=Filterbank(normalize_utterance=True, n_mels=n), system=system).identity
        for n in (40, 80)
    }
    assert len(identities | {load_upstream("fbank").identity}) == 2


GOOD = """
name = "mine"
title = "Mine"
kind = "encoder"
role = "student"
description = "x"
weights = "mine.safetensors"
"""


def write(tmp_path: Path, toml: str, expert: str | None = None) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "upstream.toml").write_text(toml)
    if expert is not None:
        (folder / "expert.py").write_text(expert)
    return folder


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (GOOD + 'weigths = "a"\n', "unknown key 'weigths'. Did you mean 'weights'?"),
        (GOOD.replace('title = "Mine"', ""), "key 'title': Field required"),
        (GOOD.replace('"encoder"', '"fbank"'), "key 'kind': .*found 'fbank'"),
        (GOOD.replace("weights =", "seed = 1 #"), "'weights' must be given for kind = 'encoder'"),
        (GOOD + "seed = 3\n", "'seed' must be given for kind = 'untrained', and for it alone"),
        (GOOD + "[filterbank]\nnormalise_utterance = true\n", "unknown key|key 'filterbank.normalize_utterance'"),
        (GOOD.replace('"mine"', '"yours"'), "name = 'yours', but the folder is 'mine'"),
        ("name = ", "cannot be read as TOML"),
    ],
)
def test_faulty_specifications_name_file_and_key(toml: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        read_spec(write(tmp_path, toml))
    assert "upstream.toml" in str(caught.value)


def test_missing_specification(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"upstream\.toml: cannot be read \(No such file"):
        read_spec(tmp_path)


@pytest.mark.parametrize(
    ("expert", "message"),
    [
        (None, r"expert\.py: no such file"),
        ("import nonexistent_package\n", r"expert\.py: cannot be imported: ModuleNotFoundError"),
        ("x = 1\n", "defines no UpstreamExpert"),
        (
            "def UpstreamExpert(ckpt=None):\n    return 3\n",
            "gave a int, expected a skill_bench.upstream.interface.Upstream",
        ),
    ],
)
def test_folders_that_break_the_contract(expert: str | None, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        load_folder(write(tmp_path, GOOD, expert))


def test_an_error_of_foreign_code_does_not_end_the_run_of_others(tmp_path: Path) -> None:
    expert = "def UpstreamExpert(ckpt=None):\n    return {}['weights']\n"
    with pytest.raises(CheckpointError, match=r"UpstreamExpert failed \(KeyError: 'weights'\)\. Check the checkpoint"):
        load_folder(write(tmp_path, GOOD, expert))


def test_notes_of_a_checkpoint_go_into_its_records(ckpt: Path, tmp_path: Path) -> None:
    loaded = checkpoint.load(ckpt)
    content = dphubert.content(loaded.encoder)
    content["state_dict"] = {f"module.{key}": tensor for key, tensor in content["state_dict"].items()}
    torch.save(content, tmp_path / "wrapped.pth")
    assert "notes" not in load_upstream("skill", ckpt).system().details
    details = load_upstream("skill", tmp_path / "wrapped.pth").system().details
    assert details["notes"] == "names of weights began with module.: taken off"


def test_an_upstream_of_ones_own(tmp_path: Path) -> None:
    expert = """
from .model import Mine

UpstreamExpert = Mine
"""
    model = """
import torch
from skill_bench.upstream.interface import Upstream
from skill_bench.records.record import System


class Mine(Upstream):
    def __init__(self, ckpt=None):
        super().__init__(
            system=System(name="mine", title="Mine", identity="1"), downsample_rate=160, dim=2, layer_names=["a"]
        )

    def hidden_states(self, waves):
        return [torch.ones(1, len(wave) // 160, 2) for wave in waves]
"""
    folder = write(tmp_path, GOOD, expert)
    (folder / "model.py").write_text(model)
    upstream = load_folder(folder)
    assert isinstance(upstream, Upstream)
    result = upstream([torch.zeros(320), torch.zeros(800)])
    assert result["hidden_states"][0].sum(dim=(1, 2)).tolist() == [4.0, 10.0]


class Hub:
    """Stands in for huggingface_hub.snapshot_download: a folder of files, or no network."""

    def __init__(self, folder: Path, *, reachable: bool = True) -> None:
        self.folder, self.reachable, self.asked = folder, reachable, list[list[str]]()

    def __call__(self, repository: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        self.asked.append(allow_patterns)
        if not self.reachable:
            raise ConnectionError("no route to host")
        return str(self.folder)


def install(monkeypatch: pytest.MonkeyPatch, fake: Hub) -> Hub:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake)
    return fake


def test_hub_model(ckpt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = install(monkeypatch, Hub(ckpt.parent))
    upstream = load_upstream("hf:org/model@main")
    assert upstream.name.startswith("org--model@main-")
    assert upstream.system().checkpoint_sha256 == checkpoint.load(ckpt).sha256
    assert len(fake.asked) == 1, "pickled weights are not fetched when there are others"
    assert not any(pattern.endswith(".bin") for pattern in fake.asked[0])
    assert {"config.json", "preprocessor_config.json", "processor_config.json"} <= set(fake.asked[0])


def test_hub_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Hub(tmp_path, reachable=False))
    with pytest.raises(
        CheckpointError, match=r"hf:org/model: cannot be fetched \(ConnectionError: no route.*--ckpt FOLDER"
    ):
        load_upstream("hf:org/model")


def test_hub_model_without_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = install(monkeypatch, Hub(tmp_path))
    with pytest.raises(CheckpointError, match="holds no weights"):
        load.fetch("org/model")
    assert len(fake.asked) == 2


def test_offline_switch_of_huggingface_hub_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="cannot be fetched"):
        load.fetch("org/model-that-was-never-fetched")


def test_wrong_weights_stay_a_checkpoint_error(tmp_path: Path, ckpt: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    tensors = load_file(ckpt)
    del tensors["norm.bias"]
    with safe_open(ckpt, framework="pt") as file:
        save_file(tensors, tmp_path / "broken.safetensors", metadata=file.metadata())
    with pytest.raises(KeyMismatch, match=r"norm\.bias") as caught:
        load_upstream("skill", tmp_path / "broken.safetensors")
    assert isinstance(caught.value, SkillBenchError)
