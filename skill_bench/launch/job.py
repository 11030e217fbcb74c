"""What a job does: one group of cells after the other, as long as there is one that nobody has done or is at."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from skill_bench.base.errors import SkillBenchError
from skill_bench.base.locks import claim
from skill_bench.base.progress import Silent
from skill_bench.evaluation.plan import Plan
from skill_bench.records.record import version

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission

    from skill_bench.evaluation.evaluate import Load

POLL_SECONDS = 2.0
MOST_TRIES = 2
"""Of a group that jobs die over, within one launch: a third job would die too."""
EARLY_SECONDS = 120.0
"""SLURM tells of a job's end up to a minute too early, and a job begins to count up to a minute after SLURM."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """What is done together.

    Attributes:
        name: Of its files in the launch's folder.
        plan: One upstream, some tasks.
        does: All of its cells; only their features; or only the upstream's profile.
        after: Names of groups that are done first.
        on_gpu: Whether its job has the GPUs that jobs have.
        records: Places of its cells' records.
    """

    name: str
    plan: Plan
    does: Literal["cells", "features", "profile"] = "cells"
    after: tuple[str, ...] = ()
    on_gpu: bool = True
    records: tuple[Path, ...] = ()

    def written(self) -> list[tuple[int, int] | None]:
        """Another one whenever a record of its cells is written."""
        return [version(path) for path in self.records]


class Said(Silent):
    """Notes as lines of the job's log."""

    def note(self, text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


@dataclass(kw_only=True)
class Job:
    """Called by submitit, in the job's own process.

    Attributes:
        groups: Several where jobs share them: whoever is free takes the next, and what another one has died over.
        folder: Of the launch.
        load: As `skill_bench.evaluation.evaluate.evaluate` takes it.
        seconds: After which the job is told that its time is over.
        n_threads: None: as many as SLURM gives it cores.
        n_threads_alone: While nothing else runs: when a profile is measured. None: the same.
        command: The user's, for records.
    """

    groups: tuple[Group, ...]
    folder: Path
    load: Load | None
    seconds: float
    n_threads: int | None
    n_threads_alone: int | None
    command: tuple[str, ...]

    def __post_init__(self) -> None:
        self._failed: dict[str, str] = {}
        self._began = time.monotonic()
        self._tried: list[tuple[Group, list[tuple[int, int] | None]]] = []

    def __call__(self) -> None:
        """Does what is there to do.

        Raises:
            SkillBenchError: something of it could not be done; the log says why.
        """
        import torch

        # Shells start what runs in their background with this signal ignored, and children inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        torch.set_num_threads(self.n_threads or int(os.environ.get("SLURM_CPUS_ON_NODE", "1")))
        sys.argv[:] = self.command
        self._began = time.monotonic()
        for device in dict.fromkeys(group.plan.device for group in self.groups):
            _require_device(device)  # before it takes a group that others can do
        while todo := [group for group in self.groups if not self._is_over(group)]:
            ready = [group for group in todo if not any(self._waits_for(name) for name in group.after)]
            if not any(self._try(group) for group in ready):
                time.sleep(POLL_SECONDS)
        if self._failed:
            raise SkillBenchError("\n".join(f"{name}: {error}" for name, error in self._failed.items()))

    def checkpoint(self) -> DelayedSubmission | None:
        """What is to be started when the job is out of time, or has to leave; None where it would not come further."""
        from submitit.helpers import DelayedSubmission

        taken = time.monotonic() - self._began
        is_out_of_time = taken > self.seconds - EARLY_SECONDS
        if is_out_of_time and all(group.written() == before for group, before in self._tried):
            Said().note(f"no cell was finished in {taken:.0f} s: not started again. Give it more --time.")
            return None
        for group in self.groups:
            self._file(group.name, "tried").unlink(missing_ok=True)  # it has not died over any
        return DelayedSubmission(Job(**{name: getattr(self, name) for name in self.__dataclass_fields__}))

    def _file(self, name: str, what: str) -> Path:
        return self.folder / f"{name}.{what}"

    def _is_over(self, group: Group) -> bool:
        tried = self._file(group.name, "tried")
        # A group that no other job has comes back with its job alone, which SLURM starts again for its own reasons.
        given_up = len(self.groups) > 1 and tried.exists() and tried.stat().st_size >= MOST_TRIES
        return given_up or group.name in self._failed or self._file(group.name, "done").exists()

    def _waits_for(self, name: str) -> bool:
        return any(group.name == name and not self._is_over(group) for group in self.groups)

    def _try(self, group: Group) -> bool:
        """Does the group, unless another job is at it."""
        with claim(self._file(group.name, "claim")) as mine:
            if not mine or self._is_over(group):
                return False
            with self._file(group.name, "tried").open("a") as tried:
                tried.write(".")
            self._tried.append((group, group.written()))
            try:
                self._do(group)
            except Exception as error:  # the other groups are none the worse for it
                traceback.print_exc()
                self._failed[group.name] = str(error)
            else:
                self._file(group.name, "done").touch()
            return True

    def _do(self, group: Group) -> None:
        import torch

        from skill_bench.evaluation.evaluate import evaluate, extract_features

        progress = Said()
        progress.note(f"{group.name}: {group.does} of {group.plan.upstreams[0].name}, {', '.join(group.plan.tasks)}")
        if group.does == "profile":
            torch.set_num_threads(self.n_threads_alone or torch.get_num_threads())
        if group.does == "features":
            return extract_features(group.plan, load=self.load, progress=progress)
        outcome = evaluate(group.plan, load=self.load, progress=progress, wait=False)
        whole = [failure.error for failure in outcome.failures if failure.task is None]
        if whole:  # no cell has a record that says so
            raise SkillBenchError("; ".join(whole))


def _require_device(device: str) -> None:
    import torch

    if device != "cpu" and not torch.cuda.is_available():
        raise SkillBenchError(f"{device}: torch sees no GPU in this job. Check --gpus-per-job and the partition.")
