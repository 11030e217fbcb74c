"""Lock-step: our training and s3prl's experts from equal weights on equal batches, loss by loss.

Ours is `train_grid` over the task's own problem under protocol ``s3prl``, with a smaller head. Theirs is s3prl's
``DownstreamExpert.forward`` behind its ``Featurizer``, its ``get_optimizer``, and the lines of its ``Runner.train``
that make an update. Hidden states are fixed random ones. Dropout and SpecAugment are off: they draw random numbers.
"""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch
from lockstep_material import DIM, N_LAYERS, Material
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from skill_bench.corpora.data import Utterance
from skill_bench.probes.heads import LAYER_SCORES, Randomness
from skill_bench.probes.parameters import Parameters
from skill_bench.probes.selection import DevScore
from skill_bench.probes.training import generator_for, train_grid
from skill_bench.tasks import TrainedSpec, with_protocol

SAMPLES_A_FRAME = 320
# Waves have no samples here; padding has to be cut off, so it is nothing like a state.
PADDING = 9.0


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One task on both sides.

    Attributes:
        compared: What is compared, in words.
        problem: Ours.
        expert: Theirs, with the modules that its constructor makes.
        names: Their parameter -> ours, without the weights of layers.
        arguments: What their ``forward`` takes between features and records.
        agreed: On how many test items they say what our rows say.
        outputs: Our output of each of theirs; None where the order is the same.
    """

    compared: str
    problem: Any
    material: Material
    expert: Any
    names: dict[str, str]
    arguments: Callable[[Sequence[Utterance]], tuple[Any, ...]]
    agreed: Callable[[Pair, Any, list[dict[str, Any]]], int]
    outputs: list[int] | None = None


Losses = list[tuple[float, float]]


def differences(losses: Losses) -> list[float]:
    """Of the first of each pair from the second, relative to that."""
    return [abs(one - other) / abs(other) for one, other in losses]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What came out.

    Attributes:
        losses: Ours and theirs, one pair for each batch.
        rounding: Theirs with each batch in reverse, and theirs: the same sums in another order; where it was asked for.
        n_agreed: Test items on which both say the same.
        n_items: Test items.
        n_answers: Different answers among ours: equal ones say little where there is one.
    """

    compared: str
    steps: int
    learning_rate: float
    losses: Losses
    rounding: Losses
    n_agreed: int
    n_items: int
    n_answers: int

    @property
    def largest_difference(self) -> float:
        """Of the losses, relative to theirs."""
        return max(differences(self.losses))

    def updates_within(self, tolerance: float, losses: Losses) -> int:
        """After how many updates all losses still agree within ``tolerance``."""
        apart = (i for i, difference in enumerate(differences(losses)) if difference > tolerance)
        return next(apart, len(losses)) * self.steps // len(losses)


@dataclass(kw_only=True)
class _Followed:
    """Our problem, whose batches and losses are written down."""

    problem: Any
    asked: list[list[Utterance]] = field(default_factory=list)
    drawn: list[list[Utterance]] = field(default_factory=list)
    losses_found: list[float] = field(default_factory=list)
    stack = None

    def __post_init__(self) -> None:
        if hasattr(self.problem, "rows"):
            train = self.problem.fold.train
            self._note(self.problem.rows, "take", lambda chosen: [train[i] for i in chosen])
        else:
            self._note(self.problem.frames, "batch", list)

    def _note(self, source: Any, name: str, utterances: Callable[[Any], list[Utterance]]) -> None:
        original = getattr(source, name)

        def noted(chosen: Any, **options: Any) -> Any:
            self.asked.append(utterances(chosen))
            return original(chosen, **options)

        setattr(source, name, noted)

    def initial(self, generator: torch.Generator) -> Parameters:
        found: Parameters = self.problem.initial(generator)
        return found

    def batches(self, generator: torch.Generator) -> Iterator[Any]:
        for batch in self.problem.batches(generator):
            self.drawn.append(self.asked[-1])
            yield batch

    def losses(self, parameters: Parameters, batch: Any, randomness: Randomness | None) -> Tensor:
        found: Tensor = self.problem.losses(parameters, batch, randomness)
        self.losses_found.append(found.item())
        return found

    def score(self, parameters: Parameters) -> list[DevScore]:
        found: list[DevScore] = self.problem.score(parameters)
        return found


def settings(task: TrainedSpec, *, learning_rate: float, **head: Any) -> TrainedSpec:
    """The task under protocol ``s3prl`` without random numbers, with a head that a processor trains in seconds."""
    found = task.for_suite("superb", protocol="s3prl")
    found = with_protocol(found, learning_rates=(learning_rate,), spec_augment=False)
    return found.model_copy(update={"head": found.head.model_copy(update=head | {"dropout": 0.0})})


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """Both sides compute in float64, where they name no type and where they name float32."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with mock.patch.object(Tensor, "float", Tensor.double):
            yield
    finally:
        torch.set_default_dtype(before)


def run(pair: Pair, *, steps: int, learning_rate: float | None = None, reordered: bool = False) -> Compared:
    """Trains both sides for so many updates; None leaves the pair's learning rate.

    Args:
        reordered: Theirs is trained once more, for ``rounding``.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        task = with_protocol(pair.problem.task, steps=steps, evaluate_every_steps=steps)
        if learning_rate is not None:
            task = with_protocol(task, learning_rates=(learning_rate,))
        followed, trained = _Followed(problem=pair.problem), list[list[float]]()
        (result,) = train_grid(
            followed, task.protocol, higher_is_better=task.metric in ("accuracy", "f1"), seeds=[0], fold="all",
            device=torch.device("cpu"), advance=lambda _: None,
        )  # fmt: skip
        # Last as it is, since the expert of this one says what test utterances are.
        for batches in (*([[batch[::-1] for batch in followed.drawn]] if reordered else []), followed.drawn):
            featurizer = _featurizer()
            _copy(pair.problem.initial(generator_for(0, "all", "init")), pair, featurizer)
            trained.append(_train(pair, featurizer, batches, task))
        theirs = trained[-1]
        rows = pair.problem.test_rows(result.trained[0].parameters)
        with torch.no_grad(), _no_gpu():
            pair.expert.eval()
            n_agreed = pair.agreed(pair, featurizer, rows)
    finally:
        torch.set_num_threads(n_threads)
    losses = list(zip(followed.losses_found, theirs, strict=True))
    assert len(losses) == steps * task.protocol.accumulate
    return Compared(
        compared=pair.compared,
        steps=steps,
        learning_rate=task.protocol.learning_rates[0],
        losses=losses,
        rounding=list(zip(trained[0], theirs, strict=True)) if reordered else [],
        n_agreed=n_agreed,
        n_items=len(rows),
        n_answers=len({str(row["prediction"] if "prediction" in row else row["score"]) for row in rows}),
    )


def features(pair: Pair, featurizer: Any, utterances: Sequence[Utterance]) -> list[Tensor]:
    """What s3prl's runner hands to an expert: the weighted sum, cut to each utterance's length."""
    states = [pair.material.states[utterance.id] for utterance in utterances]
    layers = [
        pad_sequence([one[i] for one in states], batch_first=True, padding_value=PADDING) for i in range(N_LAYERS)
    ]
    waves = [torch.zeros(1).expand(one.shape[1] * SAMPLES_A_FRAME) for one in states]
    found: list[Tensor] = featurizer(waves, {"hidden_states": layers})
    return found


def answers(pair: Pair, featurizer: Any, name: str) -> list[Any]:
    """What s3prl records under ``name`` when it evaluates test, one utterance a batch as its recipes have it."""
    records: dict[str, list[Any]] = defaultdict(list)
    for utterance in pair.material.fold.test:
        arguments = pair.arguments([utterance])
        pair.expert("test", features(pair, featurizer, [utterance]), *arguments, records=records)
    return records[name]


def _featurizer() -> Any:
    from s3prl.upstream.interfaces import Featurizer

    featurizer: Any = Featurizer.__new__(Featurizer)  # its constructor listens to an upstream
    nn.Module.__init__(featurizer)
    featurizer.feature_selection, featurizer.layer_selection, featurizer.normalize = "hidden_states", None, False
    featurizer.layer_num, featurizer.output_dim, featurizer.downsample_rate = N_LAYERS, DIM, SAMPLES_A_FRAME
    featurizer.weights = nn.Parameter(torch.zeros(N_LAYERS))
    return featurizer


@torch.no_grad()
def _copy(ours: Parameters, pair: Pair, featurizer: Any) -> None:
    """Our initial numbers become theirs, every tensor of both sides once."""
    theirs = dict(pair.expert.named_parameters())
    assert set(pair.names) == set(theirs), set(pair.names) ^ set(theirs)
    assert sorted([*pair.names.values(), LAYER_SCORES]) == sorted(ours)
    featurizer.weights.copy_(ours[LAYER_SCORES])
    for name, own in pair.names.items():
        value = ours[own]
        if own.startswith("output.") and pair.outputs is not None:
            assert sorted(pair.outputs) == list(range(len(value)))
            value = value[pair.outputs]
        assert value.shape == theirs[name].shape, (name, own)
        theirs[name].copy_(value)


def _train(pair: Pair, featurizer: Any, drawn: Sequence[Sequence[Utterance]], task: TrainedSpec) -> list[float]:
    """The update of s3prl 0.4.18 ``downstream/runner.py`` (``Runner.train``), its lines in its order."""
    from s3prl.optimizers import get_optimizer

    protocol, modules = task.protocol, [featurizer, pair.expert]
    trainable = [parameter for module in modules for parameter in module.train().parameters()]
    name = {"adam": "Adam", "adamw": "AdamW"}[protocol.optimizer]
    (rate,) = protocol.learning_rates
    optimizer = get_optimizer(modules, protocol.steps, {"name": "TorchOptim", "torch_optim_name": name, "lr": rate})
    records: dict[str, list[Any]] = defaultdict(list)
    losses = []
    with _no_gpu():
        for backward_steps, batch in enumerate(drawn, start=1):
            given = features(pair, featurizer, batch)
            loss = pair.expert("train", given, *pair.arguments(batch), records=records)
            losses.append(loss.item())
            (loss / protocol.accumulate).backward()
            if backward_steps % protocol.accumulate > 0:
                continue
            norm = torch.nn.utils.clip_grad_norm_(trainable, protocol.gradient_clip_norm)
            assert not math.isnan(norm)
            optimizer.step()
            optimizer.zero_grad()
    return losses


def _no_gpu() -> contextlib.AbstractContextManager[Any]:
    """s3prl's verification expert asks for a GPU by name."""
    return mock.patch.object(Tensor, "cuda", lambda self: self)
