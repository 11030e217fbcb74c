"""The one training loop: schedule, clipping, log, atomic checkpoints, exact continuation."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from skill_bench.compress.batches import Batch, SpeechBatches
from skill_bench.errors import SkillBenchError
from skill_bench.schema import write_atomic

Log = Mapping[str, float]
CHECKPOINT_EVERY = 200


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Linear warm-up to ``learning_rate``, then linear decay to 0 at ``n_updates``."""

    n_updates: int
    learning_rate: float
    warmup_updates: int

    def factor(self, update: int) -> float:
        """Fraction of the peak learning rate at ``update`` (0-based)."""
        if update < self.warmup_updates:
            return (update + 1) / self.warmup_updates
        return max(0.0, (self.n_updates - update) / max(1, self.n_updates - self.warmup_updates))


@runtime_checkable
class Progress(Protocol):
    """Told after every update."""

    def __call__(self, update: int, n_updates: int, log: Log) -> None: ...


def optimise(
    *,
    name: str,
    folder: Path,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[int, Batch], tuple[Tensor, dict[str, float]]],
    batches: SpeechBatches,
    schedule: Schedule,
    max_gradient_norm: float,
    seed: int,
    progress: Progress | None = None,
) -> None:
    """Trains ``modules`` in place; a killed run continues from its last checkpoint with the same numbers.

    Args:
        name: of the stage; its checkpoint is ``folder/name.ckpt``, its log ``folder/name.csv``.
        loss_of: (update, batch) -> loss and what to log. Randomness comes from torch's generator, which is seeded here
            and saved with each checkpoint.
        optimizer: groups may hold ``peak``, their own peak learning rate.

    Raises:
        SkillBenchError: the loss is not finite; names the batch. The last good checkpoint is kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, log_file = folder / f"{name}.ckpt", folder / f"{name}.csv"
    torch.manual_seed(seed)
    done = _restore(checkpoint, modules, optimizer) if checkpoint.exists() else 0
    _forget_after(log_file, done)
    if done >= schedule.n_updates:
        return
    device = next(next(iter(modules.values())).parameters()).device
    for update, batch in zip(range(done, schedule.n_updates), batches.start_at(done), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = group.get("peak", schedule.learning_rate) * schedule.factor(update)
        loss, log = loss_of(update, Batch(waves=batch.waves.to(device), ids=batch.ids))
        if not torch.isfinite(loss):
            raise SkillBenchError(
                f"{name}: the loss is {loss.item()} at update {update}. Batch: {', '.join(batch.ids)}. "
                f"The last good checkpoint is {checkpoint}; lower the learning rate or remove damaged files."
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_((p for g in optimizer.param_groups for p in g["params"]), max_gradient_norm)
        optimizer.step()
        log = {"update": update, "loss": loss.item(), "gradient_norm": norm.item(), "seconds": batch.seconds, **log}
        _append(log_file, log)
        if progress is not None:
            progress(update + 1, schedule.n_updates, log)
        if (update + 1) % CHECKPOINT_EVERY == 0 or update + 1 == schedule.n_updates:
            _save(checkpoint, modules, optimizer, update + 1)


def _save(path: Path, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, updates_done: int) -> None:
    state: dict[str, Any] = {
        "updates_done": updates_done,
        "modules": {name: module.state_dict() for name, module in modules.items()},
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
    }
    written = io.BytesIO()
    torch.save(state, written)
    write_atomic(path, written.getvalue())


def _restore(path: Path, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> int:
    state = torch.load(path, map_location="cpu", weights_only=True)
    for name, module in modules.items():
        module.load_state_dict(state["modules"][name])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["rng"])
    return int(state["updates_done"])


def _append(path: Path, log: Log) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(log))
        if new:
            writer.writeheader()
        writer.writerow(log)


def _forget_after(path: Path, updates_done: int) -> None:
    """Drops log lines of updates that will be made again."""
    if not path.exists():
        return
    header, *lines = path.read_text().splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and int(line.split(",", 1)[0]) < updates_done]
    write_atomic(path, (header + "".join(kept)).encode())
