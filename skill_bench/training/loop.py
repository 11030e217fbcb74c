"""The one training loop: schedule, clipping, processes, atomic checkpoints, exact continuation.

It reports a CSV line an update, and TensorBoard's event files where asked for.
"""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import torch
from jaxtyping import Float
from lightning.fabric.wrappers import _FabricModule, _FabricOptimizer
from torch import Tensor, nn

from skill_bench.base.documents import write_atomic
from skill_bench.base.errors import CheckpointError, MissingExtra, SkillBenchError, UsageError
from skill_bench.base.hashed import seed_from
from skill_bench.base.locks import Lock
from skill_bench.base.progress import Progress, Silent
from skill_bench.base.signals import Noted, noted
from skill_bench.base.unfinished import remove_leftovers
from skill_bench.models.convert.shared.foreign import open_source
from skill_bench.training.batches import Batch, PlannedBatch, SpeechBatches
from skill_bench.training.engine import Processes

Log = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Linear warm-up to ``learning_rate``, then linear decay to ``final_factor`` of it.

    ``ends_at_zero``: the last update has the rate 0 and update ``warmup_updates`` alone the peak, as in DPHuBERT
    (pyf98/DPHuBERT, lightning.py, ``LinearDecayLRScheduler``); without it the peak comes twice, and what would be the
    update after the last has the final rate.
    """

    n_updates: int
    learning_rate: float
    warmup_updates: int
    ends_at_zero: bool = False
    final_factor: float = 0.0

    def factor(self, update: int) -> float:
        """Fraction of the peak learning rate at ``update`` (0-based)."""
        if update < self.warmup_updates:
            return (update + 1) / self.warmup_updates
        left = self.n_updates - update - int(self.ends_at_zero)
        share = max(0.0, left / max(1, self.n_updates - self.warmup_updates))
        return self.final_factor + (1 - self.final_factor) * share


class Objective(nn.Module):
    """What is trained: its children hold the parameters and are what a checkpoint stores.

    Randomness that all processes must share comes from ``shared`` (of the CPU); other randomness from torch's global
    generator, which is seeded differently for each process. Both are seeded anew for every update from the seed and
    its number, so that a checkpoint needs no generator's state, and a run may go on with another number of processes.
    """

    def forward(
        self, update: int, waves: Float[Tensor, "batch samples"], shared: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The loss, a mean over utterances, and what to log."""
        raise NotImplementedError

    def correct(self, update: int) -> None:
        """Called after each step of the optimiser: moves parameters back to where a constraint holds."""

    shrink_every_updates: int | None = None
    """How often :meth:`shrink` is called between two updates; None: never."""

    def shrink(self, optimizer: torch.optim.Optimizer) -> None:
        """Removes what training no longer needs, from the modules and from the optimiser."""

    def shrink_as(self, modules: Mapping[str, Mapping[str, Tensor]], optimizer: torch.optim.Optimizer) -> None:
        """Removes what is missing in ``modules``, the children's states of a checkpoint."""


MOST_SKIPPED = 50
"""Updates that fp16's scaler may skip in a row. Each halves the scale: from 2^16 it takes 16 to reach 1."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """One stage.

    Attributes:
        name: its checkpoint is ``folder/name.ckpt``, its log ``folder/name.csv``.
        title: what progress calls the training that it is a stage of; its own name follows.
        optimizer: groups may hold ``peak``, their own peak learning rate.
    """

    name: str
    folder: Path
    processes: Processes
    objective: Objective
    optimizer: torch.optim.Optimizer
    batches: SpeechBatches
    schedule: Schedule
    max_gradient_norm: float
    seed: int
    title: str
    progress: Progress = field(default_factory=Silent)

    def run(self) -> float | None:
        """Trains the objective in place; a killed run continues from its last checkpoint with the same numbers.

        Every process takes a part of each batch, in passes that fit its device; gradients are those of the mean over
        the whole batch. SIGTERM or SIGHUP, to any process, ends all of them after the update that they are at and a
        checkpoint.

        Returns:
            Seconds that its updates took, times the processes; those that a kill lost do not count. None where the run
            was begun by a version that did not take the time.

        Raises:
            UsageError: another process trains in the folder.
            SkillBenchError: loss or gradients are not finite; names the utterances. The last good checkpoint is kept.
            Terminated: a signal came; the checkpoint is written.
        """
        lock = Lock(self.folder / ".lock")
        if self.processes.is_first and not lock.take():
            raise UsageError(
                f"{self.folder}: another process trains there. Wait for it or stop it; for a run of its own, choose "
                "another --work-dir."
            )
        try:
            with noted() as signals:
                return self._run(signals)
        finally:
            lock.release()

    def _run(self, signals: Noted) -> float | None:
        self.processes.fabric.to_device(self.objective.train())
        if self.processes.is_first:
            for unfinished in self.folder.glob(f".{self.checkpoint.name}.*.tmp"):
                unfinished.unlink()  # a process was killed while it wrote it
            remove_leftovers(self.folder)
        # Every process goes by what the first one sees: a folder that is not shared is an error, not two starts.
        done, spent = self._restore() if self.processes.fabric.broadcast(self.checkpoint.exists()) else (0, 0.0)
        if done >= self.schedule.n_updates:
            return spent
        batches = self.batches.start_at(done, self.processes.part)
        last, every = self.schedule.n_updates, self.processes.engine.checkpoint_every_updates
        since, skipped = time.perf_counter(), 0
        with self._log(done) as log:
            for segment in self._segments(done):
                if segment.start and segment.start % (self.objective.shrink_every_updates or math.inf) == 0:
                    self.objective.shrink(self.optimizer)  # a checkpoint of this moment was written before it
                module, optimizer = self.processes.fabric.setup(self.objective, self.optimizer)
                for update, (plan, passes) in zip(segment, batches, strict=False):
                    numbers, asked_to_stop = self._update(update, plan, passes, module, optimizer, signals)
                    skipped = 0 if math.isfinite(numbers["gradient_norm"]) else skipped + 1
                    if skipped > MOST_SKIPPED:
                        self._stop(f"gradients of {skipped} updates in a row are not finite", update, plan, guilty=True)
                    if log is not None:
                        log.append(numbers)
                        self.progress.update(f"{self.title}, {self.name}", update + 1, last, numbers)
                    if (update + 1) % every == 0 or update + 1 == last or asked_to_stop:
                        now = time.perf_counter()
                        if spent is not None:
                            spent += (now - since) * self.processes.fabric.world_size
                        since = now
                        self._save(update + 1, spent)
                    if asked_to_stop:
                        # Who started the processes may kill all once one has ended; the first still writes.
                        self.processes.fabric.barrier()
                        signals.stop()
        return spent

    def _segments(self, done: int) -> Iterator[range]:
        """The updates to come, cut where the objective may shrink."""
        last, every = self.schedule.n_updates, self.objective.shrink_every_updates
        while done < last:
            stop = last if every is None else min(last, (done // every + 1) * every)
            yield range(done, stop)
            done = stop

    @property
    def checkpoint(self) -> Path:
        return self.folder / f"{self.name}.ckpt"

    def _update(
        self,
        update: int,
        plan: PlannedBatch,
        passes: tuple[Batch, ...],
        module: _FabricModule,
        optimizer: _FabricOptimizer,
        signals: Noted,
    ) -> tuple[Log, bool]:
        """What to log, and whether a process was asked to stop: all learn it in the same update."""
        for group in self.optimizer.param_groups:
            group["lr"] = group.get("peak", self.schedule.learning_rate) * self.schedule.factor(update)
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for number, batch in enumerate(passes):
            torch.manual_seed(_seed(self.seed, self.name, update, self.processes.fabric.global_rank, number))
            shared = torch.Generator().manual_seed(_seed(self.seed, self.name, update))
            with self.processes.fabric.no_backward_sync(module, enabled=number + 1 < len(passes)):
                loss, log = module(update, batch.waves.to(self.processes.fabric.device), shared)
                # DDP averages over processes; the shares of all of them sum to 1.
                self.processes.fabric.backward(loss * (batch.share * self.processes.fabric.world_size))
            for key, value in {"loss": loss, **log}.items():
                weighted = batch.share * value.detach().double()
                sums[key] = sums[key] + weighted if key in sums else weighted
        norm = self.processes.fabric.clip_gradients(
            self.objective, self.optimizer, max_norm=self.max_gradient_norm, error_if_nonfinite=False
        )
        assert norm is not None
        local_loss = sums["loss"].item()
        asked = torch.full_like(sums["loss"], signals.number is not None)
        totals = self.processes.fabric.all_reduce(torch.stack([*sums.values(), asked]), reduce_op="sum")
        assert isinstance(totals, Tensor)
        *logged, n_asked = totals.tolist()
        numbers = {"update": update, "gradient_norm": norm.item(), "seconds": plan.seconds}
        numbers |= {"learning_rate": self.optimizer.param_groups[0]["lr"]}
        numbers |= dict(zip(sums, logged, strict=True))
        if not math.isfinite(numbers["loss"]):
            self._stop(f"the loss is {numbers['loss']}", update, plan, guilty=not math.isfinite(local_loss))
        # In fp16 the scaler skips such an update and lowers its scale.
        if not math.isfinite(numbers["gradient_norm"]) and self.processes.engine.precision != "fp16":
            self._stop(f"the gradients' norm is {numbers['gradient_norm']}", update, plan, guilty=True)
        optimizer.step()
        self.objective.correct(update)
        return numbers, n_asked > 0

    def _stop(self, what: str, update: int, plan: PlannedBatch, *, guilty: bool) -> NoReturn:
        guilty_ids = self.processes.gather(plan.ids(self.processes.part) if guilty else [])
        ids = [name for found in guilty_ids for name in found]
        kept = f"The last good checkpoint is {self.checkpoint}" if self.checkpoint.exists() else "No checkpoint yet"
        raise SkillBenchError(
            f"{self.name}: {what} at update {update}. Batch: {', '.join(ids)}. {kept}; lower the learning rate or "
            "remove damaged files."
        )

    def _log(self, done: int) -> AbstractContextManager[TrainingLog | None]:
        if not self.processes.is_first:
            return nullcontext()
        return TrainingLog(self.folder, self.name, updates_done=done, tensorboard=self.processes.engine.tensorboard)

    def _save(self, updates_done: int, spent: float | None) -> None:
        if not self.processes.is_first:
            return
        state: dict[str, Any] = {
            "updates_done": updates_done,
            "seconds": spent,
            "modules": {name: module.state_dict() for name, module in self.objective.named_children()},
            "optimizer": self.optimizer.state_dict(),
            "precision": self.processes.fabric.strategy.precision.state_dict(),
        }
        written = io.BytesIO()
        torch.save(state, written)
        write_atomic(self.checkpoint, written.getbuffer())

    def _restore(self) -> tuple[int, float | None]:
        try:
            state = open_source(self.checkpoint).content
        except CheckpointError as error:
            raise CheckpointError(
                f"{error} Or delete it to train this stage again. If several machines train, they must share the "
                "folder."
            ) from error
        try:
            self.objective.shrink_as(state["modules"], self.optimizer)
            for name, module in self.objective.named_children():
                module.load_state_dict(state["modules"][name])
            self.optimizer.load_state_dict(state["optimizer"])
            self.processes.fabric.strategy.precision.load_state_dict(state.get("precision", {}))
            return int(state["updates_done"]), state.get("seconds")
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise CheckpointError(
                f"{self.checkpoint}: is of another model or recipe ({reason}). Delete the folder to start again, or "
                "choose another one."
            ) from error


def _seed(*parts: object) -> int:
    return seed_from(*parts, separator="\0")


class TrainingLog:
    """``folder/name.csv``; lines of updates that will be made again, and what is none, are dropped when it is opened.

    Raises:
        MissingExtra: TensorBoard is asked for and not installed.
    """

    def __init__(self, folder: Path, name: str, *, updates_done: int, tensorboard: bool = False) -> None:
        self.path = folder / f"{name}.csv"
        _forget_after(self.path, updates_done)
        self._events = _events(folder / "tensorboard" / name, updates_done) if tensorboard else None

    def append(self, log: Log) -> None:
        """One line; ``log["update"]`` numbers it from 0."""
        new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(log), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(log)
        if self._events is not None:
            for key, value in log.items():
                if key != "update":
                    self._events.add_scalar(key, value, int(log["update"]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._events is not None:
            self._events.close()


def _forget_after(path: Path, updates_done: int) -> None:
    if not path.exists():
        return
    header, *lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True) or [""]
    numbered = [(line, line.split(",", 1)[0]) for line in lines if line.endswith("\n")]
    kept = [line for line, number in numbered if number.isdecimal() and int(number) < updates_done]
    if kept:
        write_atomic(path, (header + "".join(kept)).encode())
    else:
        path.unlink()


def _events(folder: Path, updates_done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtra("tensorboard", extra="tensorboard", purpose="--tensorboard") from error
    return SummaryWriter(folder, purge_step=updates_done)
