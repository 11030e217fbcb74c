"""``skill-bench list``: the tasks, upstreams and suites there are."""

from __future__ import annotations

import tomllib

import typer

from skill_bench import catalog


def list_all() -> None:
    """List tasks, upstreams and suites."""
    for kind in ("tasks", "upstreams"):
        typer.echo(f"{kind}:")
        for name in catalog.names(kind):
            entry = catalog.entry(kind, name)
            spec = tomllib.loads((entry if kind == "tasks" else entry / "upstream.toml").read_text("utf-8"))
            typer.echo(f"  {name:<12} {spec['title']}")
    typer.echo("suites:")
    typer.echo("  demo         synthesised speech, made on first use; needs no data")
    typer.echo("  local        recordings of your own: --data-root FOLDER with manifests and a suite.toml")
    typer.echo("  superb       the official corpora: --data-root FOLDER; `skill-bench doctor` says what goes into it")
    typer.echo("  mini         a fixed part of the official corpora, trained as a local suite")
