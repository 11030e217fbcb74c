"""What a launch asks of whatever runs its jobs."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from skill_bench.base.errors import MissingExtra
from skill_bench.launch.job import Job
from skill_bench.launch.options import LaunchOptions

State = Literal["running", "pending"]
PYTHON = f"{shlex.quote(sys.executable)} -P"
"""What jobs run in, as a shell starts it. -P: the folder that the command was called in is no place for code."""


class Jobs(ABC):
    """Submits jobs through submitit, and says what becomes of them.

    Attributes:
        shares_groups: Whether jobs share groups, or each has one of its own.
    """

    shares_groups: bool
    options: LaunchOptions

    @abstractmethod
    def submit(self, jobs: Sequence[Job], *, folder: Path, on_gpu: bool, after: Sequence[str]) -> list[str]:
        """Submits jobs as one array; returns their ids.

        Args:
            jobs: The first one first.
            folder: Of submitit's files, the logs among them.
            on_gpu: Whether they have the GPUs that jobs have.
            after: Jobs that have to end first.
        """

    @abstractmethod
    def states(self, ids: Iterable[str]) -> dict[str, State]:
        """Of those that have not ended.

        Raises:
            SkillBenchError: nobody answers.
        """

    @abstractmethod
    def cancel(self, ids: Iterable[str]) -> None:
        """Ends them."""

    @abstractmethod
    def how_to_cancel(self, ids: Sequence[str]) -> str:
        """The command that does."""

    @abstractmethod
    def require_hope(self) -> None:
        """Checks, before there are jobs and while all of them are waiting, that they will run some day.

        Raises:
            SkillBenchError: there is nothing that could run them.
        """


def require_submitit(options: LaunchOptions) -> None:
    """Checks that the engine is there.

    Raises:
        MissingExtra: it is not.
    """
    if importlib.util.find_spec("submitit") is None:
        asked = "--devices" if options.devices else f"--launcher {options.launcher}"
        raise MissingExtra("submitit", extra="cluster", purpose=asked)
