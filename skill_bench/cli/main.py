"""``skill-bench``: collects the commands and turns errors into messages and exit codes."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from skill_bench import __version__
from skill_bench.base.errors import SkillBenchError
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
app.command("profile")(profile.profile)
app.command("leaderboard")(leaderboard.leaderboard)
app.command("compare")(compare.compare)
app.command("check")(check.check)
app.command("distill")(distill.distill)
app.command("export")(export.export)
app.command("pretrain")(pretrain.pretrain)
app.command("similarity")(similarity.similarity)
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
    """Entry point. Exit code 0: done; 1: something failed; 2: usage; 130: interrupted, nothing finished is lost."""
    try:
        app()
    except SkillBenchError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except (OSError, RuntimeError) as error:
        message = torch_pair.explain(error) or _about_a_file(error)
        if message is None:
            raise
        typer.echo(f"error: {message}", err=True)
        sys.exit(1)


def _about_a_file(error: Exception) -> str | None:
    """What the system says of a path that cannot be used; None for other errors."""
    if not isinstance(error, OSError) or error.filename is None or error.strerror is None:
        return None
    return f"{error.filename}: {error.strerror}. Check the path, its permissions and the space on its disk."
