"""Jobs from their submission to their end, and again for the cells that were lost with one."""

from __future__ import annotations

import re
import shlex
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from skill_bench.base.counted import counted
from skill_bench.base.errors import SkillBenchError, first_few
from skill_bench.base.progress import Advance, Progress
from skill_bench.base.provenance import now
from skill_bench.evaluation.cell_record import FailedCell
from skill_bench.evaluation.cells import Outcome
from skill_bench.evaluation.evaluate import Load
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from skill_bench.launch.engine import Jobs
from skill_bench.launch.job import Group, Job
from skill_bench.launch.journal import FILE, FOLDER, Launched, LaunchedJob, is_held, last_words, launched_cell
from skill_bench.launch.options import LaunchOptions
from skill_bench.launch.share import Missing, share

POLL_SECONDS = 2.0
HOPE_SECONDS = 60.0
"""How often is asked, while nothing runs, whether anything ever will."""
MOST_ROUNDS = 2
"""In which no cell was finished; then what is lost stays lost."""


@dataclass(kw_only=True)
class Follower:
    """One launch.

    Args:
        plan: With absolute paths.
        options: Of the jobs.
        jobs: Who runs them.
        seconds: See `share`.
        load: See `Job`.
        progress: Receives one stage, in cells.
    """

    plan: Plan
    options: LaunchOptions
    jobs: Jobs
    seconds: Mapping[tuple[int, str], float]
    load: Load | None
    progress: Progress

    def run(self, missing: list[Missing], unmeasured: Sequence[UpstreamRequest], outcome: Outcome) -> None:
        """Round after round, until no cell is missing or nothing comes of those that are."""
        self._open(missing)
        if self.options.detach:
            self._submit(missing, unmeasured, number=0)
            return
        fruitless = number = 0
        with self.progress.stage("cells", total=len(missing)) as advance:
            while missing or unmeasured:
                n_before = len(missing)
                submitted = self._submit(missing, unmeasured, number=number)
                with self._interruptible(submitted):
                    missing = self._until_they_end(submitted, missing, outcome, advance)
                    missing = self._until_others_end(missing, outcome, advance)
                fruitless, number, unmeasured = fruitless + (len(missing) == n_before), number + 1, []
                if missing and fruitless == MOST_ROUNDS:
                    break
                if missing:
                    lost = ("cell was lost with its job, and is", "cells were lost with their jobs, and are")
                    self.progress.note(f"{counted(len(missing), *lost)} run again")
        for one in missing:
            outcome.failed(self._lost(one), self.progress)

    def _open(self, missing: Sequence[Missing]) -> None:
        above = self.plan.out_dir / FOLDER
        above.mkdir(parents=True, exist_ok=True)
        number = 0
        while True:
            self.folder = above / f"{time.strftime('%Y%m%d-%H%M%S')}{f'-{number}' if number else ''}"
            try:
                self.folder.mkdir()
                break
            except FileExistsError:  # another launcher, in the same second
                number += 1
        self.journal = Launched(
            launcher=self.options.launcher,
            host=socket.gethostname(),
            command=tuple(sys.argv),
            started_at=now(),
            max_jobs=self.options.max_jobs,
            cells=tuple(
                launched_cell(one.cell, seconds=self.seconds.get((one.upstream, one.cell.key.task))) for one in missing
            ),
        )

    def _submit(
        self, missing: Sequence[Missing], unmeasured: Sequence[UpstreamRequest], *, number: int
    ) -> list[LaunchedJob]:
        groups = share(
            missing, unmeasured, plan=self.plan, options=self.options, seconds=self.seconds, alone=number > 0,
            prefix=f"{number}-",
        )  # fmt: skip
        found = self._all_share(groups) if self.jobs.shares_groups else self._one_each(groups)
        self.journal = self.journal.model_copy(update={"jobs": (*self.journal.jobs, *found)})
        self.journal.write(self.folder / FILE)
        self.progress.note(
            f"{counted(len(found), 'job')} for {counted(len(missing), 'cell')}: {first_few(job.id for job in found)}; "
            f"logs in {self.folder}"
        )
        return found

    def _all_share(self, groups: Sequence[Group]) -> list[LaunchedJob]:
        n = min(self.options.max_jobs, len(groups))
        # A profile is what this process would have measured.
        threads = {"n_threads": self.options.local_threads, "n_threads_alone": torch.get_num_threads()}
        jobs = [self._job(groups, **threads) for _ in range(n)]
        ids = self.jobs.submit(jobs, folder=self.folder, on_gpu=True, after=())
        return [self._launched(job_id, groups) for job_id in ids]

    def _one_each(self, groups: Sequence[Group]) -> list[LaunchedJob]:
        found: dict[str, LaunchedJob] = {}
        for after, on_gpu in dict.fromkeys((group.after, group.on_gpu) for group in groups):
            some = [group for group in groups if (group.after, group.on_gpu) == (after, on_gpu)]
            jobs = [self._job([replace(group, after=())], n_threads=self.options.cpus_per_job) for group in some]
            earlier = [found[name].id for name in after]
            ids = self.jobs.submit(jobs, folder=self.folder, on_gpu=on_gpu, after=earlier)
            found |= {group.name: self._launched(job_id, [group]) for job_id, group in zip(ids, some, strict=True)}
        return list(found.values())

    def _job(self, groups: Sequence[Group], *, n_threads: int | None, n_threads_alone: int | None = None) -> Job:
        return Job(
            groups=tuple(groups),
            folder=self.folder,
            load=self.load,
            seconds=self.options.seconds - self.options.warning_seconds,
            n_threads=n_threads,
            n_threads_alone=n_threads_alone,
            command=tuple(sys.argv),
        )

    def _launched(self, job_id: str, groups: Sequence[Group]) -> LaunchedJob:
        logs = tuple(f"{job_id}_0_log.{kind}" for kind in ("out", "err"))
        return LaunchedJob(id=job_id, groups=tuple(group.name for group in groups), logs=logs)

    @contextmanager
    def _interruptible(self, submitted: Sequence[LaunchedJob]) -> Iterator[None]:
        ids = [job.id for job in submitted]
        try:
            yield
        except KeyboardInterrupt:
            if self.options.on_interrupt == "cancel":
                self.jobs.cancel(ids)
                self.progress.note(f"{counted(len(ids), 'job is', 'jobs are')} cancelled")
            else:
                out = shlex.quote(str(self.plan.out_dir))
                self.progress.note(
                    f"the jobs go on: skill-bench status --out {out} says how far they are, and "
                    f"`{self.jobs.how_to_cancel(ids)}` cancels them"
                )
            raise

    def _until_they_end(
        self, submitted: Sequence[LaunchedJob], missing: list[Missing], outcome: Outcome, advance: Advance
    ) -> list[Missing]:
        asked = time.monotonic()
        while True:
            states = self.jobs.states([job.id for job in submitted])  # first, so that all that was written is seen
            missing = self._still_missing(missing, outcome, advance)
            if not states:
                return missing
            if "running" in states.values():
                asked = time.monotonic()
            elif time.monotonic() - asked > HOPE_SECONDS:
                self.jobs.require_hope()
                asked = time.monotonic()
            time.sleep(POLL_SECONDS)

    def _until_others_end(self, missing: list[Missing], outcome: Outcome, advance: Advance) -> list[Missing]:
        """Cells that other launches or commands are at."""
        told = False
        while any(is_held(one.cell.claim) for one in missing):
            if not told:
                self.progress.note("waiting for cells that other processes are at")
                told = True
            time.sleep(POLL_SECONDS)
            missing = self._still_missing(missing, outcome, advance)
        return self._still_missing(missing, outcome, advance)

    def _still_missing(self, missing: Sequence[Missing], outcome: Outcome, advance: Advance) -> list[Missing]:
        left = []
        for one in missing:
            try:
                found = one.cell.has_changed and outcome.take_in(one.cell, self.progress)
            except (SkillBenchError, OSError) as error:
                outcome.failed(one.cell.failed(error), self.progress)
                found = True
            if found:
                advance(1)
            else:
                left.append(one)
        return left

    def _lost(self, one: Missing) -> FailedCell:
        """A cell without a record: the last words of the last job that was at its task say why, if anything does."""
        key, last = one.cell.key, self.journal.jobs[-1]
        begun = re.compile(rf" of {re.escape(self.plan.upstreams[one.upstream].name)}, .*\b{re.escape(key.task)}\b")
        for job in self.journal.jobs:
            out = self.folder / job.logs[0]
            if out.exists() and begun.search(out.read_text("utf-8", "replace")):
                last = job
        words = last_words(self.folder / log for log in last.logs)
        return FailedCell(
            upstream=key.upstream, task=key.task, seed=key.seed, error=f"its jobs ended before it was finished. {words}"
        )
