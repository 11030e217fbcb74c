"""``skill-bench list``: the tasks, upstreams, recipes and suites there are."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping

import typer

from skill_bench.base import catalog
from skill_bench.base.suites import suites


def list_all() -> None:
    """List the tasks, upstreams, recipes and suites that there are."""
    from skill_bench.distillation import recipe as distillation
    from skill_bench.pretraining import recipe as pretraining

    kinds: tuple[catalog.Listed, ...] = ("tasks", "upstreams")
    for kind in kinds:
        _show(kind, {name: _title(kind, name) for name in catalog.names(kind)})
    _show("recipes of distill", {name: distillation.load_recipe(name).title for name in distillation.names()})
    _show("recipes of pretrain", {name: pretraining.load_recipe(name).title for name in pretraining.names()})
    _show("suites", suites())


def _title(kind: catalog.Listed, name: str) -> str:
    entry = catalog.entry(kind, name)
    spec = tomllib.loads((entry if kind == "tasks" else entry / "upstream.toml").read_text("utf-8"))
    return str(spec["title"])


def _show(heading: str, titles: Mapping[str, str]) -> None:
    width = max(map(len, titles), default=0)
    typer.echo(f"{heading}:")
    for name, title in titles.items():
        typer.echo(f"  {name:<{width}}  {title}")
