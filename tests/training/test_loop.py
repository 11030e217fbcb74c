"""The loop's sums: what passes and processes count for, in the log, in the gradients and in the seconds."""

from __future__ import annotations

import itertools
import os
import signal
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import Float
from mutations import generators, mutated_bytes
from small_models import OnUpdate
from torch import Tensor, nn

from skill_bench.base.errors import CheckpointError
from skill_bench.base.progress import Progress, Silent
from skill_bench.base.signals import Terminated
from skill_bench.corpora.data import Utterance
from skill_bench.report.render.curves import read_log
from skill_bench.training import loop
from skill_bench.training.batches import SpeechBatches
from skill_bench.training.engine import Engine, Processes
from skill_bench.training.loop import Objective, Schedule, Training

RATE = 0.5


class Loudness(Objective):
    """The loss is a weight times the mean loudness of the utterances, so its gradient is that mean."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.weight.weight)

    def forward(
        self, update: int, waves: Float[Tensor, "batch samples"], shared: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        loudness = 10 * waves.abs().mean(dim=1)
        return self.weight.weight.sum() * loudness.mean(), {"squared": loudness.square().mean().detach()}


class TwoProcesses:
    """What the first of two sees, without the other: a fabric that says so."""

    world_size = 2

    def __init__(self, fabric: Any) -> None:
        self.fabric = fabric

    def __getattr__(self, name: str) -> Any:
        return getattr(self.fabric, name)


class OtherIsAsked(TwoProcesses):
    """The other process of two is asked to stop in the second update. What is summed last is who was asked."""

    def __init__(self, fabric: Any) -> None:
        super().__init__(fabric)
        self.n_sums, self.waited = 0, 0

    def all_reduce(self, values: Tensor, *, reduce_op: str) -> Tensor:
        assert reduce_op == "sum"
        self.n_sums += 1
        theirs = torch.zeros_like(values)
        theirs[-1] = self.n_sums == 2
        return values + theirs

    def barrier(self) -> None:
        self.waited += 1


def speech_batches(speech: list[Utterance]) -> SpeechBatches:
    return SpeechBatches(speech, seconds_per_batch=2.6, min_seconds=0.1, max_seconds=0.7, seed=3)


def train(
    speech: list[Utterance], folder: Path, *, limit: float | None = None, fabric: Any = None, n_updates: int = 3,
    every: int = 2, progress: Progress | None = None,
) -> tuple[float | None, Any, Loudness]:  # fmt: skip
    """Seconds, log and objective."""
    processes = Engine(device="cpu", max_seconds_per_device=limit, checkpoint_every_updates=every).launch()
    if fabric is not None:
        processes = Processes(engine=processes.engine, fabric=fabric(processes.fabric))
    objective = Loudness()
    folder.mkdir(exist_ok=True)
    training = Training(
        name="one", title="one", folder=folder, processes=processes, objective=objective,
        optimizer=torch.optim.SGD(objective.parameters(), lr=RATE), batches=speech_batches(speech),
        schedule=Schedule(n_updates=n_updates, learning_rate=RATE, warmup_updates=0), max_gradient_norm=1e9, seed=0,
        progress=progress or Silent(),
    )  # fmt: skip
    spent = training.run()
    return spent, read_log(folder / "one.csv"), objective


def batches(speech: list[Utterance], n: int) -> list[Tensor]:
    return [one.waves for _, (one,) in itertools.islice(speech_batches(speech).start_at(0), n)]


def test_a_pass_counts_by_its_share_of_the_batch(speech: list[Utterance], tmp_path: Path) -> None:
    """Passes of two and one utterances: log and gradient are means over utterances, not over passes."""
    _, log, objective = train(speech, tmp_path / "split", limit=1.5)
    weight = 1.0
    for update, waves in enumerate(batches(speech, 3)):
        loudness = 10 * waves.abs().mean(dim=1).double()
        assert log["loss"][update] == pytest.approx(weight * float(loudness.mean()), rel=1e-6)  # float32
        assert log["squared"][update] == pytest.approx(float(loudness.square().mean()), rel=1e-6)
        assert log["gradient_norm"][update] == pytest.approx(float(loudness.mean()), rel=1e-6)
        weight -= RATE * (3 - update) / 3 * float(loudness.mean())
    assert objective.weight.weight.item() == pytest.approx(weight, rel=1e-6)
    sizes = [len(waves) for waves in batches(speech, 3)]
    assert any(size % 2 for size in sizes), "a batch is split unevenly"
    assert max(sizes) > 2


def test_the_half_of_a_process_is_weighted_for_the_mean_over_processes(speech: list[Utterance], tmp_path: Path) -> None:
    """DDP divides the sum of gradients by two; here nobody does, so the gradient is that of the half times two."""
    _, log, _ = train(speech, tmp_path / "half", fabric=TwoProcesses, n_updates=1)
    [waves] = batches(speech, 1)
    loudness = 10 * waves.abs().mean(dim=1)
    share = len(loudness[::2]) / len(loudness)
    assert log["gradient_norm"][0] == pytest.approx(2 * share * float(loudness[::2].mean()), rel=1e-6)
    assert log["loss"][0] == pytest.approx(share * float(loudness[::2].mean()), rel=1e-6)


@pytest.mark.parametrize(("fabric", "n_processes"), [(None, 1), (TwoProcesses, 2)])
def test_seconds_are_those_of_all_processes(
    fabric: Any, n_processes: int, speech: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that goes on by 10 s whenever it is read: at the start and at the two checkpoints."""
    clock = itertools.count(step=10)
    monkeypatch.setattr(loop, "time", types.SimpleNamespace(perf_counter=lambda: float(next(clock))))
    spent, _, _ = train(speech, tmp_path / "run", fabric=fabric)
    assert spent == 20 * n_processes
    assert torch.load(tmp_path / "run" / "one.ckpt", weights_only=True)["seconds"] == spent


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_after_a_checkpoint_and_nothing_is_lost(
    number: int, speech: list[Utterance], tmp_path: Path
) -> None:
    _, whole_log, whole = train(speech, tmp_path / "whole", n_updates=6)

    def ask(update: int, *_: object) -> None:
        if update == 2:
            os.kill(os.getpid(), number)

    with pytest.raises(Terminated) as ended:
        train(speech, tmp_path / "parts", n_updates=6, every=100, progress=OnUpdate(ask))
    assert ended.value.number == number
    # Asked after the second update, it learns so in the third.
    assert torch.load(tmp_path / "parts" / "one.ckpt", weights_only=True)["updates_done"] == 3
    updates: list[int] = []
    _, log, objective = train(
        speech, tmp_path / "parts", n_updates=6, progress=OnUpdate(lambda update, *_: updates.append(update))
    )
    assert updates == [4, 5, 6]
    assert list(log["loss"]) == list(whole_log["loss"])
    assert torch.equal(objective.weight.weight, whole.weight.weight)


def test_all_processes_stop_at_the_update_in_which_one_is_asked(speech: list[Utterance], tmp_path: Path) -> None:
    made: list[OtherIsAsked] = []

    def fabric(of: Any) -> OtherIsAsked:
        made.append(OtherIsAsked(of))
        return made[0]

    with pytest.raises(Terminated) as ended:
        train(speech, tmp_path / "run", fabric=fabric, n_updates=6, every=100)
    assert ended.value.number == signal.SIGTERM
    assert torch.load(tmp_path / "run" / "one.ckpt", weights_only=True)["updates_done"] == 2
    assert made[0].waited == 1, "nobody leaves while the first process writes"


def test_a_damaged_checkpoint_is_refused_or_gives_the_same_weights(speech: list[Utterance], tmp_path: Path) -> None:
    train(speech, tmp_path / "run")
    path = tmp_path / "run" / "one.ckpt"
    whole = path.read_bytes()
    expected = train(speech, tmp_path / "run", n_updates=4)[2].weight.weight
    refused = []
    for rng in generators("training", 100):
        data, what = mutated_bytes(rng, whole)
        path.write_bytes(data)
        try:
            found = train(speech, tmp_path / "run", n_updates=4)[2].weight.weight
        except CheckpointError as error:
            refused.append(str(error))
        else:
            assert torch.equal(found, expected), what
    assert all(message.startswith(f"{path}: ") for message in refused)
    assert len(refused) > 50


@pytest.mark.parametrize("left", [b"\n", b"\0\0\0\n", b"2", b"\xff\xfe,1\n", b"x,1\n"])
def test_what_a_crash_left_in_the_log_is_none_of_it(left: bytes, speech: list[Utterance], tmp_path: Path) -> None:
    """Three updates are made, of which the checkpoint knows two."""
    whole = train(speech, tmp_path / "whole")[1]

    def crash(number: int, *_: object) -> None:
        if number == 3:
            raise RuntimeError("the third")

    with pytest.raises(RuntimeError, match="the third"):
        train(speech, tmp_path / "run", progress=OnUpdate(crash))
    assert torch.load(tmp_path / "run" / "one.ckpt", weights_only=True)["updates_done"] == 2
    with (tmp_path / "run" / "one.csv").open("ab") as file:
        file.write(left)
    assert {name: found.tolist() for name, found in train(speech, tmp_path / "run")[1].items()} == {
        name: found.tolist() for name, found in whole.items()
    }


def test_what_a_killed_training_left_is_removed(speech: list[Utterance], tmp_path: Path) -> None:
    left = tmp_path / "run" / ".synthetic.abcdefgh.tmp"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    train(speech, tmp_path / "run", n_updates=1)
    assert not left.exists()
