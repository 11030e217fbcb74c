"""A small evaluation that jobs in processes of their own can do: data, quick tasks, and gates that hold a cell up."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fake_speech import FakeUpstream

from skill_bench.base.errors import CheckpointError, DataError
from skill_bench.base.progress import Silent
from skill_bench.corpora.data import TaskData
from skill_bench.evaluation import evaluate as module
from skill_bench.evaluation.cell_result import CellResult, run_cells
from skill_bench.evaluation.plan import UpstreamRequest
from skill_bench.evaluation.task_files import load_task
from skill_bench.records.record import System
from skill_bench.tasks import TaskSpec


class Evaluated(FakeUpstream):
    """A fake upstream of some name."""

    def __init__(self, name: str) -> None:
        super().__init__(identity=name)
        self.name = name

    def system(self) -> System:
        return System(name=self.name, title="Fake", kind="control", identity=self.identity)


@dataclass(frozen=True)
class World:
    """What `in_jobs` takes as ``load``. Where it arrives in a job, data and tasks are the small ones there too.

    A file ``shut-TASK`` in ``folder`` holds cells of that task up, ``fail-TASK`` makes them fail; ``begun`` has a line
    for each cell that was begun. An upstream called "lame" fails in jobs alone.
    """

    folder: Path
    data: Mapping[str, TaskData]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.install(lambda name, value: setattr(module, name, value))

    def __call__(self, request: UpstreamRequest) -> Evaluated:
        if request.name == "lame" and "SUBMITIT_EXECUTOR" in os.environ:
            raise CheckpointError("lame.safetensors: is not on this machine")
        return Evaluated(request.name)

    def install(self, replace: Callable[[str, object], None]) -> None:
        """In place of what the evaluation has."""
        replace("load_task_data", lambda suite, task, **_: self.data[task])
        replace("load_task", quick)
        replace("run_cells", self._run_cells)

    def _run_cells(
        self, upstream: FakeUpstream, task: TaskSpec, data: TaskData, *, seeds: tuple[int, ...], **options: Any
    ) -> Iterator[CellResult]:
        for seed in seeds:
            line = f"{upstream.name} {task.name} {seed} {os.getpid()}\n"
            descriptor = os.open(self.folder / "begun", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(descriptor, line.encode())
            os.close(descriptor)
            while (self.folder / f"shut-{task.name}").exists():
                time.sleep(0.05)
            if (self.folder / f"fail-{task.name}").exists():
                raise DataError("nothing came of it")
            yield from run_cells(upstream, task, data, seeds=(seed,), **options)

    def shut(self, task: str) -> None:
        """Holds its cells up."""
        (self.folder / f"shut-{task}").touch()

    def open(self, task: str) -> None:
        """Lets them go on."""
        (self.folder / f"shut-{task}").unlink()

    def begun(self) -> list[tuple[str, str, str, int]]:
        """Upstream, task, seed and process of every cell that anybody has begun."""
        path = self.folder / "begun"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(upstream, task, seed, int(pid)) for upstream, task, seed, pid in map(str.split, lines)]

    def wait_for(self, task: str, *, times: int = 1) -> int:
        """Until a cell of it was begun so often; returns the process of the last."""
        until(lambda: len([line for line in self.begun() if line[1] == task]) >= times)
        return [line for line in self.begun() if line[1] == task][-1][3]


class Heard(Silent):
    """Notes, as they come."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def until(condition: Callable[[], object]) -> None:
    """Waits for something that happens within seconds on a quiet machine; a test that fails does not wait for ever."""
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.05)


def quick(name: str) -> TaskSpec:
    task = load_task(name)
    settings = {"steps": 4, "evaluate_every_steps": 2, "learning_rates": (0.01,)}
    return task.model_copy(update={"suites": {}, "protocol": task.protocol.model_copy(update=settings)})


def numbers(out: Path) -> dict[str, object]:
    """Everything that records below a folder say, but when and where it was found; and their predictions."""
    found: dict[str, object] = {}
    for path in sorted(out.glob("*/*/*-s*.json*")):
        name = str(path.relative_to(out))
        if path.suffix == ".jsonl":
            found[name] = path.read_bytes()
        else:
            content = json.loads(path.read_text())
            found[name] = {key: content[key] for key in content if key not in ("provenance", "content_sha256")}
    return found
