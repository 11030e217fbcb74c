"""The contract battery catches each way of breaking it, and says so; a scaffolded folder keeps it from the start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from skill_bench.base import catalog
from skill_bench.base.errors import CheckpointError, SkillBenchError, SpecError, UsageError
from skill_bench.cli.main import app
from skill_bench.models import checkpoint
from skill_bench.models.encoder import Encoder
from skill_bench.models.factories import architecture
from skill_bench.upstream import scaffold
from skill_bench.upstream.contract import CHECKS, Subject, battery
from skill_bench.upstream.interface import Upstream
from skill_bench.upstream.load import load_upstream
from skill_bench.upstream.module import ModuleUpstream
from skill_bench.upstream.spec import read_spec


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return scaffold.new_upstream("mine", parent=tmp_path)


ELSEWHERE = "same identity in another process"  # starts a Python, which takes longer than all others
QUICK = [check for check in CHECKS if check.name != ELSEWHERE]


def found_by(name: str, upstream: Upstream, folder: Path) -> str:
    (check,) = (check for check in CHECKS if check.name == name)
    (finding,) = battery(Subject(upstream=upstream, folder=folder), [check])
    return finding.found or "nothing"


def test_a_new_module_keeps_the_contract(own: Path) -> None:
    upstream = load_upstream(str(own))
    assert isinstance(upstream, ModuleUpstream)
    assert [finding.found for finding in battery(Subject(upstream=upstream, folder=own))] == [None] * len(CHECKS)


def test_a_new_folder_over_a_checkpoint_keeps_the_contract(tmp_path: Path) -> None:
    shape = architecture(channels=8, dim=16, n_layers=2, n_heads=2, ffn_dim=8, position_kernel=4, position_groups=2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = Encoder(shape)
    checkpoint.save(encoder, tmp_path / "a.safetensors", metadata={"licence": "MIT"})
    folder = scaffold.new_upstream("small", parent=tmp_path, ckpt=tmp_path / "a.safetensors", title='A "small" one\n')
    upstream = load_upstream(str(folder))
    assert upstream.name == "small"
    assert upstream.system().title == 'A "small" one\n'
    assert upstream.system().licence == "MIT"
    assert upstream.system().checkpoint_sha256 == checkpoint.load(tmp_path / "a.safetensors").sha256
    assert [f.found for f in battery(Subject(upstream=upstream, folder=folder), QUICK)] == [None] * len(QUICK)


@pytest.mark.parametrize(
    ("metadata", "role", "teacher"),
    [
        ({}, "other", None),
        ({"teacher": "mine"}, "student", "mine"),
        ({"teacher_sha256": "0" * 64}, "student", None),  # of a file that had no name
    ],
)
def test_a_new_folder_says_what_its_checkpoint_says(
    metadata: dict[str, str], role: str, teacher: str | None, tmp_path: Path
) -> None:
    shape = architecture(channels=8, dim=16, n_layers=1, n_heads=2, ffn_dim=8, position_kernel=4, position_groups=2)
    checkpoint.save(Encoder(shape), tmp_path / "a.safetensors", metadata=metadata)
    spec = read_spec(scaffold.new_upstream("small", parent=tmp_path, ckpt=tmp_path / "a.safetensors"))
    assert (spec.role, spec.teacher) == (role, teacher)


def test_bundled_folders_are_what_the_scaffold_makes() -> None:
    for name in catalog.names("upstreams"):
        folder = catalog.entry("upstreams", name)
        assert (folder / "expert.py").read_text() == scaffold.EXPERT_OF_CHECKPOINT
        assert (folder / "hubconf.py").read_text() == scaffold.HUBCONF.format(name=name)


def _identity(upstream: Upstream) -> None:
    upstream.identity = "mine"


def _count(upstream: Upstream) -> None:
    upstream._system = upstream.system().model_copy(update={"n_parameters": 3})


def _trainable(upstream: Upstream) -> None:
    upstream.requires_grad_(True)


def _wrap(change: Callable[[list[Tensor]], list[Tensor]]) -> Callable[[Upstream], None]:
    def break_it(upstream: Upstream) -> None:
        whole = upstream.hidden_states
        upstream.hidden_states = lambda waves: change(whole(waves))  # type: ignore[method-assign]

    return break_it


BREAKS: dict[str, tuple[Callable[[Upstream], None], str, str]] = {
    "identity": (_identity, "declares itself", "expected a sha256"),
    "count": (_count, "declares itself", "3 parameters in system()"),
    "trainable": (_trainable, "frozen in skill-bench", "require a gradient"),
    "too short": (_wrap(lambda s: [x[:, :-9] for x in s]), "shapes", "frames for"),
    "half": (_wrap(lambda s: [x.half() for x in s]), "shapes", "torch.float16"),
    "nan": (_wrap(lambda s: [x / (x - x[:, :1]).abs().sum() for x in s]), "silence and constants", "not finite"),
    "norm over the batch": (
        _wrap(lambda s: [x - torch.cat([y.flatten() for y in s]).mean() for x in s]),
        "independent of the batch",
        "in a batch and alone",
    ),
    "noise": (_wrap(lambda s: [x + 0.01 * torch.rand(()) for x in s]), "deterministic", "random numbers"),
    "crash": (_wrap(lambda s: [x[:, [0]] * x for x in s]), "short utterances", "IndexError"),
    "lost": (_wrap(lambda s: s[:1]), "shapes", "1 result for 5 utterances"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_each_breach_is_found(own: Path, name: str) -> None:
    break_it, check, found = BREAKS[name]
    upstream = load_upstream(str(own))
    break_it(upstream)
    assert found in found_by(check, upstream, own)


@pytest.mark.parametrize(
    ("file", "old", "new", "check"),
    [
        ("hubconf.py", "def mine(", "def other(", "folder works elsewhere"),
        ("expert.py", "torch.manual_seed(0)", "torch.seed()", ELSEWHERE),
    ],
)
def test_a_folder_that_depends_on_place_or_time_is_found(own: Path, file: str, old: str, new: str, check: str) -> None:
    path = own / file
    path.write_text(path.read_text().replace(old, new))
    assert found_by(check, load_upstream(str(own)), own) != "nothing"


def test_the_command_explains(own: Path) -> None:
    (own / "hubconf.py").write_text("")
    bad = CliRunner().invoke(app, ["upstream", "check", str(own)])
    assert isinstance(bad.exception, SkillBenchError)
    assert "  FAIL  folder works elsewhere\n        found: hubconf.py does not define mine()" in bad.output
    assert "        do: Import relatively" in bad.output
    assert bad.output.count("  ok    ") == len(CHECKS) - 1


def test_new_refuses(own: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is there already"):
        scaffold.new_upstream("mine", parent=tmp_path)
    with pytest.raises(UsageError, match="cannot be an upstream's name"):
        scaffold.new_upstream("My-model", parent=tmp_path)
    with pytest.raises(CheckpointError):
        scaffold.new_upstream("other", parent=tmp_path, ckpt=tmp_path / "gone.pt")
    assert not (tmp_path / "other").exists()


def test_a_path_that_is_no_upstream(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no upstream\.toml.*upstream new NAME"):
        load_upstream(str(tmp_path))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("return [first, torch.relu(self.layer(first))]", "return first", r"gave a tensor .*expected a list"),
        ("torch.relu(self.layer(first))]", "first[:, :, :3]]", "hidden states of one shape"),
    ],
)
def test_a_module_of_another_form_is_told(own: Path, old: str, new: str, message: str) -> None:
    path = own / "expert.py"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(SpecError, match=message):
        load_upstream(str(own))


def test_other_weights_make_another_system(own: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    first = load_upstream(str(own))
    assert isinstance(first, ModuleUpstream)
    save_file({name: t + 1 for name, t in first.module.state_dict().items()}, tmp_path / "w.safetensors")
    other = load_upstream(str(own), tmp_path / "w.safetensors")
    assert other.identity != first.identity
    assert other.name == f"mine-{str(other.system().checkpoint_sha256)[:8]}"
    with pytest.raises(CheckpointError, match="is missing"):
        load_upstream(str(own), tmp_path / "gone.safetensors")


@pytest.mark.parametrize(
    ("last_line", "found"),
    [
        ("return Model().requires_grad_(False)", "parameters cannot learn, such as module.frames.weight"),
        ("m = Model(); m.forward = torch.no_grad()(m.forward); return m", "features without a gradient"),
    ],
)
def test_a_folder_that_s3prl_could_not_train_is_found(own: Path, last_line: str, found: str) -> None:
    """``-f`` would train nothing, and nobody would be told."""
    expert = own / "expert.py"
    text = expert.read_text()
    assert "            return Model()\n" in text
    expert.write_text(text.replace("            return Model()\n", f"            {last_line}\n"))
    (check,) = [check for check in CHECKS if check.name == "trainable in s3prl"]
    said = check.run(Subject(upstream=load_upstream(str(own)), folder=own))
    assert said is not None
    assert found in said
