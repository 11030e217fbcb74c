"""What a number of a whole system is, be it a score over tasks or a cost, and from what it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from skill_bench.records.profile import Profile
from skill_bench.records.record import System


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that is known of one system.

    Attributes:
        values: By column name: a published table's numbers; a measured system's metrics on SUPERB's own corpora.
        system: As the newest record says; None for a published system.
        profile: The newest of exactly this model, if there is one.
        fidelity: Mean share of its teacher that this model keeps, if it was measured.
    """

    values: Mapping[str, float | None] = field(default_factory=dict)
    system: System | None = None
    profile: Profile | None = None
    fidelity: float | None = None


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One number of a system.

    Attributes:
        name: Of its column in the CSV file; a cost's ends in the unit.
        title, unit: What its heading says, the unit last.
        decimals: As printed; None for what stands in the CSV file only, in full precision.
        better: Which direction is better.
        kind: Scores stand behind the tasks and their best is marked; costs follow.
        of: Its value for a system, None if that is not known; left out for what only a whole section or a published
            table tells.
        may_be_published: Whether a published table may state it.
        description: A sentence for the page.
        axis: Its name on the axis of a figure; there is a figure against each cost that has one.
    """

    name: str
    title: str
    unit: str = ""
    decimals: int | None = None
    better: Literal["higher", "lower"]
    kind: Literal["score", "cost"]
    of: Callable[[Facts], float | None] | None = None
    may_be_published: bool = False
    description: str | None = None
    axis: str | None = None

    @property
    def heading(self) -> str:
        """For example ``peak MiB``."""
        return f"{self.title} {self.unit}".rstrip()

    def read(self, facts: Facts) -> float | None:
        """What a published table states, else what the records and the profile give."""
        stated = facts.values.get(self.name)
        return self.of(facts) if stated is None and self.of is not None else stated

    def text(self, value: float | None, *, absent: str) -> str:
        """The value with its decimals, or ``absent``."""
        return absent if value is None else f"{value:.{self.decimals or 0}f}"
