"""What a run left behind: records, and the cells without one."""

from __future__ import annotations

from dataclasses import dataclass, field

from skill_bench.base.progress import Progress
from skill_bench.evaluation.cell_record import CellRecord, FailedCell
from skill_bench.records.record import Record


@dataclass(kw_only=True)
class Outcome:
    """What a run left behind.

    Attributes:
        records: Finished records, measured now or found.
        n_skipped: How many of them were there before.
        failures: Cells without a result.
    """

    records: list[Record] = field(default_factory=list)
    n_skipped: int = 0
    failures: list[FailedCell] = field(default_factory=list)

    def failed(self, failure: FailedCell, progress: Progress) -> None:
        """Takes a failure in, and says so."""
        self.failures.append(failure)
        progress.note(f"failed: {failure.name}: {failure.error}")

    def take_in(self, cell: CellRecord, progress: Progress) -> bool:
        """Takes in what there is of a cell: its record, or what another process has just failed at; False for nothing.

        Raises:
            RecordError: a file is there that cannot be trusted.
        """
        record = cell.finished()
        if record is not None:
            self.records.append(record)
            self.n_skipped += not cell.has_changed
            return True
        failure = cell.failed_meanwhile()
        if failure is not None:
            self.failed(failure, progress)
        return failure is not None
