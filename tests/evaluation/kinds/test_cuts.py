"""Long training utterances: one cut that the id decides, or several that are drawn from."""

from __future__ import annotations

from pathlib import Path

import torch
from fake_speech import FakeUpstream, class_data, tone_file, utterance
from kind_data import run_cell

from skill_bench.evaluation.solving.requests import cuts
from skill_bench.evaluation.solving.trained import CutSampler
from skill_bench.evaluation.task_files import load_task
from skill_bench.features.policy import cut
from skill_bench.tasks import TaskSpec


def short(protocol: str) -> TaskSpec:
    task = load_task("sid").for_suite("demo", protocol=protocol)
    settings = {"train_max_seconds": 0.2, "steps": 4, "evaluate_every_steps": 2, "batch_size": 4, "accumulate": 1}
    return task.model_copy(update={"protocol": task.protocol.model_copy(update=settings)})


def test_protocol_s3prl_has_several_cuts_of_what_is_long(tmp_path: Path) -> None:
    long, brief = (utterance(tone_file(tmp_path / f"{tones}.wav", tones), "A") for tones in ("ABCD", "A"))
    assert cuts(short("strict"), long) == (long,)
    assert cuts(short("s3prl"), brief) == (brief,)
    several = cuts(short("s3prl"), long)
    assert several[0] == long
    assert len({one.id for one in several}) == 4
    wave = torch.arange(7680.0)
    assert len({float(cut(wave, one, max_samples=3200)[0]) for one in several}) == 4


def test_every_cut_is_drawn_and_nothing_is_where_there_is_no_choice() -> None:
    generator = torch.Generator().manual_seed(0)
    found = torch.tensor(CutSampler([1, 3, 2]).draw([0, 1, 2] * 40, generator)).view(40, 3)
    assert [set(column.tolist()) for column in found.T] == [{0}, {1, 2, 3}, {4, 5}]
    before = generator.get_state()
    assert CutSampler([1, 1, 1]).draw([2, 0], generator) == [2, 0]
    assert torch.equal(generator.get_state(), before)


def test_each_cut_is_extracted_once(tmp_path: Path) -> None:
    data = class_data(tmp_path / "audio", task="sid")
    (fold,) = data.folds
    n_long = sum((u.seconds or 0) > 0.2 for u in fold.train)
    assert 0 < n_long < len(fold.train)
    n_parts = [len(part) for _, part in fold.splits()]
    for protocol, n_more in (("strict", 0), ("s3prl", 3 * n_long)):
        upstream = FakeUpstream(identity=protocol)
        found = run_cell(upstream, short(protocol), data, seed=0, cache_dir=tmp_path)
        assert sum(upstream.calls) == sum(n_parts) + n_more
        assert [row["id"] for row in found.predictions] == [u.id for u in fold.test]
