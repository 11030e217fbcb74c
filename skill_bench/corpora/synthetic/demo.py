"""The demo suite: speech made by espeak-ng, so that every task runs anywhere without a download.

It is a folder like any local one, with manifest.tsv and suite.toml, made once in the cache and checked at each use.
What the synthesiser said says nothing about real speech; everything made from it is labelled synthetic.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import lfilter

from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.synthetic.demo_plan import Item, plan
from skill_bench.corpora.synthetic.rendered import rendered_folder
from skill_bench.corpora.synthetic.synthesis import Spoken, synthesise

_LABELS = ("speaker", "part", "split", "keyword", "emotion", "fold", "action", "object", "location", "slots", "search")
_COLUMNS = ("path", "seconds", *_LABELS, "text", "phones")
_NOISE_SECONDS = 25


def demo_folder(cache_dir: Path) -> Path:
    """The suite's folder under ``cache_dir``: made if it is missing, made again if a file of it changed.

    Its name holds a hash of everything that is said and of espeak-ng's version.

    Raises:
        SkillBenchError: the synthesiser failed.
        DataError: what was made does not pass its own check.
    """
    items = plan()
    return rendered_folder(cache_dir, f"demo-v1-{_identity(items)}", lambda folder: _make(folder, items))


def _identity(items: Sequence[Item]) -> str:
    facts = [asdict(item) for item in items]
    content = json.dumps([facts, _suite_toml(), _NOISE_SECONDS, version("espeakng-loader")], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _make(folder: Path, items: Sequence[Item]) -> None:
    # One process a part: within a process order matters, so the grouping is part of what makes the bytes.
    parts = {item.part: [other for other in items if other.part == item.part] for item in items}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        spoken = list(pool.map(lambda part: synthesise([item.line for item in part], folder), parts.values()))
    _write_noise(folder / "noise.flac")
    rows = [
        _row(item, said)
        for part, sayings in zip(parts.values(), spoken, strict=True)
        for item, said in zip(part, sayings, strict=True)
    ]
    manifest = "\n".join("\t".join(row) for row in (_COLUMNS, *rows)) + "\n"
    (folder / "manifest.tsv").write_text(manifest, encoding="utf-8")
    (folder / "suite.toml").write_text(_suite_toml(), encoding="utf-8")


def _row(item: Item, said: Spoken) -> tuple[str, ...]:
    text, phones = (item.line.text, " ".join(said.phones)) if item.part in ("read", "terms") else ("", "")
    return said.file, f"{said.seconds:.4f}", *(getattr(item, label) for label in _LABELS), text, phones


def _write_noise(path: Path) -> None:
    rng = np.random.default_rng(7)
    n = _NOISE_SECONDS * SAMPLE_RATE_HZ
    colour = lfilter([1], [1, -0.9], rng.standard_normal(n))
    swell = 1 + 0.6 * np.sin(2 * np.pi * 0.31 * np.arange(n) / SAMPLE_RATE_HZ)
    soundfile.write(path, 0.02 * swell * colour / np.std(colour), SAMPLE_RATE_HZ, subtype="PCM_16")


def _suite_toml() -> str:
    return (files(__package__) / "demo_suite.toml").read_text(encoding="utf-8")
