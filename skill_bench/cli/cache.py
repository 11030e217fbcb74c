"""``skill-bench cache``: what features are kept, whether they are intact, and how to get rid of them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skill_bench.base.counted import counted
from skill_bench.base.places import cache_folder
from skill_bench.cli.help_groups import commands
from skill_bench.cli.options import CacheDir, bytes_in

if TYPE_CHECKING:
    from skill_bench.features.stored import StoredCache

app = commands("List, verify or prune the features that are kept on disk.")


@app.command("list")
def list_caches(cache_dir: CacheDir = None) -> None:
    """List what is kept: a line for each model and policy, the one used last first."""
    from skill_bench.features.stored import caches

    root = _root(cache_dir)
    found = caches(root)
    for cache in found:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(cache.last_used))
        typer.echo(f"{_size(cache.n_bytes)}  {used}  {cache.upstream}  {cache.policy}  {cache.folder.parent.name}")
    typer.echo(f"{_size(sum(cache.n_bytes for cache in found))}  in {counted(len(found), 'cache')} below {root}")


@app.command("verify")
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


@app.command("prune")
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
    return cache_folder(cache_dir) / "features"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:9.3f} GB"
