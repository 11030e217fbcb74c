"""What the number of groups and the sparsity are worth: students that are alike in all else, held against SKILL's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skill_bench.report.render.layout import ABSENT
from skill_bench.sweep.report.cells import bullets, difference, estimate, grid
from skill_bench.sweep.report.groups import changes_between
from skill_bench.sweep.report.joint import REFERENCE
from skill_bench.sweep.report.readings import Difference, Kept, Part

_OURS = "SKILL"
_HOW = (
    "Whitened, the mean over layers and corpora; to SKILL at an equal {option}, with intervals as above, not corrected "
    "for the number of cells. {also}"
)
Rows = Mapping[float, Mapping[str, str]]
"""Value of an option -> what kind of student it is -> the row's name."""


def by_number_of_groups(part: Part) -> list[str]:
    """SKILL's groups against those of controls, at each number; empty without SKILL's row."""
    found: dict[float, dict[str, str]] = {}
    for name, row in _by_changes(part):
        n_groups = _options(row, "groups").get("n_groups")
        kind = _kind_of_groups(part.rows[REFERENCE], row)
        if kind is not None and isinstance(n_groups, int):
            found.setdefault(n_groups, {}).setdefault(kind, name)
    also = "All students are alike but for their groups."
    return _table(part, found, heading="### By number of groups", option="number of groups", also=also)


def by_sparsity(part: Part) -> list[str]:
    """SKILL against other recipes, at each sparsity; empty without SKILL's row."""
    found: dict[float, dict[str, str]] = {}
    for name, row in _by_changes(part):
        target = _options(row, "sparsity").get("target")
        if isinstance(target, float) and row.changes.keys() <= {"sparsity.target"}:
            recipe = str(row.recipe.get("name"))
            kind = _OURS if recipe == REFERENCE else part.rows[recipe].title if recipe in part.rows else recipe
            found.setdefault(target, {}).setdefault(kind, name)
    also = "Students of a column are alike but for their sparsity."
    return _table(part, found, heading="### By sparsity", option="sparsity", also=also)


def _by_changes(part: Part) -> list[tuple[str, Kept]]:
    """The rows, recipes themselves first; none where there is nothing to hold them against."""
    return sorted(part.rows.items(), key=lambda item: len(item[1].changes)) if REFERENCE in part.rows else []


def _options(row: Kept, table: str) -> Mapping[str, Any]:
    """A table of the row's recipe; empty where it has none."""
    found = row.recipe.get(table)
    return found if isinstance(found, Mapping) else {}


def _kind_of_groups(reference: Kept, row: Kept) -> str | None:
    """None for students that differ from SKILL's in more than in how many groups there are and who chose them."""
    differs = changes_between(reference.recipe, row.recipe).keys()
    if not row.recipe or any(not key.startswith("groups.") for key in differs) or "groups.include_input" in differs:
        return None
    groups = _options(row, "groups")
    if groups.get("method") == "similarity":
        return _OURS if differs <= {"groups.n_groups"} else None
    if groups.get("method") == "random":
        return "random runs" if groups.get("contiguous") else "random groups"
    return "uniform groups" if groups.get("method") == "uniform" else None


def _table(part: Part, found: Rows, *, heading: str, option: str, also: str) -> list[str]:
    """A row for each value; columns for the kinds of students that have several."""
    kinds = [_OURS, *sorted({kind for own in found.values() for kind in own} - {_OURS})]
    ours = [value for value, own in sorted(found.items()) if _OURS in own]
    if not ours:
        return []
    if len(ours) < 2:
        return [heading, f"SKILL was measured at one {option} alone, {ours[0]:g}: nothing is known of others."]
    others = [kind for kind in kinds[1:] if sum(kind in own for own in found.values()) > 1]
    against = {
        kind: {
            value: part.against(own[_OURS], own[kind]) for value, own in found.items() if {_OURS, kind} <= own.keys()
        }
        for kind in others
    }
    rows = [
        [
            f"{value:g}",
            *(_whitened(part, own.get(kind)) for kind in (_OURS, *others)),
            *(difference(against[kind].get(value), decimals=3) for kind in others),
        ]
        for value, own in sorted(found.items())
    ]
    headings = [option, *(f"{kind} ↑" for kind in (_OURS, *others)), *(f"{kind} to SKILL" for kind in others)]
    said = [f"SKILL beside {kind}: {_decided(against[kind])}." for kind in others]
    return [heading, grid(rows, headings), _HOW.format(option=option, also=also), *([bullets(said)] if said else [])]


def _whitened(part: Part, name: str | None) -> str:
    return ABSENT if name is None else estimate(part.rows[name].whitened(part.corpora), decimals=3)


def _decided(found: Mapping[float, Difference | None]) -> str:
    """``keeps more at 2, 3; not decided at 4``, of SKILL."""
    known = {value: one.interval for value, one in found.items() if one is not None}
    said = {
        "keeps more": [value for value, interval in known.items() if interval.high < 0],
        "keeps less": [value for value, interval in known.items() if interval.low > 0],
        "not decided": [value for value, interval in known.items() if interval.low <= 0 <= interval.high],
    }
    parts = [f"{what} at {', '.join(f'{value:g}' for value in sorted(own))}" for what, own in said.items() if own]
    return "; ".join(parts) or "nothing to compare"
