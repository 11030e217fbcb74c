"""A number with its noun: "1 thread", "2 threads". The one place that decides between singular and plural."""

from __future__ import annotations


def counted(n: int, one: str, many: str | None = None) -> str:
    """``n`` and what it counts; ``many`` where an ``s`` at the end of ``one`` does not make its plural.

    Whole clauses go through it as well, so that verbs follow: ``counted(n, "file is damaged", "files are damaged")``.
    """
    return f"{n} {one if n == 1 else many or one + 's'}"
