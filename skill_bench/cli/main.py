"""``skill-bench``: collects the commands and turns errors into messages and exit codes."""

from __future__ import annotations

import io
import os
import re
import sys
import traceback
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from skill_bench.base import __version__
from skill_bench.base.errors import SkillBenchError, explained
from skill_bench.cli import check, evidence, export, layers, machine, measures, plan, run, tables, training, upstream
from skill_bench.cli.options import InGroups

_FORMERLY = {"records": "results"}
"""Options that had another name, which is still taken."""
_TORCH_PAIR = ("torch", "torchaudio")
app = typer.Typer(
    name="skill-bench",
    cls=InGroups,
    help="Distil, evaluate, measure and rank compressed speech models on SUPERB tasks.",
    epilog="skill-bench COMMAND --help lists a command's options.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"token_normalize_func": lambda name: _FORMERLY.get(name, name)},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"skill-bench {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of every command."""


_GROUPS: dict[str, tuple[tuple[str, Any], ...]] = {
    "Evaluate": (
        ("run", run.run),
        ("status", run.status),
        ("plan", plan.app),
        ("profile", measures.profile),
        ("fidelity", measures.fidelity),
        ("check", check.check),
    ),
    "Tables": (
        ("leaderboard", tables.leaderboard),
        ("compare", tables.compare),
        ("show", tables.show),
        ("rescore", tables.rescore),
        ("results", tables.archives),
    ),
    "Models": (
        ("distill", training.distill),
        ("similarity", layers.similarity),
        ("groups", layers.groups),
        ("pretrain", training.pretrain),
        ("evidence", evidence.app),
        ("upstream", upstream.app),
        ("export", export.export),
    ),
    "This machine": (
        ("list", machine.list_all),
        ("doctor", machine.doctor),
        ("cache", machine.caches),
        ("bench", machine.bench),
    ),
}
"""In the order in which --help lists them."""
for _group, _commands in _GROUPS.items():
    for _name, _command in _commands:
        if isinstance(_command, typer.Typer):
            app.add_typer(_command, name=_name, rich_help_panel=_group)
        else:
            app.command(_name, rich_help_panel=_group)(_command)


def main() -> None:
    """Entry point. Exit code 0: done; 1: something failed; 2: usage; 128 + N: ended by signal N, such as Ctrl-C (130).

    What is interrupted loses nothing that is finished.
    """
    # A table with "?" for its arrows says more than no table; errors name files by all of their bytes.
    for stream, errors in ((sys.stdout, "replace"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)
    try:
        try:
            app()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # else Python finds out at its end, and says so in its own way
    except SkillBenchError as error:
        _end(str(error), error.exit_code)
    except BrokenPipeError:  # whoever read has left, and misses no message
        _end(None, 1)
    except Exception as error:
        message = explained_for_torch(error) or explained(error)
        if message is None:
            raise
        _end(message, 1)


def _end(message: str | None, code: int) -> NoReturn:
    """Ends with an error, also where neither it nor what was written before reaches anybody."""
    if message is not None:
        with suppress(OSError):
            typer.echo(f"error: {message}", err=True)
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:  # Python would try again at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(code)


def explained_for_torch(error: BaseException) -> str | None:
    """What to install, if ``error`` came from torchaudio loading its compiled parts; None otherwise.

    torchaudio raises an OSError where it was built against another torch, a RuntimeError where CUDA versions differ.
    """
    frames = traceback.extract_tb(error.__traceback__)
    if not any({"torchaudio", "_extension"} <= set(Path(frame.filename).parts) for frame in frames):
        return None
    found = " and ".join(f"{name} {_version(name)}" for name in _TORCH_PAIR)
    wanted = [need for need in requires("skill-bench") or [] if re.split(r"[^\w-]", need)[0] in _TORCH_PAIR]
    return (
        f"{found} do not load together ({str(error).splitlines()[0]}). Expected the pair that skill-bench is tested "
        f"with; run: pip install {' '.join(wanted)}"
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"
