"""Manifest rows become labelled utterances in folds, as one table of a suite.toml says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from skill_bench.corpora.data import Fold, Utterance
from skill_bench.corpora.manifest import Manifest, Row, escapes, read_manifest
from skill_bench.corpora.partition import cross_validation
from skill_bench.corpora.silence import silence_crops
from skill_bench.corpora.spec import Split, TaskSource
from skill_bench.errors import ManifestError, SpecError, suggest


def assemble(source: TaskSource, *, data_root: Path, where: str) -> tuple[tuple[Fold, ...], tuple[str, ...]]:
    """The folds that a task's table of suite.toml describes, and notes on what was left out.

    Args:
        source: The table.
        data_root: What its paths are relative to.
        where: File and table, for messages.

    Raises:
        SpecError: a path leaves the data root.
        ManifestError: the manifest does not hold what the table says.
        AudioError: a noise file for silence cannot be read.
    """
    for key, value in (("manifest", source.manifest), *(("silence.noise", n) for n in _noises(source))):
        if escapes(value):
            raise SpecError(f"{where}.{key}: {value!r} leaves the data root {data_root}. Give a path inside it.")
    manifest = read_manifest(data_root / source.manifest)
    root = manifest.path.parent if source.audio_root is None else data_root / source.audio_root
    rows = _kept(manifest, source)
    dropped = len(manifest.rows) - len(rows)
    notes = []
    if dropped and any((source.min_seconds, source.max_seconds)):
        notes.append(f"{dropped} of {len(manifest.rows)} lines of {source.manifest} do not meet keep or the durations")
    utterances = tuple(_utterance(row, source, root, manifest) for row in rows)
    if source.folds is not None:
        column = source.folds.column
        manifest.require([column], purpose="folds.column")
        values = {row.id: row.values[column] for row in rows}
        if len(set(values.values())) < 2:
            raise ManifestError(f"{manifest.path}: column {column!r} has one value; folds need at least two.")
        return cross_validation(utterances, lambda u: values[u.id], source.folds), tuple(notes)
    split = source.split or Split()
    parts = _split(utterances, rows, manifest, split)
    unused = len(rows) - sum(map(len, parts.values()))
    if unused:
        notes.append(f"{unused} lines of {source.manifest} belong to no split")
    if source.silence is not None:
        counts = {"train": source.silence.train, "dev": source.silence.dev, "test": source.silence.test}
        for name, part in parts.items():
            mean = round(len(part) / len({u.target for u in part}))
            count = mean if counts[name] is None else counts[name] or 0
            parts[name] = part + silence_crops(source.silence, root=data_root, split=name, count=count, source=where)
    return (Fold(name="all", train=parts["train"], dev=parts["dev"], test=parts["test"]),), tuple(notes)


def _noises(source: TaskSource) -> Sequence[str]:
    return source.silence.noise if source.silence else ()


def _kept(manifest: Manifest, source: TaskSource) -> list[Row]:
    manifest.require([source.target], purpose="target")
    manifest.require(source.keep, purpose="keep")
    if source.min_seconds is not None or source.max_seconds is not None:
        manifest.require(["seconds"], purpose="min_seconds and max_seconds")
    least, most = source.min_seconds or 0.0, source.max_seconds or float("inf")
    kept = [
        row
        for row in manifest.rows
        if all(row.values[column] in allowed for column, allowed in source.keep.items())
        and least <= (row.seconds if row.seconds is not None else least) <= most
    ]
    if not kept:
        raise ManifestError(f"{manifest.path}: no line meets keep = {source.keep} and the durations asked for.")
    return kept


def _utterance(row: Row, source: TaskSource, root: Path, manifest: Manifest) -> Utterance:
    if source.speaker is not None:
        manifest.require([source.speaker], purpose="speaker")
    return Utterance(
        id=row.id,
        path=row.audio_path(root),
        target=_target(row, source, manifest),
        speaker=row.values.get(source.speaker or "speaker") or None,
        seconds=row.seconds,
        source=row.source,
    )


def _target(row: Row, source: TaskSource, manifest: Manifest) -> str:
    text = row.values[source.target]
    if source.target_kind == "phones":
        phones = [phone for phone in text.split() if phone not in source.phones.drop]
        text = " ".join(p.rstrip("0123456789") if source.phones.strip_stress else p for p in phones)
    elif source.target_kind == "text":
        removed = text.translate(str.maketrans("", "", source.text.remove))
        text = " ".join(removed.upper().split())
    if not text.strip():
        line = row.source.rpartition(":")[2]
        raise ManifestError(
            f"{manifest.path}:{line}: the target column {source.target!r} is empty. Fill it or remove the line."
        )
    return text.strip()


def _split(
    utterances: Sequence[Utterance], rows: Sequence[Row], manifest: Manifest, split: Split
) -> dict[str, tuple[Utterance, ...]]:
    manifest.require([split.column], purpose="split.column")
    found = Counter(row.values[split.column] for row in rows)
    parts = {}
    for name, wanted in (("train", split.train), ("dev", split.dev), ("test", split.test)):
        parts[name] = tuple(u for u, row in zip(utterances, rows, strict=True) if row.values[split.column] in wanted)
        if not parts[name]:
            raise ManifestError(
                f"{manifest.path}: no utterance for {name}: column {split.column!r} never holds "
                f"{' or '.join(map(repr, wanted))}. "
                f"{suggest(wanted[0], found)}It holds: {', '.join(f'{v} ({n})' for v, n in sorted(found.items()))}."
            )
    return parts
