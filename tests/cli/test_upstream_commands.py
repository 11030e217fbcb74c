"""``upstream`` and ``doctor``: what is missing is named, with what to do, and the exit code says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_suite import SPLIT, write


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("upstream check gone", "unknown upstream 'gone'. Known: distilhubert, dphubert, fbank,"),
        ("upstream new skill!", "'skill!' cannot be an upstream's name: expected a small letter, then small letters,"),
        ("upstream", "Commands:"),
        ("doctor --data-root gone", "--data-root gone is not a folder. Make it; what goes into it is said here."),
        ("doctor --data-root . --suite demo", "the suite demo synthesises its speech: it needs no data"),
        ("doctor --data-root . --suite dspspeech20", "Of what is missing, the sources:\n  dspspeech20: github.com/"),
        ("doctor --data-root . --suite local", "has no suite.toml, and its files are of no known layout. Write "),
        ("doctor --data-root . --suite-file a.toml", "the superb suite reads official layouts. --suite-file is for --"),
        ("doctor --data-root . --tasks kss", "Did you mean 'ks'?"),
        ("cache prune --cache-dir .", "say what to remove, with one of --to SIZE, --older-than DAYS, --upstream NAME,"),
    ],
)
def test_usage(arguments: str, message: str, command: Callable[..., Any]) -> None:
    ended = command(*arguments.split())
    assert ended.code == 2
    assert message in ended.err + ended.out


def test_a_corpus_that_is_not_there_is_a_failure_that_says_where_to_get_it(command: Callable[..., Any]) -> None:
    ended = command("doctor", "--data-root", ".", "--tasks", "ks,sid")
    assert ended.code == 1
    assert ended.err == "error: not complete for ks, sid; 0 tasks can run.\n"
    assert "get http://download.tensorflow.org/data/speech_commands_v0.01.tar.gz" in ended.out
    assert [line.split(":")[0] for line in ended.out.splitlines() if line.endswith("NOT COMPLETE")] == ["ks", "sid"]


def test_recordings_of_your_own_are_examined_as_a_run_would(command: Callable[..., Any], tmp_path: Path) -> None:
    write(tmp_path, "sid", cells={})
    suite = tmp_path / "suite.toml"
    suite.write_text(f'title = "My corpus"\n{suite.read_text()}')
    options = ("--data-root", tmp_path, "--suite", "local", "--cache-dir", tmp_path / "cache")
    ended = command("doctor", *options)
    assert ended.code == 0
    assert ended.out.splitlines() == [
        "local: My corpus",
        "sid: complete",
        "    train 4, dev 4, test 4; 0.00 h",
        "complete for sid.",
    ]
    assert "unknown task of the suite 'ks'. Known: sid." in command("doctor", *options, "--tasks", "ks").err
    (tmp_path / "u3.wav").write_bytes(b"no audio")
    (tmp_path / "u9.wav").unlink()
    ended = command("doctor", *options)
    assert ended.code == 1
    assert ended.err == "error: not complete for sid; 0 tasks can run.\n"
    assert "sid: NOT COMPLETE" in ended.out
    assert all(name in ended.out for name in ("u3.wav", "u9.wav")), "every faulty file at once"


def test_a_packaged_suite_is_examined_by_its_name(command: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "dspspeech20"
    folder.mkdir()
    write(folder, "sid", cells={})
    rows = [f"{n}\tu{n}.wav\ts{n % 2}\t{split}" for n, split in enumerate(SPLIT)]
    (folder / "manifest.tsv").write_text("\n".join(["id\tpath\tspeaker\tround_split", *rows]) + "\n")
    ended = command("doctor", "--data-root", tmp_path, "--suite", "dspspeech20", "--tasks", "sid")
    assert ended.code == 0, ended.err
    first, second, third, *_, last = ended.out.splitlines()
    assert first == "dspspeech20: 20 words of DSPSpeech-20"
    assert (second, third[:28], last) == ("sid: complete", "    train 4, dev 4, test 4; ", "complete for sid.")


def test_a_new_upstream_is_there_and_none_is_overwritten(command: Callable[..., Any], tmp_path: Path) -> None:
    ended = command("upstream", "new", "mine", "--title", "My model")
    folder = tmp_path / "upstreams" / "mine"
    assert ended.code == 0
    assert 'title = "My model"' in (folder / "upstream.toml").read_text()
    before = {path: path.read_bytes() for path in folder.iterdir()}
    again = command("upstream", "new", "mine", "--title", "Another")
    assert again.code == 2
    assert "upstreams/mine" in again.err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_an_empty_cache_is_no_failure(command: Callable[..., Any]) -> None:
    ended = command("cache", "list", "--cache-dir", ".")
    assert (ended.code, ended.out.split("below")[0]) == (0, "    0.000 GB  in 0 caches ")
