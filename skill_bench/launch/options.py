"""What jobs may take, from the command line or a TOML file; the keys are the options' names.

launcher = "slurm"
max_jobs = 8
gpus_per_job = 1
cpus_per_job = 8
memory = "32GB"
time = "4h"
partition = "gpu"
setup = ["module load cuda"]             # shell lines before each job

[sbatch]                                 # any other option of sbatch
reservation = "speech"
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from skill_bench.base.errors import UsageError
from skill_bench.base.specs import Count, Frozen, Positive, read_toml, validate

Launcher = Literal["local", "slurm"]
_UNIT_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_TIME = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def _time(text: str) -> str:
    if not seconds_in(text):
        raise ValueError(f"time {text!r}: expected such as 4h, 90m or 1d12h")
    return text


def seconds_in(text: str) -> int:
    """``"4h"``, ``"1d12h"``, ``"90m"`` in seconds; 0 for anything else."""
    match = _TIME.fullmatch(text.replace(" ", ""))
    parts = match.groups() if match else ()
    return sum(int(n or 0) * seconds for n, seconds in zip(parts, _UNIT_SECONDS.values(), strict=bool(parts)))


class LaunchOptions(Frozen):
    """How an evaluation becomes jobs.

    Attributes:
        launcher: ``slurm``, or ``local``: processes of this machine.
        devices: One job a device of this machine, such as ``cuda:0`` and ``cuda:1``; says launcher, max_jobs and
            gpus_per_job.
        max_jobs: At a time.
        gpus_per_job: With any, features and heads are computed there.
        cpus_per_job: None: what SLURM gives without asking; of this machine, as many as each job can have.
        memory: Of a job, such as ``32GB``; SLURM only, as are ``partition`` and what follows it.
        time: What a job may take, such as ``4h``. One that needs longer is started again and goes on, without the cell
            that it was at.
        partition: Where jobs run.
        account: Whom they are charged to.
        qos: Quality of service.
        constraint: On nodes.
        cpu_partition: Probes that need no GPU (linear ones on time means, and search) run here, in jobs without one,
            once a job with one has extracted their features.
        setup: Shell lines before each job.
        sbatch: Any other of its options.
        on_interrupt: Whether Ctrl-C leaves the jobs running or cancels them.
        detach: Whether to return as soon as the jobs are submitted.
    """

    launcher: Launcher
    devices: tuple[Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?)$")], ...] = ()
    max_jobs: Positive = 2
    gpus_per_job: Count = 0
    cpus_per_job: Positive | None = None
    memory: Annotated[str, Field(pattern=r"^\d+[KMGT]B?$")] | None = None
    time: Annotated[str, AfterValidator(_time)] | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    cpu_partition: str | None = None
    setup: tuple[str, ...] = ()
    sbatch: dict[str, str | int | bool] = Field(default_factory=dict)
    on_interrupt: Literal["leave", "cancel"] = "leave"
    detach: bool = False

    def gpus_of(self, job: int) -> list[str]:
        """The GPUs of a local job, as CUDA_VISIBLE_DEVICES names them; of those that this process sees."""
        seen = os.environ.get("CUDA_VISIBLE_DEVICES")
        return [seen.split(",")[number] if seen else str(number) for number in self._gpu_numbers(job)]

    @property
    def n_gpus(self) -> int:
        """How many this machine must have for local jobs."""
        return 1 + max((number for job in range(self.max_jobs) for number in self._gpu_numbers(job)), default=-1)

    def _gpu_numbers(self, job: int) -> Sequence[int]:
        if self.devices and self.gpus_per_job:
            return [_number(self.devices[job])]
        first = job * self.gpus_per_job
        return range(first, first + self.gpus_per_job)

    @property
    def seconds(self) -> int:
        """What a job may take: whole minutes of SLURM; of this machine, as long as it takes unless told otherwise."""
        if self.launcher == "local":
            return seconds_in(self.time or "1000d")
        return 60 * math.ceil(seconds_in(self.time or "4h") / 60)

    @property
    def warning_seconds(self) -> int:
        """How long before its end a job is told."""
        return min(90, max(1, self.seconds // 5))

    @property
    def local_threads(self) -> int:
        """Of each of the jobs that share this machine."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return self.cpus_per_job or max(1, cores // self.max_jobs)


def _of_devices(content: Mapping[str, Any]) -> dict[str, Any]:
    """What one job a device means; Ctrl-C ends them, as it would the one process that they stand for."""
    devices = list(content["devices"])
    on_gpu = [device.startswith("cuda") for device in devices]
    if any(on_gpu) and (not all(on_gpu) or len({_number(device) for device in devices}) < len(devices)):
        raise UsageError(f"devices {', '.join(devices)}: expected GPUs, each once, or cpu as often as you like.")
    said = {"launcher": "local", "max_jobs": len(devices), "gpus_per_job": int(any(on_gpu))}
    for key, value in said.items():
        if content.get(key, value) != value:
            raise UsageError(f"devices say that {key} is {value}, found {content[key]}. Leave {key} out.")
    return {"on_interrupt": "cancel", **content, **said}


def _number(device: str) -> int:
    return int(device.partition(":")[2] or 0)


ONLY_SLURM = ("memory", "partition", "account", "qos", "constraint", "cpu_partition", "setup", "sbatch")


def read_options(given: Mapping[str, object], *, file: Path | None) -> LaunchOptions | None:
    """The options of the command line (those that are not None), before those of a file; None where neither says how.

    Raises:
        UsageError: options without a launcher, or for SLURM alone.
        SpecError: an unknown key or a value that cannot be.
    """
    named = {key: value for key, value in given.items() if value is not None}
    content = {**(read_toml(file) if file is not None else {}), **named}
    if content.get("devices"):
        content = _of_devices(content)
    if "launcher" not in content:
        if content or file is not None:
            said = str(file) if file is not None else ", ".join(f"--{key.replace('_', '-')}" for key in content)
            raise UsageError(f"{said} without a launcher. Add --launcher slurm, or --launcher local.")
        return None
    options = validate(LaunchOptions, content, source="the launcher's options" if file is None else str(file))
    if options.launcher == "local":
        for key in ONLY_SLURM:
            if content.get(key):
                raise UsageError(f"{key} is for --launcher slurm, found --launcher local. Leave it out.")
    if options.cpu_partition and not options.gpus_per_job:
        raise UsageError("cpu_partition is for probes of jobs with GPUs. Add --gpus-per-job 1, or leave it out.")
    return options
