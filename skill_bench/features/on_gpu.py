"""Extraction on a GPU, as a stream: while it computes a batch, threads decode the next ones, and the one before is
copied back and stored.

Nothing waits for the device until the results of a batch are wanted, and then the next batch is computed already. What
the host must know (lengths, shapes) it knows without asking; whether numbers are finite comes back with them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.base.errors import DataError
from skill_bench.base.in_order import ahead, neighbours
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.audio.audio import Audio, load_utterance
from skill_bench.corpora.data import Utterance
from skill_bench.features.cache import KeptFeatures
from skill_bench.features.lanes import LITTLE_SECONDS, Lanes, Room, room_for
from skill_bench.features.policy import Policy, cut
from skill_bench.features.source import Batches, Computed, FeatureSource, kept, reduced, unusable
from skill_bench.models.arithmetic import without_tf32

N_AHEAD = 2
"""Batches that are decoded, or being so, while one is computed."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A batch in host memory, one wave after the other."""

    utterances: list[Utterance]
    audios: list[Audio]
    lengths: list[int]
    samples: Float[Tensor, " all_samples"]

    def part(self, start: int, end: int) -> Loaded:
        """Some of the utterances."""
        first, last = sum(self.lengths[:start]), sum(self.lengths[:end])
        return Loaded(
            utterances=self.utterances[start:end],
            audios=self.audios[start:end],
            lengths=self.lengths[start:end],
            samples=self.samples[first:last],
        )


@dataclass(frozen=True, kw_only=True)
class Launched:
    """A batch that the device computes; ``wait`` gives all features, one after the other, and a flag for each."""

    loaded: Loaded
    shapes: list[torch.Size]
    wait: Callable[[], Tensor]


@dataclass(frozen=True)
class OnGpu:
    """See `skill_bench.features.source.Computer`.

    Args:
        batch_seconds: Padded audio in one batch; what the memory holds where it is None.
        n_decoders: Threads that read audio.
    """

    upstream: FeatureSource
    policy: Policy = field(kw_only=True)
    lanes: Lanes = field(kw_only=True)
    batch_seconds: float | None = field(kw_only=True)
    n_decoders: int = field(kw_only=True)

    def compute(self, blocks: Iterator[Batches]) -> Generator[Computed]:
        """Batches reach over blocks, which are taken as far ahead as audio is decoded.

        Raises:
            DataError: an utterance is too long for the device's memory, too.
        """
        decoders, packer = ThreadPoolExecutor(self.n_decoders), ThreadPoolExecutor(1)
        running: deque[Launched] = deque()
        try:
            batches = self._batches(utterance for block in blocks for batch in block for utterance in batch)
            for loaded in ahead(packer, lambda batch: self._load(batch, decoders), batches, n=N_AHEAD):
                running.extend(self._launch(loaded))
                while len(running) > 1:
                    yield self._finish(running.popleft())
            while running:
                yield self._finish(running.popleft())
        finally:
            for pool in (packer, decoders):
                pool.shutdown(cancel_futures=True)

    def _batches(self, utterances: Iterable[Utterance]) -> Iterator[list[Utterance]]:
        room: list[Room] = []

        def fits(batch: Sequence[Utterance], following: Utterance) -> bool:
            if not room:
                room.append(self._room())
            return room[0].holds(len(batch) + 1, self._seconds(batch[0]))  # the longest come first

        return neighbours(utterances, fits=fits)

    def _room(self) -> Room:
        if self.batch_seconds is not None:
            return Room(seconds=self.batch_seconds)
        try:
            return room_for(self.upstream, self._reduced, lanes=self.lanes)
        except torch.OutOfMemoryError:  # who fills the device may leave it: smaller batches are tried again
            return Room(seconds=LITTLE_SECONDS)

    def _seconds(self, utterance: Utterance) -> float:
        stated = utterance.seconds or 0.0
        most = self.policy.max_samples
        return stated if most is None else min(stated, most / SAMPLE_RATE_HZ)

    def _load(self, batch: list[Utterance], decoders: Executor) -> Loaded:
        audios = list(decoders.map(load_utterance, batch))
        waves = [
            cut(audio.waveform, utterance, max_samples=self.policy.max_samples)
            for audio, utterance in zip(audios, batch, strict=True)
        ]
        lengths = [len(wave) for wave in waves]
        samples = self.lanes.host(sum(lengths))
        torch.cat(waves, out=samples)
        return Loaded(utterances=batch, audios=audios, lengths=lengths, samples=samples)

    def _launch(self, loaded: Loaded) -> list[Launched]:
        """Several where the batch as a whole was too much."""
        try:
            return [self._begin(loaded)]
        except torch.OutOfMemoryError:
            if (n := len(loaded.utterances)) == 1:
                raise _too_long(loaded.utterances[0], self.upstream.name) from None
        # Here, where the error no longer holds what was computed so far.
        return [*self._launch(loaded.part(0, n // 2)), *self._launch(loaded.part(n // 2, n))]

    def _begin(self, loaded: Loaded) -> Launched:
        waves = torch.split(self.lanes.send(loaded.samples), loaded.lengths)
        parts = self._reduced(list(waves), loaded.utterances)
        packed = torch.cat([part.flatten() for part in parts])
        return Launched(loaded=loaded, shapes=[part.shape for part in parts[:-1]], wait=self.lanes.fetch(packed))

    def _reduced(self, waves: list[Tensor], utterances: list[Utterance] | None = None) -> list[Tensor]:
        """The features of each wave, on the device, and at last whether those of each are finite: 1 or 0."""
        with torch.no_grad(), without_tf32():
            parts = []
            for number, states in enumerate(self.upstream.hidden_states(waves)):
                if utterances is not None and (states.ndim != 3 or states.shape[1] == 0):
                    raise unusable(states, utterances[number], upstream=self.upstream.name)
                parts.append(reduced(states, pooled=self.policy.pooled))
            return [*parts, torch.stack([part.isfinite().all() for part in parts]).to(parts[0].dtype)]

    def _finish(self, launched: Launched) -> Computed:
        loaded, found = launched.loaded, launched.wait()
        flags = found[-len(loaded.utterances) :].tolist()
        bounds = [0]
        for shape in launched.shapes:
            bounds.append(bounds[-1] + shape.numel())
        parts = [
            found[start:end].view(shape) for (start, end), shape in zip(pairwise(bounds), launched.shapes, strict=True)
        ]
        return [
            (utterance, self._entry(part, audio) if is_finite else self._alone(loaded.part(number, number + 1)))
            for number, (utterance, audio, part, is_finite) in enumerate(
                zip(loaded.utterances, loaded.audios, parts, flags, strict=True)
            )
        ]

    def _entry(self, features: Tensor, audio: Audio) -> KeptFeatures:
        # Means may be kept for the whole run: not as a part of pinned memory.
        return KeptFeatures(
            features=features.clone() if self.policy.pooled else features,
            original_rate_hz=audio.original_rate_hz,
            original_channels=audio.original_channels,
        )

    def _alone(self, loaded: Loaded) -> KeptFeatures:
        """Of one utterance whose half precision was not finite: single precision may be, else an error says it."""
        with torch.no_grad(), without_tf32():
            (states,) = self.upstream.hidden_states([self.lanes.send(loaded.samples)])
            return kept(
                states, loaded.utterances[0], loaded.audios[0], pooled=self.policy.pooled, upstream=self.upstream.name
            )


def _too_long(utterance: Utterance, upstream: str) -> DataError:
    return DataError(
        f"utterance {utterance.id!r} ({utterance.path}, {utterance.source}): its {utterance.seconds or 0:.0f} s at "
        f"once need more memory than the device has free in upstream {upstream!r}. "
        "Cut the recording into shorter ones, leave it out of the manifest, or take --device cpu."
    )
