"""``skill-bench list``, ``doctor``, ``cache`` and ``bench``: what there is on this machine, and how fast it is."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skill_bench.base import catalog
from skill_bench.base.catalog import DEFAULT_SUITE, OFFICIAL_SUITES, suites
from skill_bench.base.counted import counted
from skill_bench.base.filled import filled
from skill_bench.base.places import cache_folder
from skill_bench.base.specs import read_toml
from skill_bench.cli.options import CacheDir, SuiteFile, bytes_in, commands, names_in
from skill_bench.cli.paths import file_to_write

if TYPE_CHECKING:
    from skill_bench.features.stored import StoredCache

caches = commands("List, verify or prune the features that are kept on disk.")


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
    return str(read_toml(entry if kind == "tasks" else entry / "upstream.toml").get("title", ""))


def _show(heading: str, titles: Mapping[str, str]) -> None:
    width = max(map(len, titles), default=0)
    typer.echo(f"{heading}:")
    for name, title in titles.items():
        typer.echo(filled(f"  {name:<{width}}  {title}", hanging=width + 4))


def doctor(
    data_root: Annotated[Path, typer.Option(help="Folder of the suite's corpora.")],
    suite: Annotated[
        str,
        typer.Option(
            help="local for recordings of your own, or a packaged suite; superb and mini need whole official corpora."
        ),
    ] = "superb",
    tasks: Annotated[str | None, typer.Option(help="Names of tasks, comma-separated; by default all.")] = None,
    suite_file: SuiteFile = None,
    cache_dir: CacheDir = None,
) -> None:
    """Check layout, counts, hours and every file of a suite; say what is missing and where to get it.

    Exit code 0: everything is there. 1: something is not.
    """
    from skill_bench.base.errors import DataError, UnknownName, UsageError

    if suite == DEFAULT_SUITE:
        raise UsageError(f"the suite {suite} synthesises its speech: it needs no data, and there is nothing to check.")
    if suite not in (known := {*suites()} - {DEFAULT_SUITE}):
        raise UnknownName("suite to check", suite, known)
    if not data_root.is_dir():
        raise UsageError(f"--data-root {data_root} is not a folder. Make it; what goes into it is said here.")
    official = suite in OFFICIAL_SUITES
    if official and suite_file is not None:
        raise UsageError(f"the {suite} suite reads official layouts. --suite-file is for --suite local.")
    wanted, examine = (
        _official(names_in(tasks), data_root)
        if official
        else _described(suite, names_in(tasks), data_root, suite_file, cache_folder(cache_dir))
    )
    incomplete = []
    for task in wanted:
        text, is_complete = examine(task)
        for line in text.split("\n"):
            typer.echo(filled(line))
        if not is_complete:
            incomplete.append(task)
    if incomplete:
        rest = counted(len(wanted) - len(incomplete), "task")
        raise DataError(f"not complete for {', '.join(incomplete)}; {rest} can run.")
    typer.echo(filled(f"complete for {', '.join(wanted)}."))


Examine = Callable[[str], tuple[str, bool]]
"""Gives what is to be said of a task, and whether it is complete."""


def _official(tasks: list[str] | None, data_root: Path) -> tuple[list[str], Examine]:
    from skill_bench.corpora.official.doctor import examine, official_task, official_tasks

    wanted = tasks or sorted(official_tasks())
    for task in wanted:
        official_task(task)  # an unknown name is found before anything is read

    def of(task: str) -> tuple[str, bool]:
        examination = examine(task, data_root)
        return examination.text(data_root), not examination.problems

    return wanted, of


def _described(
    suite: str, tasks: list[str] | None, data_root: Path, suite_file: Path | None, cache_dir: Path
) -> tuple[list[str], Examine]:
    from skill_bench.base.errors import UnknownName
    from skill_bench.corpora.load import suite_of, tasks_of
    from skill_bench.evaluation.examine import examine

    known = tasks_of(suite, data_root=data_root, suite_file=suite_file)
    for task in tasks or ():
        if task not in known:
            raise UnknownName("task of the suite", task, known)
    if (spec := suite_of(suite, data_root=data_root, suite_file=suite_file)) is not None:
        titled = [f"{suite}: {spec.title}"] if spec.title else []
        for line in (*titled, *(f"not there: {source}" for source in spec.to_get(data_root))):
            typer.echo(filled(line))

    def of(task: str) -> tuple[str, bool]:
        examined = examine(task, suite=suite, data_root=data_root, suite_file=suite_file, cache_dir=cache_dir)
        return examined.text(), examined.problem is None

    return tasks or known, of


@caches.command("list")
def list_caches(cache_dir: CacheDir = None) -> None:
    """List what is kept: a line for each model and policy, the one used last first."""
    from skill_bench.features.stored import caches

    root = _root(cache_dir)
    found = caches(root)
    for cache in found:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(cache.last_used))
        typer.echo(f"{_size(cache.n_bytes)}  {used}  {cache.upstream}  {cache.policy}  {cache.folder.parent.name}")
    typer.echo(f"{_size(sum(cache.n_bytes for cache in found))}  in {counted(len(found), 'cache')} below {root}")


@caches.command("verify")
def verify_caches(cache_dir: CacheDir = None) -> None:
    """Read every number and compare the checksums.

    Damaged shards are removed, so that the next run extracts them again; there were some if the exit code is 1.
    """
    from skill_bench.base.errors import SkillBenchError
    from skill_bench.cli.console import ConsoleProgress
    from skill_bench.features.stored import total_bytes, verify

    root = _root(cache_dir)
    size = total_bytes(root)
    with ConsoleProgress() as progress, progress.stage("bytes verified", total=size) as advance:
        damaged = verify(root, advance=advance)
    if damaged:
        names = "\n".join(f"  {path}" for path in damaged)
        removed = counted(
            len(damaged), "shard was damaged and has been removed", "shards were damaged and have been removed"
        )
        raise SkillBenchError(f"{removed}; the next run extracts what is missing:\n{names}")
    typer.echo(f"{_size(size)} intact")


@caches.command("prune")
def prune_caches(
    cache_dir: CacheDir = None,
    to: Annotated[str | None, typer.Option(help="Remove what was used longest ago until this is left: 20GB.")] = None,
    older_than: Annotated[float | None, typer.Option(help="Remove what was not used for so many days.", min=0)] = None,
    upstream: Annotated[str | None, typer.Option(help="Remove the features of this upstream.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove all features.")] = False,
) -> None:
    """Remove features; a cache in use stays. Whatever is missed is extracted again."""
    from skill_bench.base.errors import UsageError
    from skill_bench.base.unfinished import remove_leftovers
    from skill_bench.features.stored import caches, remove

    if sum(choice is not None for choice in (to, older_than, upstream)) + everything != 1:
        raise UsageError("say what to remove, with one of --to SIZE, --older-than DAYS, --upstream NAME, --all.")
    root = _root(cache_dir)
    found = caches(root)
    if to is not None:
        chosen = _beyond(found, bytes_in(to, option="--to"))
    elif older_than is not None:
        chosen = [cache for cache in found if cache.last_used < time.time() - older_than * 86400]
    else:
        chosen = [cache for cache in found if everything or cache.upstream == upstream]
        if not chosen and upstream is not None:
            names = ", ".join(sorted({cache.upstream for cache in found})) or "none"
            raise UsageError(f"no features of upstream {upstream!r} below {root}. Found: {names}.")
    freed = 0
    for cache in chosen:
        if remove(cache):
            freed += cache.n_bytes
        else:
            typer.echo(f"in use, kept: {cache.upstream}  {cache.policy}")
    remove_leftovers(root)
    typer.echo(f"{_size(freed)} removed, {_size(sum(cache.n_bytes for cache in found) - freed)} left")


def _beyond(found: list[StoredCache], limit_bytes: int) -> list[StoredCache]:
    """What has to go, longest unused first, so that the rest fits the limit."""
    excess = sum(cache.n_bytes for cache in found) - limit_bytes
    chosen = []
    for cache in reversed(found):
        if excess <= 0:
            break
        chosen.append(cache)
        excess -= cache.n_bytes
    return chosen


def _root(cache_dir: Path | None) -> Path:
    from skill_bench.features.stored import root_in

    return root_in(cache_folder(cache_dir))


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:9.3f} GB"


def bench(
    batch_size: Annotated[int, typer.Option(help="Utterances in one batch of extraction.", min=1)] = 4,
    utterance_seconds: Annotated[float, typer.Option(help="Length of each utterance in seconds.", min=0.1)] = 10.0,
    rounds: Annotated[int, typer.Option(help="Timed rounds, after one that warms up.", min=1)] = 3,
    threads: Annotated[int | None, typer.Option(help="CPU threads; torch's choice by default.", min=1)] = None,
    only: Annotated[str | None, typer.Option(help="Some items, as teacher,scale; the others stay as they are.")] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Recorded speech (suite local) for the comparison with s3prl; else demo speech.")
    ] = None,
    hours: Annotated[str, typer.Option(help="Hours of speech that scale extracts, one run each.")] = "0.1,1,3",
    cache_dir: CacheDir = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="All numbers as JSON; default: beside --markdown. Finished items stay in it.", callback=file_to_write
        ),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Also write the page to this file.", callback=file_to_write)
    ] = None,
) -> None:
    """Measure the speed of this machine's skill-bench, in a checkout; about a quarter of an hour on two cores.

    Every item is stored as soon as it is finished; with --only, those measured before are kept.
    """
    folder = catalog.benchmarks()
    import torch

    from skill_bench.cli.console import ConsoleProgress

    sys.path.insert(0, str(folder))
    items = importlib.import_module("speed.items")
    if threads is not None:
        torch.set_num_threads(threads)
    with ConsoleProgress() as progress:
        page = items.measure(
            wanted=names_in(only),
            batch_size=batch_size,
            utterance_seconds=utterance_seconds,
            rounds=rounds,
            hours=hours,
            data_root=data_root,
            cache_dir=cache_folder(cache_dir),
            out=out,
            markdown=markdown,
            progress=progress,
        )
    typer.echo(page)
