"""Utterances without speech, cut from noise recordings: the ``_silence_`` class of keyword spotting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from skill_bench.base.errors import ManifestError
from skill_bench.corpora.audio.decode import length
from skill_bench.corpora.data import Utterance
from skill_bench.corpora.described.tables import Silence

# Shares of each noise recording; crops of one split never touch another's stretch, so test noise was not trained on.
_STRETCHES = {"train": (0.0, 0.6), "dev": (0.6, 0.8), "test": (0.8, 1.0)}


def silence_crops(spec: Silence, *, root: Path, split: str, count: int, source: str) -> tuple[Utterance, ...]:
    """``count`` crops for a split, evenly spread over its stretch of each noise recording (they may overlap).

    Raises:
        AudioError: a noise file cannot be read.
        ManifestError: a recording's stretch is shorter than one crop.
    """
    crops: list[Utterance] = []
    for number, name in enumerate(spec.noise):
        path = root / name
        whole = length(path, source=source)
        n_frames, rate_hz = whole.frames, whole.rate_hz
        begin, end = (int(share * n_frames) for share in _STRETCHES[split])
        size = round(spec.seconds * rate_hz)
        if end - begin < size:
            raise ManifestError(
                f"{path} ({source}): {n_frames / rate_hz:.1f} s of noise; its share for {split} is shorter than "
                f"one crop of {spec.seconds} s. Use a longer recording."
            )
        wanted = count // len(spec.noise) + (number < count % len(spec.noise))
        crops += [_crop(spec, path, name, start, size, source, rate_hz) for start in _starts(begin, end - size, wanted)]
    return tuple(crops)


def _starts(first: int, last: int, count: int) -> Sequence[int]:
    if count <= 1:
        return [first] * count
    return sorted({first + round(i * (last - first) / (count - 1)) for i in range(count)})


def _crop(spec: Silence, path: Path, name: str, start: int, size: int, source: str, rate_hz: int) -> Utterance:
    return Utterance(
        id=f"{name}@{start}+{size}", path=path, target=spec.target, speaker=None, seconds=size / rate_hz, source=source,
        start_frame=start, n_frames=size,
    )  # fmt: skip
