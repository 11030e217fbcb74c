"""Students that could not be made, or not held against their teacher: why, one JSON each, until it works.

``failed/NAME-STEP.json`` below the folder of records.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from skill_bench.base.archive import files
from skill_bench.base.documents import Document
from skill_bench.base.errors import RecordError
from skill_bench.base.provenance import Provenance
from skill_bench.records.record import safe_name
from skill_bench.report.table.collect import Collection

FOLDER = "failed"
Step = Literal["distillation", "fidelity"]


class Failed(Document):
    """What a step ended with for the student of a row and a distillation seed."""

    kind: Literal["failed_student"] = "failed_student"
    row: str
    seed: int
    step: Step
    reason: str
    provenance: Provenance

    def path(self, records: Path) -> Path:
        """The document's place below the folder of records."""
        return failed_path(records, row=self.row, seed=self.seed, step=self.step)


def failed_path(records: Path, *, row: str, seed: int, step: Step) -> Path:
    """Where it is said that a step failed."""
    return records / FOLDER / f"{safe_name(f'{row}-s{seed}')}-{step}.json"


def read_failed(records: Path) -> tuple[list[Failed], list[str]]:
    """All in a folder or archive of records, and a problem for each file that cannot be trusted.

    Raises:
        RecordError: an archive cannot be trusted.
    """
    found, problems = [], []
    for name, path in files(records, depth=2).items():
        if name.startswith(f"{FOLDER}/") and path.suffix == ".json":
            try:
                found.append(Failed.read(path))
            except RecordError as error:
                problems.append(str(error))
    return found, problems


def still_failing(failed: Sequence[Failed], collection: Collection) -> list[Failed]:
    """Without the steps that went well since: what is packed in an archive stays in it."""
    measured = [(one.student, one.provenance) for one in collection.fidelity]
    recorded = [*measured, *((one.system, one.provenance) for one in collection.records)]
    succeeded = [
        (step, system.details.get("evidence_row"), system.details.get("distillation_seed"), provenance.started_at)
        for step, own in (("fidelity", measured), ("distillation", recorded))
        for system, provenance in own
    ]
    return [
        one
        for one in failed
        if not any(
            (step, row, seed) == (one.step, one.row, one.seed) and at > one.provenance.started_at
            for step, row, seed, at in succeeded
        )
    ]
