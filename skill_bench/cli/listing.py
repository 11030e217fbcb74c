"""``skill-bench list``: the tasks, upstreams, recipes and suites there are."""

from __future__ import annotations

import tomllib

import typer

from skill_bench import catalog


def list_all() -> None:
    """List tasks, upstreams, recipes and suites."""
    from skill_bench.compress.recipe import load_recipe, names

    for kind in ("tasks", "upstreams"):
        typer.echo(f"{kind}:")
        for name in catalog.names(kind):
            entry = catalog.entry(kind, name)
            spec = tomllib.loads((entry if kind == "tasks" else entry / "upstream.toml").read_text("utf-8"))
            typer.echo(f"  {name:<12} {spec['title']}")
    typer.echo("recipes:")
    for name in names():
        typer.echo(f"  {name:<14} {load_recipe(name).title}")
    typer.echo("suites:")
    typer.echo("  demo         synthesised speech, made on first use; needs no data")
    typer.echo("  local        recordings of your own: --data-root FOLDER with manifests and a suite.toml")
    typer.echo("  superb       the official corpora: --data-root FOLDER; `skill-bench doctor` says what goes into it")
    typer.echo("  mini         a fixed part of the official corpora, trained as a local suite")
