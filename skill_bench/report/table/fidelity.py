"""Which measurements of fidelity belong to a system, and whether their mean may stand beside those of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from skill_bench.records.fidelity import Fidelity


@dataclass(frozen=True, kw_only=True)
class OwnFidelity:
    """Attributes:
    found: The newest document of each corpus, by the corpus's name.
    note: Why there is no mean, if there is none.
    """

    found: tuple[Fidelity, ...] = ()
    note: str | None = None

    @property
    def mean(self) -> float | None:
        """Whitened R2 over layers and corpora; None unless it is of every corpus."""
        if not self.found or self.note is not None:
            return None
        return fmean(one.readings[0].whitened.value for one in self.found)


def fidelity_of(identity: str, documents: Sequence[Fidelity]) -> OwnFidelity:
    """Of the model ``identity``, beside the teacher of its newest document.

    Corpora are not equally hard, so that only a system that was measured on all on which students of this teacher were
    measured has a mean.
    """
    own = sorted((d for d in documents if d.student.identity == identity), key=lambda d: d.provenance.started_at)
    if not own:
        return OwnFidelity()
    teacher = own[-1].teacher.identity
    newest = {d.data_fingerprint: d for d in own if d.teacher.identity == teacher}
    corpora = {d.data_fingerprint: d.corpus for d in documents if d.teacher.identity == teacher}
    missing = sorted(name for fingerprint, name in corpora.items() if fingerprint not in newest)
    return OwnFidelity(
        found=tuple(sorted(newest.values(), key=lambda d: (d.corpus, d.data_fingerprint))),
        note=f"no mean fidelity: not measured on {', '.join(missing)}" if missing else None,
    )
