"""What the number of groups and the sparsity are worth: students that are alike in all else, held against SKILL's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from skill_bench.report.render.layout import ABSENT
from skill_bench.report.statistics.interval import LEVEL
from skill_bench.report.statistics.paired import Overall, holm_by_name
from skill_bench.sweep.report.cells import bullets, difference, estimate, grid
from skill_bench.sweep.report.groups import Estimate, Recipe, changes_between
from skill_bench.sweep.report.readings import Difference

REFERENCE = "skill"
"""The row that all others are held against."""
_OURS, _EVERY_LAYER = "SKILL", "every layer"
_HOW = (
    "{what}; to SKILL at an equal {option}, with intervals as above, each for its own cell; what is said in words is "
    "after Holm for all cells of the table. {also}"
)
Rows = Mapping[float, Mapping[str, str]]
"""Value of an option -> what kind of student it is -> the row's name."""


class Row(Protocol):
    """A recipe's students, see `skill_bench.sweep.report.readings.Kept` and `skill_bench.sweep.report.groups.Group`."""

    @property
    def title(self) -> str:
        """Of the students."""

    @property
    def recipe(self) -> Recipe:
        """Theirs, without seeds."""

    @property
    def changes(self) -> Mapping[str, tuple[Any, Any]]:
        """From the recipe that it is a variant of."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """By what students are held against each other.

    Attributes:
        what: Its name, as a sentence begins.
        rows: By name.
        estimate: Of a row.
        against: The second row minus the first.
        decimals: Of both.
        verb: ``keeps``, of which there is more or less.
        n_states: Hidden states of the teacher: so many groups are every layer for itself, whoever chooses them.
    """

    what: str
    rows: Mapping[str, Row]
    estimate: Callable[[str], Estimate | None]
    against: Callable[[str, str], Difference | Overall | None]
    decimals: int
    verb: str
    n_states: int | None = None


def by_number_of_groups(measure: Measure) -> list[str]:
    """SKILL's groups against those of controls, at each number; empty without SKILL's row."""
    found: dict[float, dict[str, str]] = {}
    for name, row in _by_changes(measure):
        n_groups = _options(row, "groups").get("n_groups")
        kind = _kind_of_groups(measure.rows[REFERENCE], row)
        if kind is not None and isinstance(n_groups, int):
            kind = _EVERY_LAYER if n_groups == measure.n_states and kind != _OURS else kind
            found.setdefault(n_groups, {}).setdefault(kind, name)
    also = "All students are alike but for their groups."
    return _table(measure, found, heading="### By number of groups", option="number of groups", also=also)


def by_sparsity(measure: Measure) -> list[str]:
    """SKILL against other recipes, at each sparsity; empty without SKILL's row."""
    found: dict[float, dict[str, str]] = {}
    for name, row in _by_changes(measure):
        target = _options(row, "sparsity").get("target")
        if isinstance(target, float) and row.changes.keys() <= {"sparsity.target"}:
            recipe = str(row.recipe.get("name"))
            kind = _OURS if recipe == REFERENCE else measure.rows[recipe].title if recipe in measure.rows else recipe
            found.setdefault(target, {}).setdefault(kind, name)
    also = "Students of a column are alike but for their sparsity."
    return _table(measure, found, heading="### By sparsity", option="sparsity", also=also)


def _by_changes(measure: Measure) -> list[tuple[str, Row]]:
    """The rows, recipes themselves first; none where there is nothing to hold them against."""
    rows = measure.rows
    return sorted(rows.items(), key=lambda item: len(item[1].changes)) if REFERENCE in rows else []


def _options(row: Row, table: str) -> Mapping[str, Any]:
    """A table of the row's recipe; empty where it has none."""
    found = row.recipe.get(table)
    return found if isinstance(found, Mapping) else {}


def _kind_of_groups(reference: Row, row: Row) -> str | None:
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


def _table(measure: Measure, found: Rows, *, heading: str, option: str, also: str) -> list[str]:
    """A row for each value; columns for the kinds of students that have several; then what the tests say."""
    kinds = [_OURS, *sorted({kind for own in found.values() for kind in own} - {_OURS})]
    ours = [value for value, own in sorted(found.items()) if _OURS in own]
    if not ours:
        return []
    if len(ours) < 2:
        return [heading, f"SKILL was measured at one {option} alone, {ours[0]:g}: nothing is known of others."]
    others = [kind for kind in kinds[1:] if sum(kind in own for own in found.values()) > 1]
    against = {
        (kind, value): one
        for kind in others
        for value, own in found.items()
        if {_OURS, kind} <= own.keys() and (one := measure.against(own[_OURS], own[kind])) is not None
    }
    each = {value: own[_EVERY_LAYER] for value, own in found.items() if _EVERY_LAYER in own}
    against |= {
        (_EVERY_LAYER, value): one
        for value, name in each.items()
        if (one := measure.against(REFERENCE, name)) is not None
    }
    rows = [
        [
            f"{value:g}",
            *(_estimate(measure, own.get(kind)) for kind in (_OURS, *others)),
            *(difference(against.get((kind, value)), decimals=measure.decimals) for kind in others),
        ]
        for value, own in sorted(found.items())
        if own.keys() & {_OURS, *others}
    ]
    headings = [option, *(f"{kind} ↑" for kind in (_OURS, *others)), *(f"{kind} to SKILL" for kind in others)]
    signs = _signs(against)
    said = [f"SKILL beside {kind}: {_decided(measure, kind, signs)}." for kind in others]
    for value, name in each.items():
        if (one := against.get((_EVERY_LAYER, value))) is not None:
            own = _options(measure.rows[REFERENCE], "groups").get("n_groups")
            text = f"{_estimate(measure, name)}, to SKILL's {own} {difference(one, decimals=measure.decimals)}"
            ways = {0: "not decided", 1: f"{measure.verb} more", -1: f"{measure.verb} less"}
            said.append(f"Every layer for itself, {value:g} groups: {text}: {ways[signs[_EVERY_LAYER, value]]}.")
    how = _HOW.format(what=measure.what, option=option, also=also)
    return [heading, grid(rows, headings), how, *([bullets(said)] if said else [])]


def _estimate(measure: Measure, name: str | None) -> str:
    return ABSENT if name is None else estimate(measure.estimate(name), decimals=measure.decimals)


def _signs(found: Mapping[tuple[str, float], Difference | Overall]) -> dict[tuple[str, float], int]:
    """1 and -1 where there is more and less than SKILL's, after Holm for all of ``found``; 0 where nobody knows."""
    adjusted = holm_by_name({cell: one.p_value for cell, one in found.items()})
    return {
        cell: 0 if adjusted.get(cell, 1.0) >= 1 - LEVEL else 1 if one.difference > 0 else -1
        for cell, one in found.items()
    }


def _decided(measure: Measure, kind: str, signs: Mapping[tuple[str, float], int]) -> str:
    """``keeps more at 2, 3; not decided at 4``, of SKILL."""
    own = {value: sign for (of, value), sign in sorted(signs.items()) if of == kind}
    ways = {-1: f"{measure.verb} more", 1: f"{measure.verb} less", 0: "not decided"}
    parts = [
        f"{what} at {', '.join(f'{value:g}' for value, of in own.items() if of == sign)}"
        for sign, what in ways.items()
        if sign in own.values()
    ]
    return "; ".join(parts) or "nothing to compare"
