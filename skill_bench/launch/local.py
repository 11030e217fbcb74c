"""Jobs as processes of this machine, by submitit: they outlive the command that started them, and its terminal."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from skill_bench.base.counted import counted
from skill_bench.base.errors import UsageError
from skill_bench.launch.engine import PYTHON, Jobs, State, require_submitit
from skill_bench.launch.job import Job
from skill_bench.launch.options import LaunchOptions

if TYPE_CHECKING:
    from submitit.local.local import LocalJob


_CONTROLLER = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('submitit.local._local', run_name='__main__')"
)
"""A shell starts what runs in its background with this signal ignored, and children inherit that; it ends jobs."""


class Local(Jobs):
    """Every job takes any of the groups, in their order: there are as many jobs as may run at a time."""

    shares_groups = True

    def __init__(self, options: LaunchOptions) -> None:
        require_submitit(options)
        self.options = options

    def require_hope(self) -> None:
        """As `Jobs.require_hope`: there are as many GPUs as jobs are to have."""
        options = self.options
        if options.n_gpus > (there := torch.cuda.device_count() if options.n_gpus else 0):
            asked = f"max_jobs {options.max_jobs} with gpus_per_job {options.gpus_per_job}"
            if options.devices:
                asked = f"devices {', '.join(options.devices)}"
            raise UsageError(
                f"{asked}: expected {counted(options.n_gpus, 'GPU')} on this machine, torch can use {there}. Ask for "
                "fewer."
            )

    def submit(self, jobs: Sequence[Job], *, folder: Path, on_gpu: bool, after: Sequence[str]) -> list[str]:
        """As `Jobs.submit`; ``after`` is what the jobs see to."""
        options, ids = self.options, []
        for number, job in enumerate(jobs):
            executor = _executor(folder, gpus=options.gpus_of(number))
            executor.update_parameters(
                timeout_min=options.seconds / 60,
                signal_delay_s=options.warning_seconds,
            )
            ids.append(str(executor.submit(job).job_id))
        return ids

    def states(self, ids: Iterable[str]) -> dict[str, State]:
        """As `Jobs.states`."""
        return {job_id: "running" for job_id in ids if _is_alive(int(job_id))}

    def cancel(self, ids: Iterable[str]) -> None:
        """As `Jobs.cancel`: the controller ends its job, gently first."""
        for job_id in self.states(ids):
            with suppress(ProcessLookupError):
                os.kill(int(job_id), signal.SIGINT)

    def how_to_cancel(self, ids: Sequence[str]) -> str:
        """As `Jobs.how_to_cancel`."""
        return f"on {socket.gethostname()}: kill -INT {' '.join(ids)}"


def _executor(folder: Path, *, gpus: Sequence[str]) -> Any:
    from submitit.local.local import LocalExecutor, LocalJob

    class Apart(LocalExecutor):
        """Controllers in sessions of their own: neither Ctrl-C nor a closed terminal reaches them.

        `submitit.local.local.start_controller` leaves them in the terminal's, with its output open.
        """

        def _submit_command(self, command: str) -> LocalJob[Any]:
            environment = os.environ | {
                "SUBMITIT_LOCAL_NTASKS": "1",
                "SUBMITIT_LOCAL_COMMAND": command,
                "SUBMITIT_LOCAL_TIMEOUT_S": str(round(60 * self.parameters["timeout_min"])),
                "SUBMITIT_LOCAL_SIGNAL_DELAY_S": str(self.parameters["signal_delay_s"]),
                "SUBMITIT_LOCAL_NODEID": "0",
                "SUBMITIT_LOCAL_JOB_NUM_NODES": "1",
                "SUBMITIT_STDERR_TO_STDOUT": "",
                "SUBMITIT_EXECUTOR": "local",
                "SUBMITIT_LOCAL_WITH_SHELL": "",
                # submitit's own parameter takes numbers alone; a GPU may be named "GPU-5a1f..." or "MIG-...".
                "CUDA_VISIBLE_DEVICES": ",".join(gpus),
            }
            with (self.folder / "controllers.log").open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _CONTROLLER, str(self.folder)],
                    start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                )  # fmt: skip
            return LocalJob(folder=self.folder, job_id=str(process.pid), process=process, tasks=[0])

    # How often a job comes back from its time limit is the job's own to say.
    return Apart(folder, max_num_timeout=10**6, python=PYTHON)


def _is_alive(pid: int) -> bool:
    with suppress(ChildProcessError):  # not of this process
        os.waitpid(pid, os.WNOHANG)
    try:
        os.kill(pid, 0)
        command = Path(f"/proc/{pid}/cmdline")
        return not command.parent.parent.joinpath("self").exists() or b"submitit" in command.read_bytes()
    except (ProcessLookupError, FileNotFoundError):
        return False
    except PermissionError:  # another user's: the number was given again
        return False
