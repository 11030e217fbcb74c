"""The report on training parity is what its measurements give, and its layouts hold the very utterances."""

from __future__ import annotations

import json
from pathlib import Path

import layouts
import lockstep_page
import pytest
import soundfile
import training_parity
from fake_speech import class_data, sequence_data

from skill_bench.corpora.audio.audio import load_utterance

DOCS = Path(__file__).parents[2] / "docs"


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
