"""Manifest rows become labelled utterances in folds, as one table of a suite.toml says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from skill_bench.base.errors import ManifestError, SpecError, suggest
from skill_bench.corpora.audio.conditions import condition_note, with_conditions
from skill_bench.corpora.audio.decode import length
from skill_bench.corpora.data import Fold, Segment, Trial, Utterance
from skill_bench.corpora.described.lists import drawn_trials, read_rttm
from skill_bench.corpora.described.manifest import Manifest, ManifestLine, escapes, read_manifest
from skill_bench.corpora.described.partition import cross_validation, silence_crops
from skill_bench.corpora.described.simulated import concatenated, drawn_queries, mixed, related
from skill_bench.corpora.described.suite_toml import TaskSource
from skill_bench.corpora.described.tables import Folds, Recordings, Split
from skill_bench.corpora.described.targets import target_of
from skill_bench.corpora.described.validate import validate


def assemble(
    source: TaskSource, *, data_root: Path, cache_dir: Path, where: str
) -> tuple[tuple[Fold, ...], tuple[str, ...]]:
    """The folds that a task's table of suite.toml describes, and notes on what was left out or simulated.

    Args:
        source: The table.
        data_root: What its paths are relative to.
        cache_dir: Where simulated recordings are kept.
        where: File and table, for messages.

    Raises:
        SpecError: a path leaves the data root.
        ManifestError: the manifest does not hold what the table says.
        AudioError: a file that something is cut or mixed from cannot be read.
    """
    _check_paths(source, data_root, where)
    manifest = read_manifest(data_root / source.manifest)
    rows = _kept(manifest, source)
    dropped = len(manifest.rows) - len(rows)
    notes = []
    if dropped and any((source.min_seconds, source.max_seconds)):
        notes.append(f"{dropped} of {len(manifest.rows)} lines of {source.manifest} do not meet keep or the durations")
    turns = _Turns(data_root)
    utterances = _utterances(rows, source, _audio_root(manifest, source, data_root), manifest, turns)
    if source.folds is not None:
        folds = _cross_validation(utterances, rows, manifest, source.folds)
    else:
        fold, unused = _one_fold(utterances, rows, manifest, source, data_root, cache_dir, where, turns)
        folds = (fold,)
        if unused:
            notes.append(f"{unused} lines of {source.manifest} belong to no split")
    notes += turns.notes()
    if source.mixtures is not None:
        notes.append(f"two-speaker mixtures simulated from {source.manifest} (seed {source.mixtures.seed})")
    if source.documents is not None:
        notes.append(f"documents joined from clips of {source.manifest} (seed {source.documents.seed})")
    if source.target_kind == "slots" and len(source.columns) > 1:
        notes.append(f"no transcripts: targets are the slots' values alone, in the order {', '.join(source.columns)}")
    if source.conditions is not None:
        folds = with_conditions(folds, source.conditions)
        notes.append(condition_note(source.conditions, n_folds=len(folds)))
    return folds, tuple(notes)


def _check_paths(source: TaskSource, data_root: Path, where: str) -> None:
    paths = [("manifest", source.manifest), *(("silence.noise", n) for n in _noises(source))]
    if source.audio_root is not None:
        paths.append(("audio_root", source.audio_root))
    if source.recordings is not None:
        paths.append(("recordings.manifest", source.recordings.manifest))
    for key, value in paths:
        if escapes(value):
            raise SpecError(f"{where}.{key}: {value!r} leaves the data root {data_root}. Give a path inside it.")


def _audio_root(manifest: Manifest, source: TaskSource, data_root: Path) -> Path:
    return manifest.path.parent if source.audio_root is None else data_root / source.audio_root


def _cross_validation(
    utterances: Sequence[Utterance], rows: Sequence[ManifestLine], manifest: Manifest, folds: Folds
) -> tuple[Fold, ...]:
    manifest.require([folds.column], purpose="folds.column")
    values = {row.id: row.values[folds.column] for row in rows}
    if len(set(values.values())) < 2:
        raise ManifestError(f"{manifest.path}: column {folds.column!r} has one value; folds need at least two.")
    return cross_validation(utterances, lambda u: values[u.id], folds)


def _one_fold(
    utterances: Sequence[Utterance],
    rows: Sequence[ManifestLine],
    manifest: Manifest,
    source: TaskSource,
    data_root: Path,
    cache_dir: Path,
    where: str,
    turns: _Turns,
) -> tuple[Fold, int]:
    """The fold, and how many lines are in no part of it."""
    if source.queries is not None:
        return _search_fold(utterances, rows, manifest, source, cache_dir, where), 0
    parts = _split(utterances, rows, manifest, source.split or Split())
    unused = len(rows) - sum(map(len, parts.values()))
    if source.silence is not None:
        counts = {"train": source.silence.train, "dev": source.silence.dev, "test": source.silence.test}
        for name, part in parts.items():
            mean = round(len(part) / len({u.target for u in part}))
            count = mean if counts[name] is None else counts[name] or 0
            parts[name] = part + silence_crops(source.silence, root=data_root, split=name, count=count, source=where)
    if source.mixtures is not None:
        sources = Fold(name="all", train=parts["train"], dev=parts["dev"], test=parts["test"])
        validate([sources], where=where, disjoint_speakers=source.disjoint_speakers is not False)
        parts = mixed(parts, source.mixtures, cache_dir=cache_dir, where=where)
    if source.recordings is not None:
        parts["test"] += _recordings(source.recordings, data_root, turns)
    trials = {name: _trials(parts[name], rows, manifest, source, where) for name in ("dev", "test")}
    fold = Fold(
        name="all",
        train=parts["train"],
        dev=parts["dev"],
        test=parts["test"],
        dev_trials=trials["dev"],
        trials=trials["test"],
    )
    return fold, unused


def _trials(
    part: Sequence[Utterance], rows: Sequence[ManifestLine], manifest: Manifest, source: TaskSource, where: str
) -> tuple[Trial, ...]:
    if source.trials is None:
        return ()
    column = source.trials.match
    if column is not None:
        manifest.require([column], purpose="trials.match")
    attributes = {row.id: row.values[column] if column else "" for row in rows}
    return drawn_trials(part, source.trials, attribute=lambda u: attributes[u.id], where=where)


def _search_fold(
    utterances: Sequence[Utterance],
    rows: Sequence[ManifestLine],
    manifest: Manifest,
    source: TaskSource,
    cache_dir: Path,
    where: str,
) -> Fold:
    """Documents and queries of dev and test; nothing is trained."""
    spec = source.queries
    assert spec is not None
    manifest.require([spec.column], purpose="queries.column")
    split = source.split or Split()
    parts = _split(utterances, rows, manifest, split, needed=("dev", "test"))
    documents: dict[str, tuple[Utterance, ...]] = {name: parts[name] for name in ("dev", "test")}
    if source.documents is not None:
        documents = concatenated(documents, source.documents, cache_dir=cache_dir, where=where)
    queries: dict[str, tuple[Utterance, ...]] = {}
    for name, wanted, count in (("dev", spec.dev, spec.n_dev), ("test", spec.test, spec.n_test)):
        lines = [u for u, row in zip(utterances, rows, strict=True) if row.values[spec.column] in wanted]
        if not lines:
            raise ManifestError(
                f"{manifest.path}: no query for {name}: column {spec.column!r} never holds "
                f"{' or '.join(map(repr, wanted))}."
            )
        taken = {u.id for part in queries.values() for u in part}
        queries[name] = drawn_queries(lines, count, seed=spec.seed, taken=taken)
        documents[name], queries[name] = related(documents[name], queries[name], where=where)
    return Fold(
        name="all",
        train=(),
        dev=documents["dev"],
        test=documents["test"],
        dev_queries=queries["dev"],
        queries=queries["test"],
    )


def _recordings(spec: Recordings, data_root: Path, turns: _Turns) -> tuple[Utterance, ...]:
    manifest = read_manifest(data_root / spec.manifest)
    manifest.require([spec.rttm], purpose="recordings.rttm")
    root = manifest.path.parent
    return tuple(
        Utterance(
            id=row.id, path=row.audio_path(root), target="", speaker=None, seconds=row.seconds, source=row.source,
            segments=turns.of(row, root, row.values[spec.rttm]),
        )
        for row in manifest.rows
    )  # fmt: skip


class _Turns:
    """Reads the reference diarizations of a data root, and counts the lines that are no turns."""

    def __init__(self, data_root: Path) -> None:
        self._data_root = data_root
        self.passed_over: Counter[str] = Counter()

    def of(self, row: ManifestLine, root: Path, rttm: str) -> tuple[Segment, ...]:
        """The turns of a line's recording.

        Raises:
            ManifestError: the RTTM file lies outside the data root, or see `read_rttm`.
            AudioError: the recording cannot be read.
        """
        if not rttm.strip() or Path(rttm).is_absolute() or escapes(f"{root.relative_to(self._data_root)}/{rttm}"):
            raise ManifestError(
                f"{row.source}: the RTTM path {rttm!r} leaves the data root {self._data_root}. Give a path inside it, "
                "relative to the audio."
            )
        seconds = length(row.audio_path(root), source=row.source).seconds
        return read_rttm(root / rttm, seconds=seconds, passed_over=self.passed_over)

    def notes(self) -> list[str]:
        """How many lines were passed over; none if none was."""
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(self.passed_over.items()))
        return [f"lines of RTTM files that are no turns were passed over: {kinds}"] if kinds else []


def _noises(source: TaskSource) -> Sequence[str]:
    return source.silence.noise if source.silence else ()


def _kept(manifest: Manifest, source: TaskSource) -> list[ManifestLine]:
    manifest.require(source.columns, purpose="target")
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


def _utterances(
    rows: Sequence[ManifestLine], source: TaskSource, root: Path, manifest: Manifest, turns: _Turns
) -> tuple[Utterance, ...]:
    if source.speaker is not None:
        manifest.require([source.speaker], purpose="speaker")
    return tuple(_utterance(row, source, root, manifest, turns) for row in rows)


def _utterance(row: ManifestLine, source: TaskSource, root: Path, manifest: Manifest, turns: _Turns) -> Utterance:
    target, path = target_of(row, source, manifest), row.audio_path(root)
    diarized = source.target_kind == "rttm"
    return Utterance(
        id=row.id,
        path=path,
        target="" if diarized else target,
        speaker=row.values.get(source.speaker or "speaker") or (target if source.speaker_is_target else None),
        seconds=row.seconds,
        source=row.source,
        segments=turns.of(row, root, target) if diarized else (),
    )


def _split(
    utterances: Sequence[Utterance],
    rows: Sequence[ManifestLine],
    manifest: Manifest,
    split: Split,
    needed: Sequence[str] = ("train", "dev", "test"),
) -> dict[str, tuple[Utterance, ...]]:
    manifest.require([split.column], purpose="split.column")
    found = Counter(row.values[split.column] for row in rows)
    parts = {}
    for name, wanted in (("train", split.train), ("dev", split.dev), ("test", split.test)):
        parts[name] = tuple(u for u, row in zip(utterances, rows, strict=True) if row.values[split.column] in wanted)
        if not parts[name] and name in needed:
            raise ManifestError(
                f"{manifest.path}: no utterance for {name}: column {split.column!r} never holds "
                f"{' or '.join(map(repr, wanted))}. "
                f"{suggest(wanted[0], found)}It holds: {', '.join(f'{v} ({n})' for v, n in sorted(found.items()))}."
            )
    return parts
