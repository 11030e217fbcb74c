"""Runs a frozen upstream over utterances, once each, through the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.corpora.audio import Audio, load_utterance
from skill_bench.corpora.data import Utterance
from skill_bench.errors import DataError
from skill_bench.features.cache import Entry, FeatureCache
from skill_bench.progress import Progress, Silent

SAMPLE_RATE_HZ = 16000
# On a CPU larger batches gain nothing more; on a GPU the caller asks for more.
BATCH_SECONDS, MAX_BATCH = 16.0, 32


class FeatureSource(Protocol):
    """What extraction needs of an upstream (see `skill_bench.features.upstream.Upstream`)."""

    name: str
    identity: str

    def hidden_states(self, waves: list[Tensor]) -> list[Tensor]:
        """One ``(layers, frames, dim)`` tensor for each ``(samples,)`` wave, independent of its batch mates."""
        ...


@dataclass
class Features(Mapping[str, Tensor]):
    """Features by utterance id: pooled ones in memory, frames read from the cache at each access.

    Attributes:
        policy: What was extracted and how, for the record.
        n_extracted: How many utterances the upstream was run on now; the others came from the cache.
        n_resampled: How many files had another rate than 16 kHz.
        n_channels_averaged: How many files had more than one channel.
        frame_counts: Number of frames of each utterance.
    """

    policy: str
    n_extracted: int = 0
    n_resampled: int = 0
    n_channels_averaged: int = 0
    frame_counts: dict[str, int] = field(default_factory=dict)
    _cache: FeatureCache | None = None
    _keys: dict[str, str] = field(default_factory=dict)
    _pooled: dict[str, Tensor] = field(default_factory=dict)

    def __getitem__(self, utterance_id: str) -> Tensor:
        if utterance_id in self._pooled or self._cache is None:
            return self._pooled[utterance_id]
        return self._cache.open(self._keys[utterance_id])

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def extract(
    upstream: FeatureSource,
    utterances: Sequence[Utterance],
    *,
    pooled: bool,
    cache_dir: Path,
    progress: Progress | None = None,
    max_seconds: float | None = None,
    batch_seconds: float = BATCH_SECONDS,
) -> Features:
    """The hidden states of utterances, from the cache or from the upstream.

    Args:
        upstream: The frozen model.
        utterances: What to extract; ids must differ.
        pooled: True: means over time, ``(layers, dim)`` float32. False: ``(layers, frames, dim)`` float16, or
            float32 where a value exceeds float16's range.
        cache_dir: Folder of the cache.
        progress: Receives one stage, in utterances.
        max_seconds: Longer utterances are cut to this length, at a place that their id decides.
        batch_seconds: Padded audio in one forward pass.

    Raises:
        AudioError: a file cannot be read; names the file and the manifest line.
        DataError: the upstream returns NaN, infinity or no frame; names the utterance.
    """
    max_samples = None if max_seconds is None else round(max_seconds * SAMPLE_RATE_HZ)
    policy = "-".join(
        ["mean-float32" if pooled else "frames-float16", "v1", *([f"max{max_samples}"] if max_samples else [])]
    )
    cache = FeatureCache(root=cache_dir / "features", identity=upstream.identity, policy=policy)
    found = Features(policy=policy, _cache=cache)
    with (progress or Silent()).stage(f"{upstream.name}: features", total=len(utterances)) as advance:
        # A batch holds the same utterances whether some are cached or not, so a rerun gives the same numbers.
        for batch in _batches(utterances, batch_seconds=batch_seconds):
            _extract_batch(upstream, batch, found=found, cache=cache, pooled=pooled, max_samples=max_samples)
            advance(len(batch))
    return found


def _extract_batch(
    upstream: FeatureSource,
    batch: list[Utterance],
    *,
    found: Features,
    cache: FeatureCache,
    pooled: bool,
    max_samples: int | None,
) -> None:
    keys = [_key(utterance, max_samples=max_samples) for utterance in batch]
    entries = [cache.read(key) for key in keys]
    if any(entry is None for entry in entries):
        audios = [load_utterance(utterance) for utterance in batch]
        waves = [_crop(a.waveform, u, max_samples=max_samples) for a, u in zip(audios, batch, strict=True)]
        hidden = upstream.hidden_states(waves)
        for i, (utterance, audio, states) in enumerate(zip(batch, audios, hidden, strict=True)):
            if entries[i] is None:
                entries[i] = _entry(states, utterance, audio, upstream=upstream.name, pooled=pooled)
                cache.write(keys[i], entries[i])  # type: ignore[arg-type]
                found.n_extracted += 1
    for utterance, key, entry in zip(batch, keys, entries, strict=True):
        assert entry is not None
        found._keys[utterance.id] = key
        found.n_resampled += entry.original_rate_hz != SAMPLE_RATE_HZ
        found.n_channels_averaged += entry.original_channels > 1
        if pooled:
            found._pooled[utterance.id] = entry.features
        else:
            found.frame_counts[utterance.id] = entry.features.shape[1]


def _entry(
    states: Float[Tensor, "layers frames dim"], utterance: Utterance, audio: Audio, *, upstream: str, pooled: bool
) -> Entry:
    states = states.detach().cpu()
    if states.ndim != 3 or states.shape[1] == 0 or not torch.isfinite(states).all():
        what = f"shape {tuple(states.shape)}" if states.ndim != 3 or states.shape[1] == 0 else "NaN or infinity"
        raise DataError(
            f"upstream {upstream!r} returned {what} for utterance {utterance.id!r} ({utterance.path}, "
            f"{utterance.source}); finite features of shape (layers, frames, dim) are needed. "
            "Check the checkpoint, or remove the utterance from the manifest."
        )
    if pooled:
        features = states.mean(dim=1, dtype=torch.float64).float()
    else:
        features = states.half()
        if not torch.isfinite(features).all():
            features = states.float()
    return Entry(features=features, original_rate_hz=audio.original_rate_hz, original_channels=audio.original_channels)


def _batches(utterances: Sequence[Utterance], *, batch_seconds: float) -> Iterator[list[Utterance]]:
    """Batches of similar length, longest last, of at most ``batch_seconds`` of padded audio (or one utterance)."""
    batch: list[Utterance] = []
    for utterance in sorted(utterances, key=lambda u: (_seconds(u), u.id)):
        if batch and (len(batch) == MAX_BATCH or (len(batch) + 1) * _seconds(utterance) > batch_seconds):
            yield batch
            batch = []
        batch.append(utterance)
    if batch:
        yield batch


def _seconds(utterance: Utterance) -> float:
    """The stated duration, or a guess from the file's size; it only decides the batches."""
    if utterance.seconds is not None:
        return utterance.seconds
    return utterance.path.stat().st_size / (2 * SAMPLE_RATE_HZ) if utterance.path.is_file() else 0.0


def _key(utterance: Utterance, *, max_samples: int | None) -> str:
    try:
        with utterance.path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        load_utterance(utterance)  # raises the error that names file and manifest line
        raise
    parts = [content, str(utterance.start_frame), str(utterance.n_frames)]
    if utterance.conditions is not None:
        parts.append(repr(utterance.conditions))
    if max_samples is not None:
        parts.append(utterance.id)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _crop(
    wave: Float[Tensor, " samples"], utterance: Utterance, *, max_samples: int | None
) -> Float[Tensor, " cropped"]:
    if max_samples is None or len(wave) <= max_samples:
        return wave
    draw = int.from_bytes(hashlib.sha256(utterance.id.encode()).digest()[:8], "big")
    start = draw % (len(wave) - max_samples + 1)
    return wave[start : start + max_samples]
