"""One battery for every upstream there is: s3prl's interface and our invariants.

Every record that travels with the package can be trusted, and lies where its key says.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

from skill_bench.base import catalog
from skill_bench.evaluation.task_files import load_task
from skill_bench.models import checkpoint
from skill_bench.models.architecture import LayerShape
from skill_bench.models.encoder import Encoder
from skill_bench.models.factories import WAVLM_POSITION, architecture
from skill_bench.records.record import settings
from skill_bench.records.store import contents, pack
from skill_bench.report.render.frame import to_frame
from skill_bench.report.table.blocks import variant
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import collect
from skill_bench.report.table.load import FOLDERS
from skill_bench.upstream.contract import CHECKS, Check, Subject, identities_in_another_process, probe_waves
from skill_bench.upstream.interface import Upstream
from skill_bench.upstream.load import load_upstream
from skill_bench.upstream.spec import read_spec

NAMES = catalog.names("upstreams")
ELSEWHERE = "same identity in another process"
RESULTS = catalog.folder("leaderboard") / "results"


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small pruned checkpoint, for upstreams whose bundled weights are not in this checkout."""
    whole = architecture(
        channels=16, dim=32, n_layers=3, n_heads=4, ffn_dim=20, relative_position=WAVLM_POSITION,
        position_kernel=16, position_groups=4,
    )  # fmt: skip
    shape = whole.with_layers(
        (LayerShape(heads=(1, 3), ffn_dim=5), LayerShape(heads=(), ffn_dim=9), LayerShape(heads=(2,), ffn_dim=0))
    )
    path = tmp_path_factory.mktemp("ckpt") / "small.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        checkpoint.save(Encoder(shape), path, metadata={"recipe": "none"})
    return path


@pytest.fixture(scope="module", params=NAMES)
def upstream(request: pytest.FixtureRequest, stand_in: Path) -> Upstream:
    return load_upstream(request.param, checkpoint_for(request.param, stand_in))


def checkpoint_for(name: str, stand_in: Path) -> Path | None:
    folder = catalog.entry("upstreams", name)
    spec = read_spec(folder)
    return None if spec.weights is None or (folder / spec.weights).is_file() else stand_in


@pytest.fixture(scope="module")
def subject(upstream: Upstream, stand_in: Path) -> Subject:
    folder = next(catalog.entry("upstreams", name) for name in NAMES if upstream.name.split("-")[0] == name)
    return Subject(upstream=upstream, folder=folder, ckpt=checkpoint_for(folder.name, stand_in))


@pytest.mark.parametrize("check", [c for c in CHECKS if c.name != ELSEWHERE], ids=lambda check: check.name)
def test_keeps_the_contract(subject: Subject, check: Check) -> None:
    assert check.run(subject) is None, f"{check.why} {check.remedy}"


@pytest.mark.usefixtures("among_files_named_as_modules")
def test_identity_is_the_same_in_another_process(stand_in: Path) -> None:
    # One process for all of them: starting it takes longer than the work.
    requests = {catalog.entry("upstreams", name): checkpoint_for(name, stand_in) for name in NAMES}
    expected = {folder: load_upstream(folder.name, ckpt).identity for folder, ckpt in requests.items()}
    assert identities_in_another_process(requests) == expected


def test_lengths_are_those_of_the_front_end(upstream: Upstream) -> None:
    waves = probe_waves()
    for wave, utterance in zip(waves, upstream.hidden_states(waves), strict=True):
        # All front ends of ours see 25 ms and do not look beyond the ends.
        assert utterance.shape[1] == (len(wave) - 400) // upstream.downsample_rate + 1
    (empty,) = upstream.hidden_states([waves[0][:399]])
    assert empty.shape == (upstream.n_hidden_states, 0, upstream.dim)


def test_identities_differ(stand_in: Path) -> None:
    upstreams = [load_upstream(name, checkpoint_for(name, stand_in)) for name in NAMES]
    bundled = [u.identity for u in upstreams if u.system().checkpoint_sha256 != _hash(stand_in)]
    assert len(set(bundled)) == len(bundled)


def _hash(path: Path) -> str:
    return checkpoint.load(path).sha256


@pytest.mark.parametrize("folder", FOLDERS)
def test_shipped_records_are_whole_and_finished(folder: str) -> None:
    found = collect(catalog.folder("leaderboard") / folder, origin="shipped")
    assert found.problems == ()
    assert [record.key for record in found.records if record.status != "finished"] == []
    rows = to_frame(build([found], by_training=True))
    assert len(rows) >= len({(r.key.suite, r.key.upstream) for r in found.records}) > 5


@pytest.mark.parametrize("folder", FOLDERS)
def test_shipped_records_lie_where_their_keys_say(folder: str) -> None:
    found = contents(catalog.folder("leaderboard") / folder)
    assert {name: record.path(Path()).as_posix() for name, record in found.records.items()} == {
        name: name for name in found.records
    }


@pytest.mark.parametrize(("folder", "suites"), [("results", ["demo"]), ("deployed", ["local"])])
def test_shipped_records_are_one_archive_a_suite_packed_as_the_command_packs_them(
    folder: str, suites: list[str], tmp_path: Path
) -> None:
    place = catalog.folder("leaderboard") / folder
    archives = sorted(place.glob("*.zip"))
    assert [path.name for path in place.iterdir() if path.is_dir()] == []
    for archive in archives:
        assert {record.key.suite for record in collect(archive).records} == {archive.stem}
        pack(archive, tmp_path / archive.name)
        # The zlib of another machine may compress otherwise; names, order, times and contents are the same.
        with zipfile.ZipFile(archive) as shipped, zipfile.ZipFile(tmp_path / archive.name) as again:
            assert shipped.namelist() == again.namelist()
            for one, other in zip(shipped.infolist(), again.infolist(), strict=True):
                assert (one.date_time, one.CRC, one.external_attr) == (other.date_time, other.CRC, other.external_attr)
    assert [archive.stem for archive in archives] == suites


def test_shipped_records_have_the_settings_that_a_run_has_today() -> None:
    """Else a user's rows would stand in a table of their own, away from the bundled systems."""
    records = [record for record in collect(RESULTS, origin="shipped").records if record.data is not None]
    assert records
    for record in records:
        task = load_task(record.key.task)
        today = task.for_suite(record.key.suite, protocol=record.key.protocol).recorded()
        assert settings(record.task_spec) == settings(today), "a run would not find the cell finished"
        assert variant(record.model_copy(update={"task_spec": today})) == variant(record), record.key
        assert record.key.task_version == task.version
