"""Where training runs: one CPU, one GPU, or several by DDP; nothing here decides what is learnt but the precision."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies.ddp import DDPStrategy
from pydantic import Field

from skill_bench.compress.batches import Part
from skill_bench.corpora.data import Utterance
from skill_bench.corpora.decode import scan
from skill_bench.errors import AudioError, UsageError
from skill_bench.progress import Progress, Silent
from skill_bench.schema import Frozen

T = TypeVar("T")
Precision = Literal["fp32", "bf16", "fp16"]
_FABRIC_PRECISION: dict[Precision, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}


class Engine(Frozen):
    """Devices, precision, and how often a checkpoint is written.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:1``, or ``auto`` (a GPU where there is one).
        devices: processes on this machine, one a device. torchrun's environment goes before.
        nodes: machines.
        precision: ``bf16`` and ``fp16`` are mixed: weights and optimiser stay in float32.
        max_seconds_per_device: most audio in one forward pass; larger shares of a batch are split, and their gradients
            added. The result is the same.
        checkpoint_every_updates: what a killed run loses at most.
        tensorboard: write its event files beside the CSV.
    """

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    devices: Annotated[int, Field(gt=0)] = 1
    nodes: Annotated[int, Field(gt=0)] = 1
    precision: Precision = "fp32"
    max_seconds_per_device: Annotated[float, Field(gt=0)] | None = None
    checkpoint_every_updates: Annotated[int, Field(gt=0)] = 200
    tensorboard: bool = False

    def launch(self) -> Processes:
        """Joins the processes that torchrun or SLURM started; without them, one.

        Raises:
            UsageError: a GPU is asked for and there is none, or not so many; fp16 without a GPU; several processes that
            nobody started.
        """
        kind, _, index = self.device.partition(":")
        if kind == "auto":
            kind = "cuda" if torch.cuda.is_available() else "cpu"
        devices, nodes = _torchrun() or (self.devices, self.nodes)
        if kind == "cuda" and torch.cuda.device_count() < max(devices, int(index or 0) + 1):
            raise UsageError(
                f"device {self.device}, {devices} of them: torch can use {torch.cuda.device_count()} GPUs of this "
                "machine. Lower --devices or use --device cpu."
            )
        if kind == "cpu" and self.precision == "fp16":
            raise UsageError("precision fp16 needs a GPU. Use fp32 or bf16.")
        if index and devices > 1:
            raise UsageError(f"device {self.device} names one GPU, but devices = {devices}. Use --device cuda.")
        several = devices * nodes > 1
        if several and _torchrun() is None and "SLURM_PROCID" not in os.environ:
            raise UsageError(
                f"devices = {devices}, nodes = {nodes}: several processes are started by torchrun or srun, for example "
                f"torchrun --nproc-per-node {devices} -m skill_bench, and then this command's arguments."
            )
        fabric = Fabric(
            accelerator=kind,
            devices=[int(index)] if index else devices,
            num_nodes=nodes,
            strategy=DDPStrategy() if several else "auto",
            precision=_FABRIC_PRECISION[self.precision],
        )
        fabric.launch()
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


def _torchrun() -> tuple[int, int] | None:
    """Processes a machine and machines, where torchrun started this process."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    local, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    return local, world // local
