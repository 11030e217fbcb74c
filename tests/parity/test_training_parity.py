"""The report on training parity is what its measurements give, and its layouts hold the very utterances."""

from __future__ import annotations

import json
from pathlib import Path

import layouts
import pytest
import soundfile
import training_parity
from fake_speech import class_data, sequence_data

from skill_bench.corpora.audio import load_utterance

DOCS = Path(__file__).parents[2] / "docs"


def test_the_report_is_made_from_its_measurements() -> None:
    if not DOCS.is_dir():
        pytest.skip("no checkout: the report is not part of the package")
    found = json.loads((DOCS / "parity.json").read_text(encoding="utf-8"))
    assert (DOCS / "parity.md").read_text(encoding="utf-8") == training_parity.markdown(found)


def test_within_spread_is_about_means_and_the_wider_side() -> None:
    assert training_parity.within_spread([10.0, 12.0], [11.0, 15.0])
    assert not training_parity.within_spread([10.0, 10.1], [11.0, 11.5])


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    for side, seeds in (("ours", (0, 1, 2)), ("s3prl", (0, 2))):
        for seed in seeds:
            (tmp_path / f"ks-{side}-{seed}.json").write_text(json.dumps({"accuracy": 50.0 + seed}))
    text = training_parity.markdown(training_parity.collect(tmp_path))
    assert "| ks | accuracy % | 51.00 (50.00, 51.00, 52.00) | 51.00 (50.00, 52.00) | +0.00 | yes |" in text
    assert "Not measured: ks by s3prl, seed 1, sid, pr, asr." in text


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
