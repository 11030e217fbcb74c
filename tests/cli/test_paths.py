"""Paths of all commands: outputs are checked before the work, inputs by one rule, and a mistake has one exit code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer

from skill_bench.base import catalog
from skill_bench.base.errors import UsageError
from skill_bench.cli import main
from skill_bench.upstream.spec import weights

FILES = {
    "check --against b": ("--junit", "--markdown"),
    "bench": ("--out", "--markdown"),
    "compare skill teacher": ("--csv",),
    "distill --teacher empty.pt --data speech": ("--out",),
    "pretrain --data speech": ("--out",),
    "similarity --teacher empty.pt --data speech": ("--out",),
    "plan distill --teacher empty.pt --data speech": ("--out",),
    "export empty.pt": ("--out",),
    "evidence write --results records": ("--out",),
    "groups --teacher empty.pt --data speech --held-out speech": ("--out",),
    "results pack records": ("--out",),
}
FOLDERS = {
    "run -u skill": ("--out", "--cache-dir"),
    "plan run -u skill": ("--out",),
    "profile -u skill": ("--out",),
    "fidelity --teacher skill --student skill --data speech": ("--out",),
    "leaderboard": ("--out",),
    "evidence run grid.toml --teacher empty.pt --data speech": ("--out",),
    "results unpack r.zip": ("--out",),
    "upstream new mine": ("--folder",),
    "export empty.pt --format huggingface": ("--out",),
    "distill --teacher empty.pt --data speech --out s.safetensors": ("--work-dir",),
    "pretrain --data speech --out s.safetensors": ("--work-dir",),
    "groups --teacher empty.pt --data speech --held-out speech --out s.toml": ("--work-dir",),
    "check --update --reason x": ("--against",),
    "cache list": ("--cache-dir",),
}
"""Commands with the options that name what they write; their inputs are there, and would fail if they were read."""
NAMES_ITS_OWN = {"--data", "--held-out", "--launch-file", "--data-root", "--suite-file", "--against", "--grid", "grid"}
"""What is read by a reader that says more than that it is not there."""


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty inputs, a file and a folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("empty.pt", "grid.toml", "r.zip", "file"):
        (tmp_path / name).touch()
    for name in ("speech", "records", "folder.safetensors", "folder.json", "folder.md", "folder.zip", "folder.toml"):
        (tmp_path / name).mkdir()


def each(table: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(command, option) for command, options in table.items() for option in options]


def suffix(command: str, option: str) -> str:
    """Of a name that the command accepts."""
    name = command.split()[0] if option == "--out" else ""
    return {"similarity": ".json", "evidence": ".md", "results": ".zip", "groups": ".toml"}.get(name, ".safetensors")


def commands(group: Any = None, names: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    group = group or typer.main.get_command(main.app)
    if not hasattr(group, "commands"):
        yield " ".join(names), group
        return
    for name, command in group.commands.items():
        yield from commands(command, (*names, name))


def test_every_path_of_every_command_is_checked() -> None:
    checked, free = 0, set()
    for name, command in commands():
        for one in command.params:
            is_weights = one.metavar == "PATH|NAME"
            if not is_weights and "path" not in repr(vars(one)["type_descriptor"]).lower():
                continue
            is_checked = one.callback is not None or is_weights
            checked += is_checked
            if not is_checked:
                free.add(f"{name}: {one.opts[0]}")
    assert checked > 30
    # Whether it is a file or a folder depends on --format.
    assert {one.split(": ")[1] for one in free - {"export: --out"}} <= NAMES_ITS_OWN, free


def test_the_tables_name_every_output() -> None:
    written = {(name, option) for name, command in commands() for option in outputs_of(command)}
    written.remove(("status", "--out"))  # of a run; it is read
    tested = {
        (name, option)
        for table in (FILES, FOLDERS)
        for text, options in table.items()
        for option in options
        for name, _ in commands()
        if text == name or text.startswith(f"{name} ")
    }
    assert written <= tested, written - tested


def outputs_of(command: click.Command) -> list[str]:
    names = ("--out", "--work-dir", "--junit", "--markdown", "--csv", "--folder")
    return [option for one in command.params for option in one.opts if option in names]


@pytest.mark.parametrize(("arguments", "option"), each(FILES))
@pytest.mark.parametrize("mistake", ["a folder", "below a file", "below a closed folder", "a name too long"])
def test_a_file_that_cannot_be_written_is_said_first(
    arguments: str, option: str, mistake: str, command: Callable[..., Any], tmp_path: Path
) -> None:
    end = suffix(arguments, option)
    out, message = {
        "a folder": (f"folder{end}", f"{option} folder{end}: is a folder, expected a file. Choose another one."),
        "below a file": (f"file/x{end}", f"{option} file/x{end}: file is no folder that can be written to. Choose"),
        "below a closed folder": (
            f"/proc/x/y{end}",
            f"{option} /proc/x/y{end}: /proc is no folder that can be written",
        ),
        "a name too long": (f"{'x' * 300}/y{end}", "is no folder that can be written to. Choose another one."),
    }[mistake]
    refused(command(*arguments.split(), option, out), message, tmp_path)


@pytest.mark.parametrize(("arguments", "option"), each(FOLDERS))
@pytest.mark.parametrize("mistake", ["a file", "below a file", "below a closed folder"])
def test_a_folder_that_cannot_be_written_is_said_first(
    arguments: str, option: str, mistake: str, command: Callable[..., Any], tmp_path: Path
) -> None:
    if option == "--cache-dir" and mistake != "a file":
        pytest.skip("a cache may be another user's: it is read, and what cannot be kept is not kept")
    out, message = {
        "a file": ("file", f"{option} file: is a file, expected a folder. Choose another one."),
        "below a file": (
            "file/x/y",
            f"{option} file/x/y: file is no folder that can be written to. Choose another one.",
        ),
        "below a closed folder": (
            "/proc/x/y",
            f"{option} /proc/x/y: /proc is no folder that can be written to. Choose",
        ),
    }[mistake]
    refused(command(*arguments.split(), option, out), message, tmp_path)


def refused(ended: Any, message: str, place: Path) -> None:
    assert ended.code == 2, ended
    assert message in ended.err
    assert ended.out == ""
    assert len(list(place.iterdir())) == 11, "nothing was made"


def test_the_folder_of_work_beside_the_student_is_checked_too(command: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "s.work").touch()
    ended = command("distill", "--teacher", "empty.pt", "--data", "speech", "--out", "s.safetensors")
    assert ended.code == 2
    assert "--work-dir (by default) s.work: is a file, expected a folder." in ended.err


def test_a_device_file_is_not_replaced(command: Callable[..., Any]) -> None:
    ended = command("compare", "skill", "teacher", "--csv", "/dev/null")
    assert ended.code == 2
    assert "--csv /dev/null: is neither a file nor a folder, expected a file." in ended.err
    assert Path("/dev/null").is_char_device()


MISSING = {
    "show gone": "gone: no such file or folder. Check the path.",
    "rescore gone": "gone: no such file or folder. Check the path.",
    "results list gone": "gone: no such file or folder. Check the path.",
    "results pack gone --out x.zip": "gone: no such file or folder. Check the path.",
    "results unpack gone --out x": "gone: no such file or folder. Check the path.",
    "leaderboard --results gone": "--results gone: no such file or folder. Check the path.",
    "compare skill teacher --results gone": "--results gone: no such file or folder. Check the path.",
    "evidence write --results gone": "--results gone: no such file or folder. Check the path.",
    "export empty.pt --out x --results gone": "--results gone: no such file or folder. Check the path.",
    "export empty.pt --out x --records gone": "--results gone: no such",  # as it was called
    "export gone --out x.safetensors": "gone: no such checkpoint. Check the path.",
    "run -u skill --ckpt gone": "gone: no such checkpoint. Check the path.",
    "plan run -u skill --ckpt gone": "gone: no such checkpoint. Check the path.",
    "profile -u skill --ckpt gone": "gone: no such checkpoint. Check the path.",
    "upstream check skill --ckpt gone": "gone: no such checkpoint. Check the path.",
    "upstream new mine --ckpt gone": "gone: no such checkpoint. Check the path.",
    "pretrain --data speech --out x.safetensors --start gone": "gone: no such checkpoint. Check the path.",
    "distill --teacher gone --data speech --out x.safetensors": "gone: no such checkpoint. Check the path.",
    "distill --teacher hf:a/b --data speech --out x.safetensors": "hf:a/b: no such checkpoint. Models of the hub are "
    "named so with --upstream; here download it, `hf download a/b --local-dir FOLDER`, and give the folder.",
    "plan distill --teacher gone --data speech": "gone: no such checkpoint. Check the path.",
    "similarity --teacher gone --data speech": "gone: no such checkpoint. Check the path.",
    "evidence run grid.toml --teacher gone --data speech": "gone: no such checkpoint. Check the path.",
    "evidence run gone.toml --teacher empty.pt --data speech": "gone.toml",
    "run -u skill --suite local --data-root gone": "gone",
    "doctor --data-root gone": "--data-root gone is not a folder.",
    "check --against gone": "gone holds no baseline.json.",
    "profile -u skill --ckpt /dev/null": "/dev/null: no such checkpoint. Check the path.",
    "show speech": "no record in speech.",
    "results list empty.pt": "empty.pt: no such folder or archive (.zip) of records.",
    "leaderboard --results empty.pt": "empty.pt: no such folder or archive (.zip) of records.",
    "compare skill teacher --results empty.pt": "empty.pt: no such folder or archive (.zip) of records.",
    "evidence write --results empty.pt": "empty.pt: no such folder or archive (.zip) of records.",
}
UNKNOWN = {
    "run -u skil": "unknown upstream 'skil'. Did you mean 'skill'?",
    "plan run -u skil": "unknown upstream 'skil'. Did you mean 'skill'?",
    "profile -u skil": "unknown upstream 'skil'. Did you mean 'skill'?",
    "upstream check skil": "unknown upstream 'skil'. Did you mean 'skill'?",
    "run -u skill --suite demos": "'demos'. Did you mean 'demo'?",
    "plan run -u skill --suite demos": "'demos'. Did you mean 'demo'?",
    "leaderboard --suite demos": "unknown suite 'demos'. Did you mean 'demo'?",
    "compare skill teacher --suite demos": "unknown suite 'demos'. Did you mean 'demo'?",
    "doctor --data-root speech --suite demos": "'demos'.",
    "run -u skill --tasks kss": "unknown task 'kss'. Did you mean 'ks'?",
    "plan run -u skill --tasks kss": "unknown task 'kss'. Did you mean 'ks'?",
    "doctor --data-root speech --tasks kss": "'kss'",
    "leaderboard --tasks kss": "unknown task 'kss'. Did you mean 'ks'?",
    "run -u skill --columns parms": "unknown column 'parms'. Did you mean 'params'?",
    "compare skil teacher": "unknown measured system 'skil'. Did you mean 'skill'?",
    "export empty.pt --out x --format onxn": "unknown format 'onxn'.",
    "similarity --teacher empty.pt --data speech --measures ckaa": "unknown measure 'ckaa'. Did you mean 'cka'?",
    "distill --teacher empty.pt --data speech --out x.safetensors --recipe skil": "Did you mean 'skill'?",
    "plan distill --teacher empty.pt --data speech --recipe skil": "Did you mean 'skill'?",
    "export skil --out x.safetensors": "skil: no such checkpoint. Check the path. Did you mean 'skill'?",
}
DAMAGED = {
    "show bad.json": "bad.json: not valid JSON",
    "rescore bad.json": "bad.json: not valid JSON",
    "results list bad": "bad.json: not valid JSON",
    "results pack bad --out x.zip": "bad.json: not valid JSON",
    "leaderboard --results r.zip": "r.zip: not a zip archive that can be read",
    "compare skill teacher --results r.zip": "r.zip: not a zip archive that can be read",
    "results unpack r.zip --out x": "r.zip: not a zip archive that can be read",
    "evidence write --results r.zip": "r.zip: not a zip archive that can be read",
    "export empty.pt --out x.safetensors": "empty.pt: ",
    "similarity --teacher empty.pt --data speech": "empty.pt: ",
    "profile -u skill --ckpt empty.pt": "empty.pt: ",
    "upstream check skill --ckpt empty.pt": "empty.pt: ",
}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        *((arguments, 2, message) for arguments, message in {**MISSING, **UNKNOWN}.items()),
        *((arguments, 1, message) for arguments, message in DAMAGED.items()),
    ],
)
def test_the_same_mistake_has_the_same_code(
    arguments: str, code: int, message: str, command: Callable[..., Any], tmp_path: Path
) -> None:
    """2: it cannot be carried out as it was given; 1: what it was given is bad."""
    (tmp_path / "bad").mkdir()
    for place in (tmp_path, tmp_path / "bad"):
        (place / "bad.json").write_text("{")
    ended = command(*arguments.split())
    assert (ended.code, message in ended.err) == (code, True), ended
    assert ended.err.splitlines()[-1].startswith(("error: ", "  ", "Error: "))


@pytest.mark.parametrize("name", ["skill", "teacher", "distilhubert"])
def test_an_upstream_that_is_bundled_names_its_weights(name: str, tmp_path: Path) -> None:
    found = weights(name)
    assert found == catalog.entry("upstreams", name) / f"{name}.safetensors"
    assert found.is_file()
    assert weights(str(found.parent)) == found, "its folder does too"
    assert weights("empty.pt") == Path("empty.pt")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fbank", r"fbank: upstream 'fbank' \(filterbank\) has no weights\."),
        ("random", r"random: upstream 'random' \(untrained\) has no weights\."),
        ("./skill", r"\./skill: no such checkpoint\. Check the path\. Bundled: "),
        ("techer", r"techer: no such checkpoint\. Check the path\. Did you mean 'teacher'\?"),
    ],
)
def test_what_has_no_weights_is_said(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        weights(name)


def test_a_name_that_is_a_path_as_well_is_ambiguous(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "skill").touch()
    own = catalog.entry("upstreams", "skill")
    with pytest.raises(
        UsageError, match=rf"'skill' is a file here.*Write \./skill.*{re.escape(str(own))} for the latter"
    ):
        weights("skill")
    assert weights("./skill") == Path("skill")
    assert weights(str(own)) == own / "skill.safetensors"
    monkeypatch.chdir(own.parent)
    assert weights("skill") == own / "skill.safetensors", "both are the same folder"


def test_a_record_in_an_archive_is_there(command: Callable[..., Any]) -> None:
    archive = catalog.folder("leaderboard") / "results" / "demo.zip"
    assert command("show", archive / "demo" / "skill" / "ks-s0.json").code == 0
    ended = command("show", archive / "demo" / "skill" / "ks-s9.json")
    assert (ended.code, "ks-s9.json: no such file or folder. Check the path." in ended.err) == (2, True)
