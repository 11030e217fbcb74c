"""The cells of one upstream with one task: found, run, or left to the process that is at them; none is run twice.

What a run left behind is its outcome: records, and the cells without one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace

from skill_bench.base.counted import counted
from skill_bench.base.errors import SkillBenchError
from skill_bench.base.locks import claim
from skill_bench.base.progress import Advance, Progress
from skill_bench.base.provenance import now
from skill_bench.evaluation.cell_record import CellRecord, FailedCell
from skill_bench.evaluation.cell_result import CellResult
from skill_bench.records.record import Record

POLL_SECONDS = 2.0
"""How often is looked whether another process has finished, or died over, what it had claimed."""


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


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Cells that run together.

    Attributes:
        cells: One a seed.
        results: Runs those of some seeds, as `skill_bench.evaluation.cell_result.run_cells`.
    """

    cells: Sequence[CellRecord]
    results: Callable[[tuple[int, ...]], Generator[CellResult]]

    def run(self, outcome: Outcome, *, progress: Progress, advance: Advance) -> Cells:
        """Runs what is missing and nobody else is at; whatever happens is in ``outcome`` and on disk.

        Returns:
            Those that other processes are at.
        """
        held, missing = [], []
        with ExitStack() as claims:
            for cell in self.cells:
                try:
                    over = outcome.take_in(cell, progress)
                    if not over and not claims.enter_context(claim(cell.claim)):
                        held.append(cell)
                        continue
                    # Finished in the moment between, by whoever had it.
                    over = over or outcome.take_in(cell, progress)
                except (SkillBenchError, OSError) as error:
                    outcome.failed(cell.failed(error), progress)
                    over = True
                if over:
                    advance(1)
                else:
                    missing.append(cell)
            self._run(missing, outcome, progress=progress, advance=advance)
        return replace(self, cells=held)

    def _run(self, cells: Sequence[CellRecord], outcome: Outcome, *, progress: Progress, advance: Advance) -> None:
        started_at = now()
        stopped: Exception | None = None
        # Closed at once: it computes with a number of threads that is its own.
        with closing(self.results(tuple(cell.key.seed for cell in cells))) as results:
            for cell in cells:
                cell.started_at = started_at
                try:
                    if stopped is not None:
                        raise stopped
                    try:
                        result = next(results)
                    except Exception as error:  # what stops the computation stops it for the seeds still to come
                        stopped = error
                        raise
                    outcome.records.append(cell.save(result))
                except Exception as error:  # one cell's failure must not take the others with it
                    outcome.failed(cell.failed(error), progress)
                advance(1)


def wait_for(held: Sequence[Cells], outcome: Outcome, *, progress: Progress, advance: Advance) -> None:
    """Until other processes have finished these cells; what one of them has died over is run here."""
    n = sum(len(group.cells) for group in held)
    if n:
        progress.note(f"waiting for {counted(n, 'cell')} that other processes are at")
    while held:
        held = [left for group in held if (left := group.run(outcome, progress=progress, advance=advance)).cells]
        if held:
            time.sleep(POLL_SECONDS)
