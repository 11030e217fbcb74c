"""Upstream folders in s3prl's hub.

The smaller replacements: imports, checkpoints, stand-in packages, corpora that the wheel lacks.
"""

from __future__ import annotations

import importlib
import pickle
import shutil
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
import torch
from torch.utils.data import SequentialSampler

import skill_bench.s3prl
from skill_bench.base import catalog
from skill_bench.base.errors import DataError, SkillBenchError, UsageError
from skill_bench.s3prl.ctc_corpora import CtcCorpus, LibriDataset, LibriPhoneDataset, SnipsDataset, read_lexicon
from skill_bench.s3prl.distribution import FORK, installed
from skill_bench.s3prl.packages import DistributedSamplerWrapper

# What s3prl and the packages that it imports warn about is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

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
MODULES = [
    "s3prl.hub",
    "s3prl.nn",
    "s3prl.downstream.runner",
    "s3prl.run_downstream",
    *(f"s3prl.downstream.{name}.expert" for name in sorted(set(map(tiny.downstream, tiny.LAYOUTS)))),
]


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


@pytest.mark.parametrize("name", MODULES)
def test_s3prl_imports(name: str) -> None:
    module = importlib.import_module(name)
    if name.endswith(".expert"):
        assert issubclass(module.DownstreamExpert, torch.nn.Module)


def test_s3prl_does_not_import_without_us() -> None:
    """The reason for the package: when this fails, s3prl or torchaudio was repaired and some of it can go. The fork's
    hub imports; its trainer does not."""
    module, package = (
        ("s3prl.run_downstream", "huggingface_hub") if FORK in installed() else ("s3prl.hub", "torchaudio")
    )
    command = [sys.executable, "-I", "-c", f"import {module}"]  # -I: as a process that is not our child
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode != 0
    assert package in finished.stderr.splitlines()[-1]


def test_applying_twice_changes_nothing() -> None:
    import torchaudio

    before = torchaudio.load, torchaudio.sox_effects
    skill_bench.s3prl.apply()
    assert (torchaudio.load, torchaudio.sox_effects) == before


class Attack:
    """Would create a file when unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def test_checkpoints_load_and_code_in_them_does_not_run(tmp_path: Path) -> None:
    torch.save({"Args": Namespace(upstream="fbank"), "Step": 3}, tmp_path / "states-3.ckpt")
    assert torch.load(tmp_path / "states-3.ckpt")["Args"] == Namespace(upstream="fbank")
    torch.save({"Args": Namespace(upstream=Attack(str(tmp_path / "ran")))}, tmp_path / "states-4.ckpt")
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        torch.load(tmp_path / "states-4.ckpt")
    assert not (tmp_path / "ran").exists()


def test_hugging_face_stand_ins_refuse() -> None:
    from huggingface_hub import HfFolder, Repository

    for use in (HfFolder.get_token, lambda: HfFolder.save_token("t"), lambda: Repository("folder", clone_from="url")):
        with pytest.raises(UsageError, match=r"huggingface_hub [\d.]+ no longer has"):
            use()


def test_distributed_sampler_shares_out_every_draw() -> None:
    assert importlib.import_module("catalyst.data.sampler").DistributedSamplerWrapper is DistributedSamplerWrapper
    parts = [
        list(DistributedSamplerWrapper(SequentialSampler(range(10)), num_replicas=2, rank=rank, shuffle=False))
        for rank in (0, 1)
    ]
    assert parts == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]


def test_sox_stand_in_refuses() -> None:
    with pytest.raises(UsageError, match="pip install sox"):
        importlib.import_module("sox").Transformer()


class Characters:
    token_type = "character-slot"

    def encode(self, text: str) -> list[int]:
        return [ord(character) for character in text]


def bucket_names(corpus: CtcCorpus, index: int) -> list[str]:
    bucket = corpus[index]
    assert isinstance(bucket, list)
    return [str(path) for path, _ in bucket]


def test_buckets_are_windows_over_lengths() -> None:
    items = [(Path(str(length)), [0] * length) for length in (2, 5, 3, 4)]
    corpus = CtcCorpus(items, bucket_size=2)
    assert [bucket_names(corpus, i) for i in range(4)] == [
        ["5", "4"], ["4", "3"], ["3", "2"], ["3", "2"],
    ]  # fmt: skip
    assert [str(path) for path, _ in CtcCorpus(items, bucket_size=1, ascending=True).items] == ["2", "3", "4", "5"]
    assert CtcCorpus(items, bucket_size=1)[0] == items[1]


def test_librispeech_readers(tmp_path: Path) -> None:
    tiny.librispeech(tmp_path, parts=("dev-clean",))
    corpus = LibriDataset(["dev-clean"], Characters(), 1, str(tmp_path))
    assert {path.name: "".join(map(chr, target)) for path, target in corpus.items} == {
        "1-7-0000.flac": "THE CAT", "1-7-0001.flac": "A DOG", "1-7-0002.flac": "THE DOG SAT",
        "1-7-0003.flac": "A CAT SAT",
    }  # fmt: skip
    (tmp_path / "lexicon").write_text("THE DH AH0\nTHE DH IY0\nA AH0\nCAT K AE1 T\nDOG D AO1 G\n")
    assert read_lexicon([str(tmp_path / "lexicon")])["THE"] == "DH AH0"
    with pytest.raises(DataError, match=r"1-7-000\d.flac: no pronunciation of SAT in"):
        LibriPhoneDataset(["dev-clean"], Characters(), 1, str(tmp_path), [str(tmp_path / "lexicon")])
    with pytest.raises(DataError, match=r"dev-other: no .flac file found"):
        LibriDataset(["dev-other"], Characters(), 1, str(tmp_path))


def test_snips_reader(tmp_path: Path) -> None:
    for name in ("Ann-1", "Bob-1", "Ann-2"):
        tiny.tone(tmp_path / "train" / f"{name}.wav", 300, seconds=0.1)
    (tmp_path / "all.iob.snips.txt").write_text("Ann-1 BOS PLAY\tO\nBob-1 BOS STOP\tO\nAnn-2 x\n")
    corpus = SnipsDataset(["train"], Characters(), 1, str(tmp_path), train_speakers=["Ann"])
    assert {path.name: "".join(map(chr, target)) for path, target in corpus.items} == {
        "Ann-1.wav": "BOS PLAY\tO", "Ann-2.wav": "x",
    }  # fmt: skip
    with pytest.raises(DataError, match="a speaker of Cid"):
        SnipsDataset(["train"], Characters(), 1, str(tmp_path), train_speakers=["Cid"])
