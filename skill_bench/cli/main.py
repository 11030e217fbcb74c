"""``skill-bench``: collects the commands and turns errors into messages and exit codes."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Annotated, NoReturn

import typer

from skill_bench import __version__
from skill_bench.base.errors import SkillBenchError
from skill_bench.base.system_errors import explained
from skill_bench.cli import (
    bench,
    cache,
    check,
    compare,
    distill,
    doctor,
    evidence,
    export,
    fidelity,
    groups,
    leaderboard,
    listing,
    plan,
    pretrain,
    profile,
    rescore,
    results,
    run,
    show,
    similarity,
    status,
    torch_pair,
    upstream,
)

app = typer.Typer(
    name="skill-bench",
    help="Distil, evaluate, measure and rank compressed speech models on SUPERB tasks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"skill-bench {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Options of every command."""


app.command("run")(run.run)
app.command("status")(status.status)
app.command("profile")(profile.profile)
app.command("leaderboard")(leaderboard.leaderboard)
app.command("compare")(compare.compare)
app.command("check")(check.check)
app.command("distill")(distill.distill)
app.command("export")(export.export)
app.command("pretrain")(pretrain.pretrain)
app.command("similarity")(similarity.similarity)
app.command("groups")(groups.groups)
app.command("fidelity")(fidelity.fidelity)
app.add_typer(upstream.app, name="upstream")
app.command("bench")(bench.bench)
app.add_typer(cache.app, name="cache")
app.command("doctor")(doctor.doctor)
app.add_typer(evidence.app, name="evidence")
app.add_typer(results.app, name="results")
app.command("show")(show.show)
app.command("rescore")(rescore.rescore)
app.add_typer(plan.app, name="plan")
app.command("list")(listing.list_all)


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
        message = torch_pair.explain(error) or explained(error)
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
