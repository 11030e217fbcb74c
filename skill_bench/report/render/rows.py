"""Rows as charts know them: by a number, never by their title, which several may share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from skill_bench.report.render.figure_files import ROLES, Row, words
from skill_bench.report.table.table import Section, SystemRow


@dataclass(frozen=True, kw_only=True)
class Named:
    """A row with its number among all rows of the table, and a label that no other row of its section has."""

    number: int
    label: str
    row: SystemRow

    @property
    def identity(self) -> Row:
        """What every point of a chart says of its row."""
        return {"row": self.number, "label": self.label, "role": role_of(self.row), "source": self.row.source}


def role_of(row: SystemRow) -> str:
    """What a system is in the comparison."""
    return row.kind if row.kind in ROLES else "other"


def named(section: Section, *, first: int = 0) -> list[Named]:
    """The section's rows in their order; ``first`` is the number of the first one."""
    labels = _told_apart([(row.title, f"{row.title} ({row.origin})") for row in section.rows])
    return [
        Named(number=first + place, label=words(label), row=row)
        for place, (label, row) in enumerate(zip(labels, section.rows, strict=True))
    ]


def _told_apart(names: Sequence[tuple[str, str]]) -> list[str]:
    """The short name where it is the only one, else the long one, with a number where even that is shared."""
    short, long = (Counter(one) for one in zip(*names, strict=True)) if names else (Counter(), Counter())
    seen: Counter[str] = Counter()
    found = []
    for brief, whole in names:
        label = brief if short[brief] == 1 else whole
        seen[label] += 1
        found.append(f"{label} #{seen[label]}" if long[whole] > 1 else label)
    return found
