"""What several tests of corpora use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from skill_bench.corpora.data import Utterance

WriteAudio = Callable[..., Path]


def utterance(path: Path, *, number: int = 2, id: str | None = None, target: str = "a") -> Utterance:
    return Utterance(
        id=id or path.name, path=path, target=target, speaker=None, seconds=None, source=f"manifest.tsv:{number}"
    )
