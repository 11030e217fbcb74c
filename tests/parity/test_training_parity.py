"""Training beside s3prl's: loss by loss from equal weights and batches, and the report on whole trainings.

Every trained task learns what s3prl's expert learns; the report is what its measurements give, and its layouts hold the
very utterances.
"""

from __future__ import annotations

import json
from pathlib import Path

import layouts
import lockstep
import lockstep_page
import lockstep_tasks
import pytest
import soundfile
import training_parity
from fake_speech import class_data, sequence_data

from skill_bench.corpora.audio.audio import load_utterance

DOCS = Path(__file__).parents[2] / "docs"
STEPS = 30
# Heads with recurrent layers under CTC say nothing but blanks for longer. By then rounding has grown: see RTOL_DOUBLE.
STEPS_UNTIL_WORDS = 100
SLOW_LEARNERS = {"asr", "sf"}
# float32: Adam divides gradients by their own size, so that rounding in the order of sums grows from update to update.
RTOL = 1e-4
# float64 has 9 digits more; the rest is what s3prl and torch keep in float32.
RTOL_DOUBLE = 1e-9
# At s3prl's learning rate; PR's is a hundred times the others', and its differences grow faster.
RTOL_OWN_RATE = 3e-5
# Ours rounds in more places than s3prl with a batch in another order, whose losses of single utterances are the same.
TIMES_ITSELF = 20


@pytest.mark.parametrize("task", lockstep_tasks.TASKS)
def test_losses_and_predictions_are_those_of_the_expert(task: str) -> None:
    found = lockstep.run(lockstep_tasks.TASKS[task](), steps=STEPS)
    assert len(found.losses) >= STEPS
    assert found.losses[-1][1] < 0.98 * found.losses[0][1], "nothing was learnt, so little was compared"
    assert found.largest_difference < RTOL
    assert found.n_agreed == found.n_items >= 40
    assert found.n_answers > 1 or task in SLOW_LEARNERS


@pytest.mark.parametrize("task", lockstep_tasks.TASKS)
def test_at_s3prls_own_rate_float32_is_rounding(task: str) -> None:
    found = lockstep.run(lockstep_tasks.TASKS[task](), steps=STEPS, learning_rate=lockstep_tasks.own_rate(task))
    assert found.largest_difference < RTOL_OWN_RATE
    assert found.n_agreed == found.n_items


def test_the_page_says_what_was_measured() -> None:
    page = json.loads((lockstep_page.DOCS / "lockstep.json").read_text(encoding="utf-8"))
    assert set(page["tasks"]) == set(lockstep_tasks.TASKS)
    for task, found in page["tasks"].items():
        assert found["steps"] == lockstep_page.STEPS
        assert found["largest_relative_difference"] < RTOL_DOUBLE
        faster, own = found["float32"]
        assert own["learning_rate"] == lockstep_tasks.own_rate(task)
        assert own["ours"]["largest"] < RTOL
        assert own["n_agreed"] == found["n_items"]
        for single in (faster, own):
            itself = single[lockstep_page.REORDERED]
            assert single["ours"]["largest"] < TIMES_ITSELF * itself["largest"]
            first, last = single["first_and_last_loss"]
            assert last < 0.99 * first, "nothing was learnt, so little was compared"
            assert single["n_answers"] > 1 or (task, single) == ("asr", own), "an agreement that says nothing"
    assert (lockstep_page.DOCS / "parity.md").read_text(encoding="utf-8") == lockstep_page.page(lockstep_page.DOCS)


@pytest.mark.slow
@pytest.mark.parametrize("task", sorted(SLOW_LEARNERS))
def test_words_are_those_of_the_expert(task: str) -> None:
    with lockstep.double_precision():
        found = lockstep.run(lockstep_tasks.TASKS[task](), steps=STEPS_UNTIL_WORDS)
    assert found.largest_difference < RTOL_DOUBLE
    assert found.n_agreed == found.n_items
    assert found.n_answers > 5


@pytest.mark.parametrize("task", ["pr", "er"])
def test_what_differs_is_rounding(task: str) -> None:
    with lockstep.double_precision():
        found = lockstep.run(lockstep_tasks.TASKS[task](), steps=STEPS)
    assert found.largest_difference < RTOL_DOUBLE


def test_utterances_of_several_lengths_differ_in_verification() -> None:
    """s3prl pools a frame of padding into all but the longest utterance of a batch; we do not."""
    uneven = lockstep.run(lockstep_tasks.asv(n_frames=None), steps=1)
    even = lockstep.run(lockstep_tasks.asv(), steps=1)
    assert uneven.largest_difference > 10 * even.largest_difference
    assert uneven.largest_difference > 1e-5


def test_the_report_is_made_from_its_measurements() -> None:
    if not DOCS.is_dir():
        pytest.skip("no checkout: the report is not part of the package")
    assert (DOCS / "parity.md").read_text(encoding="utf-8") == lockstep_page.page(DOCS)


def test_within_spread_is_about_means_and_the_wider_side() -> None:
    assert training_parity.within_spread([10.0, 12.0], [11.0, 15.0])
    assert not training_parity.within_spread([10.0, 10.1], [11.0, 11.5])


def result(folder: Path, name: str, value: float, *, weights: str = "w" * 64, steps: int = 10) -> None:
    made_with = {
        "weights_sha256": weights,
        "data": "d",
        "settings": SETTINGS | {"steps": steps, "limit": 8},
        "head": {},
    }
    path = folder / f"{weights[0]}{steps}" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"made_with": made_with, "values": {"accuracy": value}, "seconds": 1.0}))


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    for side, seeds in (("ours", (0, 1, 2)), ("s3prl", (0, 2))):
        for seed in seeds:
            result(tmp_path, f"ks-{side}-{seed}", 50.0 + seed)
    text = training_parity.markdown(training_parity.collect(tmp_path))
    assert (
        "| ks | accuracy % | 51.00 (50.00, 51.00, 52.00) | 51.00 (50.00, 52.00) | +0.00 [-5.98, +5.98] | yes |" in text
    )
    assert "Not measured: ks by s3prl, seed 1, sid, pr, asr." in text
    assert "- ks: weights wwwwwwwwwwww, learning rate 0.01, 10 steps of 4 utterances" in text


def test_results_of_other_settings_or_weights_are_not_mixed(tmp_path: Path) -> None:
    result(tmp_path, "ks-ours-0", 10.0, steps=5)
    result(tmp_path, "ks-s3prl-0", 20.0, steps=5)
    result(tmp_path, "ks-ours-0", 30.0)
    (found,) = training_parity.collect(tmp_path)["tasks"].values()
    assert found["settings"]["steps"] == 10
    assert found["metrics"]["accuracy"] == {"ours": {"0": 30.0}, "s3prl": {}}
    result(tmp_path, "ks-s3prl-1", 40.0, weights="v" * 64)
    (found,) = training_parity.collect(tmp_path)["tasks"].values()
    assert found["weights_sha256"] == "v" * 64
    assert found["metrics"]["accuracy"] == {"ours": {}, "s3prl": {"1": 40.0}}


SETTINGS = {"learning_rate": 0.01, "batch_size": 4, "steps": 10, "evaluate_every_steps": 5}


def test_speakers_keep_their_utterances(tmp_path: Path) -> None:
    data = class_data(tmp_path / "audio", task="sid")
    layouts.FROM_DATA["sid"](data, tmp_path / "out", **SETTINGS)
    lines = (tmp_path / "out" / "veri_test_class.txt").read_text().splitlines()
    (fold,) = data.folds
    assert [line.split()[0] for line in lines] == ["1"] * 9 + ["2"] * 3 + ["3"] * 6
    for line, utterance in zip(lines, (*fold.train, *fold.dev, *fold.test), strict=True):
        name = line.split()[1]
        assert name.startswith(f"id{10001 + 'ABC'.index(utterance.target)}/")
        written, rate = soundfile.read(tmp_path / "out" / "dev" / "wav" / name, dtype="float32")
        assert rate == 16000
        # 24 bits hold 16-bit audio exactly.
        assert (written == load_utterance(utterance).waveform.numpy()).all()


def test_phones_are_their_own_words(tmp_path: Path) -> None:
    data = sequence_data(tmp_path / "audio", task="pr", n_train=4)
    layouts.FROM_DATA["pr"](data, tmp_path / "out", **SETTINGS)
    text = (tmp_path / "out" / "train-clean-100" / "1" / "7" / "1-7.trans.txt").read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in text] == [u.target for u in data.folds[0].train]
    assert (tmp_path / "out" / "lexicon.txt").read_text().splitlines() == ["A A", "B B", "C C", "D D"]
