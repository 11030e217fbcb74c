"""``skill-bench upstream``: a folder for a model of one's own, and whether it keeps the contract."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skill_bench.base.counted import counted
from skill_bench.cli.options import Checkpoint, commands
from skill_bench.cli.paths import folder_to_write
from skill_bench.upstream.spec import weights

app = commands("Make a folder for a model of your own, and check it.")


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Small letters, digits, underscores.")],
    ckpt: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint of any readable format, or a bundled upstream's name; without one, a torch module to be "
            "replaced by yours.",
            parser=weights,
            metavar="PATH|NAME",
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="How tables call it.")] = None,
    folder: Annotated[Path, typer.Option(help="Where the new folder goes.", callback=folder_to_write)] = Path(
        "upstreams"
    ),
) -> None:
    """Make an upstream folder: upstream.toml, expert.py, hubconf.py, weights."""
    from skill_bench.upstream.scaffold import new_upstream

    made = new_upstream(name, parent=folder, ckpt=ckpt, title=title)
    for path in sorted(made.iterdir()):
        typer.echo(path)
    typer.echo(f"next: skill-bench upstream check {_as_path(made)}")


@app.command("check")
def check(
    name: Annotated[str, typer.Argument(help="Name in `skill-bench list`, or the path of a folder.")],
    ckpt: Checkpoint = None,
) -> None:
    """Check an upstream against everything that scores rely on, and say what to do about what fails."""
    from skill_bench.base import catalog
    from skill_bench.base.errors import SkillBenchError
    from skill_bench.upstream.contract import CHECKS, Subject, battery
    from skill_bench.upstream.load import load_upstream

    folder = catalog.upstream(name)
    upstream = load_upstream(name, ckpt)
    system = upstream.system()
    typer.echo(
        f"{system.title}: {system.n_parameters or 0:,} parameters, {upstream.n_hidden_states} hidden states of width "
        f"{upstream.dim}, a frame every {1000 * upstream.downsample_rate / upstream.sample_rate_hz:g} ms"
    )
    n_failed = 0
    for finding in battery(Subject(upstream=upstream, folder=folder, ckpt=ckpt)):
        if finding.found is None:
            typer.echo(f"  ok    {finding.check.name}")
            continue
        n_failed += 1
        typer.echo(f"  FAIL  {finding.check.name}")
        for label, text in (("found", finding.found), ("why", finding.check.why), ("do", finding.check.remedy)):
            typer.echo(f"        {label}: {text}")
    if n_failed:
        raise SkillBenchError(f"{n_failed} of {counted(len(CHECKS), 'check')} failed.")
    typer.echo(f"{counted(len(CHECKS), 'check')} passed. next: skill-bench run --upstream {name}")


def _as_path(folder: Path) -> str:
    """A folder in the way that tells it from a name of the catalog."""
    text = folder.as_posix()
    return text if "/" in text else f"./{text}"
