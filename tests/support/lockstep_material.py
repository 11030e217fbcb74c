"""Hidden states that stay the same, and utterances that go with them: what both sides of the lock-step train on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.corpora.data import Fold, Segment, Trial, Utterance
from skill_bench.probes.tokens import Tokens

N_LAYERS, DIM, FRAME_SECONDS = 3, 24, 0.02
N_TRAIN, N_DEV, N_TEST = 48, 12, 40


@dataclass(frozen=True, kw_only=True)
class Material:
    """One fold and ``(layers, frames, dim)`` states by utterance id."""

    fold: Fold
    states: dict[str, Tensor]

    def means(self) -> dict[str, Tensor]:
        """``(layers, dim)`` by utterance id."""
        return {name: states.mean(dim=1) for name, states in self.states.items()}

    def frame_counts(self) -> dict[str, int]:
        """Frames by utterance id."""
        return {name: states.shape[1] for name, states in self.states.items()}


class _Draw:
    """Numbers of one generator; symbols have a direction each, so that there is something to learn."""

    def __init__(self, n_symbols: int) -> None:
        self.generator = torch.Generator().manual_seed(0)
        self.directions = torch.randn(n_symbols, N_LAYERS, DIM, generator=self.generator)

    def whole(self, low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=self.generator))

    def states(self, activity: Float[Tensor, "frames symbols"]) -> Float[Tensor, "layers frames dim"]:
        clean = torch.einsum("fs,sld->lfd", activity, self.directions)
        return clean + torch.randn(clean.shape, generator=self.generator)

    def one_hot(self, symbols: Sequence[int]) -> Float[Tensor, "frames symbols"]:
        return torch.nn.functional.one_hot(torch.tensor(symbols), len(self.directions)).float()


def labelled(labels: Sequence[str], *, n_frames: int | None = None) -> Material:
    """Every utterance has one of the labels; lengths differ unless ``n_frames`` says that training's do not."""
    draw, found = _Draw(len(labels)), []
    for i in range(N_TRAIN + N_DEV + N_TEST):
        drawn, which = draw.whole(20, 45), i % len(labels)
        length = drawn if n_frames is None or i >= N_TRAIN else n_frames
        states = draw.states(draw.one_hot([which] * length) * 0.06)
        found.append((_utterance(i, labels[which], states), states))
    return _material(found)


def spelt(units: Sequence[str], tokens: Tokens) -> Material:
    """Texts of two to five units, none twice in a row: a few frames a token, and a pause after each."""
    draw, found = _Draw(tokens.n_outputs), []
    for i in range(N_TRAIN + N_DEV + N_TEST):
        chosen: list[str] = []
        for _ in range(draw.whole(2, 6)):
            chosen.append([unit for unit in units if unit not in chosen[-1:]][draw.whole(0, len(units) - 1)])
        text, symbols = " ".join(chosen), [0]
        for token in tokens.split(text):
            symbols += [tokens.vocabulary.index(token) + 1] * draw.whole(3, 6) + [0]
        states = draw.states(draw.one_hot([*symbols, 0, 0, 0]))
        found.append((_utterance(i, text, states), states))
    return _material(found)


def conversations() -> Material:
    """Two speakers with an overlap, either of whom may begin."""
    draw, found = _Draw(2), []
    for i in range(N_TRAIN + N_DEV + N_TEST):
        n = draw.whole(50, 90)
        times = {("a", "b")[i % 2]: (0, draw.whole(25, 40)), ("b", "a")[i % 2]: (draw.whole(15, 30), n)}
        activity = torch.zeros(n, 2)
        for column, speaker in enumerate("ab"):
            activity[slice(*times[speaker]), column] = 1
        states = draw.states(activity * 0.7)
        segments = tuple(
            Segment(speaker=who, start_seconds=start * FRAME_SECONDS, end_seconds=end * FRAME_SECONDS)
            for who, (start, end) in times.items()
        )
        found.append((_utterance(i, "", states, segments=segments), states))
    return _material(found)


def _utterance(number: int, target: str, states: Tensor, *, segments: tuple[Segment, ...] = ()) -> Utterance:
    name = f"u{number:03d}"
    return Utterance(
        id=name, path=Path(name), target=target, speaker=None, seconds=states.shape[1] * FRAME_SECONDS,
        source="lock-step", segments=segments,
    )  # fmt: skip


def _material(found: Sequence[tuple[Utterance, Tensor]]) -> Material:
    utterances = [utterance for utterance, _ in found]
    train, dev = tuple(utterances[:N_TRAIN]), tuple(utterances[N_TRAIN : N_TRAIN + N_DEV])
    test = tuple(utterances[N_TRAIN + N_DEV :])
    trials = tuple(
        Trial(same=a.target == b.target, enrolment=a.id, test=b.id) for i, a in enumerate(test) for b in test[:i:7]
    )
    fold = Fold(name="all", train=train, dev=dev, test=test, trials=trials)
    return Material(fold=fold, states={utterance.id: states for utterance, states in found})
