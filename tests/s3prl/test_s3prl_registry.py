"""Upstream folders in s3prl's hub."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import skill_bench.s3prl
from skill_bench.base import catalog
from skill_bench.base.errors import SkillBenchError

HUBCONF = """
import os
from pathlib import Path
from .expert import UpstreamExpert as _UpstreamExpert


def {name}(ckpt=None, **kwargs):
    return _UpstreamExpert(ckpt, **kwargs)


def {name}_scaled(factor=2.0, **kwargs):
    return _UpstreamExpert(factor=factor, **kwargs)
"""

EXPERT = """
import torch


class UpstreamExpert(torch.nn.Module):
    def __init__(self, ckpt=None, factor=1.0, **kwargs):
        super().__init__()
        self.ckpt, self.factor, self.kwargs = ckpt, factor, kwargs

    def get_downsample_rates(self, key):
        return 320

    def forward(self, wavs):
        wavs = torch.nn.utils.rnn.pad_sequence(list(wavs), batch_first=True)
        frames = wavs.unfold(1, 320, 320) * self.factor
        return {"hidden_states": [frames, frames + 1.0], "last_hidden_state": frames + 1.0}
"""


def make(folder: Path, name: str) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "hubconf.py").write_text(HUBCONF.format(name=name))
    (folder / name / "expert.py").write_text(EXPERT)
    (folder / name / "upstream.toml").write_text(f'name = "{name}"\n')
    return folder


@pytest.fixture
def clean_hub() -> Iterator[None]:
    """Takes what a test registered out again."""
    from s3prl import hub

    before, modules = dict(vars(hub)), set(sys.modules)
    yield
    for name in set(vars(hub)) - set(before):
        delattr(hub, name)
    for name in set(sys.modules) - modules:
        if ".tiny_upstream" in name:
            del sys.modules[name]


@pytest.mark.usefixtures("clean_hub")
def test_a_folder_becomes_a_hub_entry_with_all_its_functions(tmp_path: Path) -> None:
    from s3prl import hub

    added = skill_bench.s3prl.register(make(tmp_path, "tiny_upstream_a"))
    assert {"tiny_upstream_a", "tiny_upstream_a_scaled"} <= set(added)
    assert {"tiny_upstream_a", "tiny_upstream_a_scaled"} <= set(hub.options())
    assert not {"os", "Path", "UpstreamExpert"} & set(added)
    assert hub.tiny_upstream_a(ckpt="file").ckpt == "file"
    assert hub.tiny_upstream_a_scaled().factor == 2.0


@pytest.mark.usefixtures("clean_hub")
def test_s3prl_upstream_takes_a_registered_name(tmp_path: Path) -> None:
    from s3prl.nn import S3PRLUpstream

    skill_bench.s3prl.register(make(tmp_path, "tiny_upstream_b"))
    upstream = S3PRLUpstream("tiny_upstream_b", path_or_url="some/file", extra_conf={"factor": 3.0})
    assert upstream.upstream.ckpt == "some/file"
    assert upstream.upstream.kwargs == {"refresh": False}
    assert (upstream.num_layers, upstream.hidden_sizes, upstream.downsample_rates) == (2, [320, 320], [320, 320])
    hidden, lengths = upstream(torch.ones(2, 3200), torch.tensor([3200, 1600]))
    assert [state.shape for state in hidden] == [(2, 10, 320)] * 2
    assert [length.tolist() for length in lengths] == [[10, 5]] * 2
    assert hidden[0][0].unique().tolist() == [3.0]


@pytest.mark.usefixtures("clean_hub")
def test_s3prl_keeps_its_own_names(tmp_path: Path) -> None:
    from s3prl import hub

    assert hub.fbank.__module__ == "s3prl.upstream.baseline.hubconf"
    (tmp_path / "fbank").mkdir()
    (tmp_path / "fbank" / "upstream.toml").write_text("")
    (tmp_path / "fbank" / "hubconf.py").write_text("def fbank(**kwargs):\n    raise AssertionError\n")
    assert "fbank" not in skill_bench.s3prl.register(tmp_path)
    assert hub.fbank.__module__ == "s3prl.upstream.baseline.hubconf"


@pytest.mark.usefixtures("clean_hub")
def test_a_folder_copied_into_s3prl_works(tmp_path: Path) -> None:
    import s3prl.upstream
    from s3prl import hub
    from s3prl.nn import S3PRLUpstream

    target = Path(s3prl.upstream.__path__[0]) / "tiny_upstream_c"
    shutil.copytree(make(tmp_path, "tiny_upstream_c") / "tiny_upstream_c", target)
    try:
        assert "tiny_upstream_c" in skill_bench.s3prl.register()
        assert hub.tiny_upstream_c.__module__ == "s3prl.upstream.tiny_upstream_c.hubconf"
        assert S3PRLUpstream("tiny_upstream_c").num_layers == 2
    finally:
        shutil.rmtree(target)


@pytest.mark.usefixtures("clean_hub")
def test_broken_folders_are_named(tmp_path: Path) -> None:
    make(tmp_path / "a", "tiny_upstream_d")
    (tmp_path / "a" / "tiny_upstream_d" / "hubconf.py").write_text("import no_such_package_anywhere\n")
    with pytest.raises(SkillBenchError, match=r"tiny_upstream_d/hubconf.py: cannot be imported: ModuleNotFoundError"):
        skill_bench.s3prl.register(tmp_path / "a")
    make(tmp_path / "b", "tiny_upstream_e")
    (tmp_path / "b" / "tiny_upstream_e" / "hubconf.py").write_text("def other():\n    pass\n")
    with pytest.raises(SkillBenchError, match="defines other, expected a function 'tiny_upstream_e'"):
        skill_bench.s3prl.register(tmp_path / "b")


def test_every_bundled_upstream_is_in_the_hub() -> None:
    from s3prl import hub

    assert set(catalog.names("upstreams")) <= set(hub.options())
    assert all(callable(getattr(hub, name)) for name in catalog.names("upstreams"))
