"""Jobs of SLURM, by submitit; what became of them is asked of squeue, which every cluster has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from skill_bench.base.errors import SkillBenchError, UsageError
from skill_bench.launch.engine import PYTHON, Jobs, State, require_submitit
from skill_bench.launch.job import Job
from skill_bench.launch.options import LaunchOptions

ATTEMPTS, PAUSE_SECONDS = 4, 5.0
"""Of a question: a controller that is started again is away for some seconds."""
_ANSWERS = re.compile(r"(idle|mixed|mix|allocated|alloc|completing|comp|reserved|planned)[+~#%$@^-]*")
"""States of nodes that run jobs; one that does not answer has an asterisk."""


class Slurm(Jobs):
    """Each job has one group."""

    shares_groups = False

    def __init__(self, options: LaunchOptions) -> None:
        require_submitit(options)
        if shutil.which("sbatch") is None:
            raise UsageError("--launcher slurm: there is no sbatch here. Run it where jobs are submitted from.")
        self.options = options

    def require_hope(self) -> None:
        """As `Jobs.require_hope`: a node of every partition that is asked for answers."""
        partitions = {self.options.partition, self.options.cpu_partition or self.options.partition}
        for partition in partitions:
            asked = [] if partition is None else [f"--partition={partition}"]
            found = _asked(["sinfo", "--noheader", "--format=%T %D", *asked]).splitlines()
            where = "no partition" if partition is None else f"partition {partition!r}"
            if not found:
                known = _asked(["sinfo", "--noheader", "--format=%R"]).split()
                raise UsageError(f"SLURM has no {where}. Partitions are {', '.join(dict.fromkeys(known)) or 'none'}.")
            if not any(_ANSWERS.fullmatch(line.split()[0]) for line in found):
                states = ", ".join(f"{n} {state}" for state, n in (line.split() for line in found))
                named = "SLURM" if partition is None else f"SLURM, {where}"
                raise SkillBenchError(
                    f"{named}: no node answers (nodes: {states}). Jobs would wait for ever; ask `sinfo -R` why, name "
                    "another --partition, or take --launcher local."
                )

    def submit(self, jobs: Sequence[Job], *, folder: Path, on_gpu: bool, after: Sequence[str]) -> list[str]:
        """As `Jobs.submit`."""
        from submitit.core.utils import FailedJobError, FailedSubmissionError
        from submitit.slurm.slurm import SlurmExecutor

        # How often a job comes back from its time limit is the job's own to say.
        executor = SlurmExecutor(folder, max_num_timeout=10**6, python=PYTHON)
        executor.update_parameters(**self.parameters(on_gpu=on_gpu, after=after))
        try:
            with executor.batch():
                submitted = [executor.submit(job) for job in jobs]
        except (FailedJobError, FailedSubmissionError) as error:
            raise SkillBenchError(f"SLURM did not take the jobs: {error}") from error
        return [job.job_id for job in submitted]

    def parameters(self, *, on_gpu: bool, after: Sequence[str]) -> dict[str, Any]:
        """What sbatch is asked for, as submitit calls it."""
        options = self.options
        given: dict[str, Any] = {
            "job_name": "skill-bench",
            "time": options.seconds // 60,
            "signal_delay_s": options.warning_seconds,
            "array_parallelism": options.max_jobs,
            "partition": options.partition if on_gpu else options.cpu_partition or options.partition,
            "account": options.account,
            "qos": options.qos,
            "constraint": options.constraint,
            "mem": options.memory,
            "setup": list(options.setup) or None,
            "gpus_per_node": options.gpus_per_job if on_gpu and options.gpus_per_job else None,
            "dependency": f"afterany:{':'.join(after)}" if after else None,
            "additional_parameters": {"requeue": True, **options.sbatch},
        }
        if options.cpus_per_job is not None:
            # srun does not take it over from sbatch.
            given |= {"cpus_per_task": options.cpus_per_job, "srun_args": [f"--cpus-per-task={options.cpus_per_job}"]}
        return {key: value for key, value in given.items() if value is not None}

    def states(self, ids: Iterable[str]) -> dict[str, State]:
        """As `Jobs.states`."""
        wanted = set(ids)
        found: dict[str, State] = {}
        for line in _asked(["squeue", "--noheader", "--array", f"--user={os.getuid()}", "--format=%i %T"]).splitlines():
            job_id, _, state = line.strip().partition(" ")
            if job_id in wanted:
                found[job_id] = "running" if state in ("RUNNING", "COMPLETING", "CONFIGURING") else "pending"
        return found

    def cancel(self, ids: Iterable[str]) -> None:
        """As `Jobs.cancel`."""
        subprocess.run(["scancel", *dict.fromkeys(job.split("_")[0] for job in ids)], check=False)

    def how_to_cancel(self, ids: Sequence[str]) -> str:
        """As `Jobs.how_to_cancel`."""
        return f"scancel {' '.join(dict.fromkeys(job.split('_')[0] for job in ids))}"


def _asked(command: Sequence[str]) -> str:
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE_SECONDS)
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            return answer.stdout
    said = " ".join(answer.stderr.split()) or f"exit code {answer.returncode}"
    raise SkillBenchError(
        f"SLURM does not answer: {command[0]} says {said!r}. Jobs that were submitted go on without this command; "
        "the same command continues with what they leave."
    )
