"""What is extracted of an utterance, and the key under which the cache keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from skill_bench.base.hashed import digest, seed_from
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.audio.audio import load_utterance
from skill_bench.corpora.audio.content import content_hashes
from skill_bench.corpora.data import Utterance


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What is extracted, and how.

    Attributes:
        pooled: Means over time, ``(layers, dim)`` float32; else ``(layers, frames, dim)`` float16, or float32 where a
            value exceeds float16's range.
        max_samples: Longer utterances are cut to this length, at a place that their id decides.
    """

    pooled: bool
    max_samples: int | None = None

    @classmethod
    def of(cls, *, pooled: bool, max_seconds: float | None) -> Policy:
        """With the length in seconds."""
        return cls(pooled=pooled, max_samples=None if max_seconds is None else round(max_seconds * SAMPLE_RATE_HZ))

    @property
    def name(self) -> str:
        """For the record, and of the cache's folder."""
        cut = [f"max{self.max_samples}"] if self.max_samples else []
        return "-".join(["mean-float32" if self.pooled else "frames-float16", "v1", *cut])


def entry_keys(utterances: Sequence[Utterance], policy: Policy, *, cache_dir: Path) -> dict[str, str]:
    """By utterance id: sha256 over content, segment, conditions and effects, and the id where it decides the cut.

    Args:
        utterances: Ids must differ.
        policy: What is extracted.
        cache_dir: Where hashes of unchanged files are remembered.

    Raises:
        AudioError: a file cannot be read; names the file and the manifest line.
    """
    try:
        contents = content_hashes((utterance.path for utterance in utterances), cache_dir=cache_dir)
    except OSError:
        for utterance in utterances:
            if not utterance.path.is_file():
                load_utterance(utterance)  # raises the error that names file and manifest line
        raise
    return {utterance.id: _key(utterance, policy, contents[utterance.path]) for utterance in utterances}


def _key(utterance: Utterance, policy: Policy, content: str) -> str:
    parts = [content, str(utterance.start_frame), str(utterance.n_frames)]
    if utterance.conditions is not None:
        parts.append(repr(utterance.conditions))
    if utterance.effects is not None:
        parts.append(repr(utterance.effects))
    if policy.max_samples is not None:
        parts.append(utterance.id)
    return digest("\n".join(parts))


def cut(wave: Float[Tensor, " samples"], utterance: Utterance, *, max_samples: int | None) -> Float[Tensor, " cropped"]:
    """At most ``max_samples`` of an utterance, from a place that its id decides."""
    if max_samples is None or len(wave) <= max_samples:
        return wave
    start = seed_from(utterance.id, separator="", n_bytes=8) % (len(wave) - max_samples + 1)
    return wave[start : start + max_samples]
