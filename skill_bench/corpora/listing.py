"""Speech wherever it lies: folders of audio, the LibriSpeech layout, manifests. For training without labels."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from skill_bench.base.errors import DataError, ManifestError, UsageError
from skill_bench.base.hashed import digest
from skill_bench.corpora.audio.content import content_hashes
from skill_bench.corpora.audio.scan import scan
from skill_bench.corpora.data import Utterance
from skill_bench.corpora.described.manifest import read_manifest

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".sph"})
_LIBRISPEECH_PART = re.compile(r"^(train|dev|test)-(clean|other)(-\d+)?$")
_LIBRISPEECH_FILE = re.compile(r"^(\d+)-\d+-\d+$")


def list_audio(paths: Sequence[Path], *, split: str | None = "train") -> list[Utterance]:
    """The utterances of folders, manifests and single files, sorted within each, every file checked to be readable.

    ``seconds`` are those of the files, whatever a manifest says.

    A folder with a manifest.tsv, at any depth, is read through it; other folders by the audio files in them.
    ``split`` keeps, in a manifest, the lines whose every column named ``split`` or ``*_split`` has this value, so that
    nothing which any task tests on is trained on; in the LibriSpeech layout, the folders ``<split>-clean-100`` and
    so on; of other folders, everything. None keeps everything.

    Raises:
        UsageError: a path that does not exist.
        ManifestError: a faulty manifest, or one without a split column while ``split`` is given.
        AudioError: lists every file that is missing or broken.
        DataError: no audio was found in one of the paths.
    """
    found: dict[Path, Utterance] = {}
    for path in paths:
        if not path.exists():
            raise UsageError(
                f"{path}: no such file or folder. Expected a folder of audio, a manifest.tsv or an audio file."
            )
        utterances = list(_in(path, split))
        if not utterances:
            raise DataError(
                f"{path}: no audio{'' if split is None else f' of split {split!r}'}. Looked for "
                f"{', '.join(sorted(AUDIO_SUFFIXES))} and manifest.tsv."
            )
        for utterance in utterances:
            found.setdefault(utterance.path.resolve(), utterance)
    lengths = scan(found.values()).lengths
    counts = Counter(utterance.id for utterance in found.values())
    listed = []
    for utterance in found.values():
        name = str(utterance.path) if counts[utterance.id] > 1 else utterance.id
        listed.append(replace(utterance, id=name, seconds=lengths[utterance.path].seconds))
    return listed


def speech_fingerprint(utterances: Sequence[Utterance]) -> str:
    """sha256 over ids and durations."""
    digest = hashlib.sha256()
    for utterance in utterances:
        digest.update(f"{utterance.id}\0{utterance.seconds}\n".encode())
    return digest.hexdigest()


def content_fingerprint(utterances: Sequence[Utterance], *, cache_dir: Path) -> str:
    """sha256 over ids and the bytes of the files, in their order.

    Args:
        cache_dir: Where hashes of files that have not changed are remembered.

    Raises:
        OSError: a file cannot be read.
    """
    contents = content_hashes((utterance.path for utterance in utterances), cache_dir=cache_dir)
    return digest("".join(f"{utterance.id}\0{contents[utterance.path]}\n" for utterance in utterances))


def _in(path: Path, split: str | None) -> Iterator[Utterance]:
    if path.is_file():
        if path.suffix == ".tsv":
            yield from _in_manifest(path, split)
        else:
            yield _file(path, path.parent)
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        here = Path(folder)
        if "manifest.tsv" in names:
            folders.clear()
            yield from _in_manifest(here / "manifest.tsv", split)
            continue
        folders[:] = [name for name in folders if not name.startswith(".") and _wanted(name, split)]
        for name in sorted(names):
            if Path(name).suffix.lower() in AUDIO_SUFFIXES and not name.startswith("."):
                yield _file(here / name, path)


def _wanted(folder: str, split: str | None) -> bool:
    part = _LIBRISPEECH_PART.match(folder)
    return split is None or part is None or part.group(1) == split


def _in_manifest(path: Path, split: str | None) -> Iterator[Utterance]:
    manifest = read_manifest(path)
    columns = [column for column in manifest.columns if column == "split" or column.endswith("_split")]
    if split is not None and not columns:
        wanted = "what may be trained on" if split == "train" else f"which of its lines are {split!r}"
        raise ManifestError(
            f"{path}: no column 'split', so it is not known {wanted}. Add one, name other folders, or ask for "
            "everything (--split all where there is that option, split=None in Python)."
        )
    for row in manifest.rows:
        if split is None or all(row.values[column] == split for column in columns):
            yield Utterance(
                id=f"{path.parent.name}/{row.id}", path=row.audio_path(path.parent), target="",
                speaker=row.values.get("speaker") or None, seconds=row.seconds, source=row.source,
            )  # fmt: skip


def _file(path: Path, root: Path) -> Utterance:
    librispeech = _LIBRISPEECH_FILE.match(path.stem)
    return Utterance(
        id=f"{root.name}/{path.relative_to(root).as_posix()}", path=path, target="",
        speaker=librispeech.group(1) if librispeech else None, seconds=None, source="found in a folder",
    )  # fmt: skip
