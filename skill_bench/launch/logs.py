"""What a job last said."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

FEW_LINES = 8
_MOST_BYTES = 2**14


def end_of(log: Path, *, n_lines: int = FEW_LINES) -> list[str]:
    """The last lines of a log; none where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _MOST_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-n_lines:]


def last_words(logs: Iterable[Path]) -> str:
    """The ends of a job's logs, with their names; a sentence where they are empty."""
    found = [(log, end) for log in logs if (end := end_of(log))]
    if not found:
        return "it left no log"
    return "\n".join("\n".join([f"{log} ends:", *(f"  {line}" for line in end)]) for log, end in found)
