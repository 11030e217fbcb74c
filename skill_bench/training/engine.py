"""Where training runs: one CPU, one GPU, or several by DDP; nothing here decides what is learnt but the precision."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies.ddp import DDPStrategy
from pydantic import Field
from torch import nn

from skill_bench.base.errors import AudioError, UsageError
from skill_bench.base.progress import Progress, Silent
from skill_bench.base.specs import Frozen, Positive, PositiveNumber, Precision
from skill_bench.corpora.audio.scan import scan
from skill_bench.corpora.data import Utterance
from skill_bench.training.batches import Part
from skill_bench.training.options import Optimizer

T = TypeVar("T")
_FABRIC_PRECISION: dict[Precision, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}


class Engine(Frozen):
    """Device, precision, and how often a checkpoint is written. How many processes there are says who starts them.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:1``, or ``auto`` (a GPU where there is one).
        precision: ``bf16`` and ``fp16`` are mixed: weights and optimiser stay in float32.
        max_seconds_per_device: most audio in one forward pass; larger shares of a batch are split, and their gradients
            added. The result is the same.
        checkpoint_every_updates: what a killed run loses at most.
        tensorboard: write its event files beside the CSV.
    """

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    precision: Precision = "fp32"
    max_seconds_per_device: PositiveNumber | None = None
    checkpoint_every_updates: Positive = 200
    tensorboard: bool = False

    def launch(self) -> Processes:
        """Joins the processes, one a device, that torchrun or SLURM's srun started; without them, one.

        Raises:
            UsageError: a GPU is asked for and there is none, or not so many; fp16 without a GPU; processes that cannot
            be joined.
        """
        kind, _, index = self.device.partition(":")
        if kind == "auto":
            kind = "cuda" if torch.cuda.is_available() else "cpu"
        devices, nodes = _started_processes()
        if kind == "cuda" and torch.cuda.device_count() < max(devices, int(index or 0) + 1):
            raise UsageError(
                f"device {self.device}, {devices} processes on this machine: torch can use {torch.cuda.device_count()} "
                "GPUs. Start one process a GPU (SLURM: every process must see all, --gpus-per-node), or use --device "
                "cpu."
            )
        if kind == "cpu" and self.precision == "fp16":
            raise UsageError("precision fp16 needs a GPU. Use fp32 or bf16.")
        if index and devices > 1:
            raise UsageError(f"device {self.device} names one GPU, but there are {devices} processes: --device cuda.")
        several = devices * nodes > 1
        try:
            fabric = Fabric(
                accelerator=kind,
                devices=[int(index)] if index else devices,
                num_nodes=nodes,
                strategy=DDPStrategy() if several else "auto",
                precision=_FABRIC_PRECISION[self.precision],
            )
            fabric.launch()
        except (RuntimeError, ValueError) as error:
            if not several:
                raise
            raise UsageError(f"{devices * nodes} processes on {nodes} machines cannot be joined: {error}") from error
        return Processes(engine=self, fabric=fabric)


@dataclass(frozen=True, kw_only=True)
class Processes:
    """The processes that train together, as one of them sees them."""

    engine: Engine
    fabric: Fabric

    @property
    def part(self) -> Part:
        """What this process takes of every batch."""
        limit = self.engine.max_seconds_per_device or math.inf
        return Part(rank=self.fabric.global_rank, world_size=self.fabric.world_size, max_seconds=limit)

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.fabric.is_global_zero

    def gather(self, value: T) -> list[T]:
        """What every process has, in order of rank."""
        if self.fabric.world_size == 1:
            return [value]
        found: list[Any] = [None] * self.fabric.world_size
        torch.distributed.all_gather_object(found, value)
        return found

    def check_audio(self, utterances: Sequence[Utterance], progress: Progress | None = None) -> None:
        """Decodes every file in full, each process its part.

        Raises:
            AudioError: lists every damaged file, in every process.
        """
        mine = utterances[self.fabric.global_rank :: self.fabric.world_size]
        problem = None
        with (progress or Silent()).stage("audio check: files", total=len({u.path for u in mine})) as advance:
            try:
                scan(mine, whole=True, advance=advance)
            except AudioError as error:
                problem = str(error)
        found = [text for text in self.gather(problem) if text is not None]
        if found:
            raise AudioError("\n".join(found))


def _started_processes() -> tuple[int, int]:
    """Processes a machine, and machines, as torchrun or srun tells the processes that it starts.

    A batch script of SLURM is no such process: what it starts without srun runs once.

    Raises:
        UsageError: srun's processes are not equally many on every machine.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        local, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        return local, world // local
    world, nodes = (int(os.environ.get(f"SLURM_STEP_NUM_{what}", 1)) for what in ("TASKS", "NODES"))
    if world % nodes:
        raise UsageError(
            f"srun started {world} processes on {nodes} machines, not equally many on each. Ask for --ntasks-per-node."
        )
    return world // nodes, nodes


def adamw(
    parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]], *, options: Optimizer, fused: bool = True
) -> torch.optim.AdamW:
    """The optimiser of a stage.

    Args:
        parameters: or groups of them.
        fused: False where gradients are scaled (fp16): they are clipped before the step, which the kernel cannot await.
    """
    return torch.optim.AdamW(
        parameters,
        betas=options.betas,
        eps=options.epsilon,
        weight_decay=options.weight_decay,
        fused=fused,
    )
