"""From rows to folds: which utterances are train, dev and test, and a small fair part of them.

And utterances without speech, cut from noise recordings: the ``_silence_`` class of keyword spotting.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from skill_bench.base.errors import ManifestError
from skill_bench.base.hashed import digest
from skill_bench.corpora.audio.content import content_hashes
from skill_bench.corpora.audio.decode import length
from skill_bench.corpora.data import Fold, Trial, Utterance
from skill_bench.corpora.described.tables import Folds, Silence

# Shares of each noise recording; crops of one split never touch another's stretch, so test noise was not trained on.
_STRETCHES = {"train": (0.0, 0.6), "dev": (0.6, 0.8), "test": (0.8, 1.0)}


def limited(
    utterances: Sequence[Utterance], limit: int | None, *, by_target: bool, first: Collection[str] = ()
) -> tuple[Utterance, ...]:
    """At most ``limit`` utterances, chosen by a hash of their ids: the same ones in any order, on any machine.

    With ``by_target`` every target is there before any comes twice, those in ``first`` before the others, and beyond
    that each has its share. A smaller limit gives a subset of a larger one's. The order of ``utterances`` is kept.
    """
    if limit is None or len(utterances) <= limit:
        return tuple(utterances)
    strata: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        strata[utterance.target if by_target else ""].append(utterance)
    order: dict[str, tuple[float, str]] = {}
    for target, members in strata.items():
        for position, member in enumerate(sorted(members, key=lambda u: digest(u.id))):
            if by_target and position == 0:
                # Targets are entered in the order of their own hash, so that every split enters the same ones first.
                order[member.id] = (-1.0 if target in first else 0.0, digest(target))
            else:
                order[member.id] = ((position + 0.5) / len(members), digest(member.id))
    chosen = {u.id for u in sorted(utterances, key=lambda u: order[u.id])[:limit]}
    return tuple(u for u in utterances if u.id in chosen)


def cross_validation(
    utterances: Sequence[Utterance], value_of: Callable[[Utterance], str], folds: Folds
) -> tuple[Fold, ...]:
    """One fold a value, in sorted order: its utterances are the test part, ``dev_fraction`` of the others are dev.

    Dev is a random draw from the training part, by a hash of seed, fold and id; as in s3prl's emotion task its
    speakers also occur in train, and those of test in neither.
    """
    made = []
    for value in sorted({value_of(u) for u in utterances}):
        rest = [u for u in utterances if value_of(u) != value]
        n_dev = max(1, round(folds.dev_fraction * len(rest))) if len(rest) > 1 else 0
        drawn = sorted(rest, key=lambda u, value=value: digest(f"{folds.seed}:{value}:{u.id}"))[:n_dev]  # type: ignore[misc]
        dev = {u.id for u in drawn}
        made.append(
            Fold(
                name=value,
                train=tuple(u for u in rest if u.id not in dev),
                dev=tuple(u for u in rest if u.id in dev),
                test=tuple(u for u in utterances if value_of(u) == value),
            )
        )
    return tuple(made)


def limited_fold(fold: Fold, limit: int | None, *, closed: bool) -> Fold:
    """At most ``limit`` utterances in each part, as many queries, and the trials that are left.

    Args:
        fold: The whole.
        limit: None leaves it as it is.
        closed: Targets are a closed set of labels: dev and test keep to those that train still has, so that the fold
            stays a task. Labels joined by ``|`` are looked at one by one.
    """
    if limit is None:
        return fold
    # A target that dev or test lacks would be a class that nothing is measured on.
    everywhere = set.intersection(*({u.target for u in part} for _, part in fold.splits()))
    train = limited(fold.train, limit, by_target=closed, first=everywhere)
    known = {item for u in train for item in enumerate(u.target.split("|"))}

    def held_out(part: tuple[Utterance, ...]) -> tuple[Utterance, ...]:
        usable = [u for u in part if not closed or known.issuperset(enumerate(u.target.split("|")))]
        return limited(usable, limit, by_target=closed)

    if fold.trials:
        dev, dev_trials = limited_trials(fold.dev, fold.dev_trials, limit)
        test, trials = limited_trials(fold.test, fold.trials, limit)
        return replace(fold, train=train, dev=dev, test=test, dev_trials=dev_trials, trials=trials)
    if fold.queries:
        dev, dev_queries = limited_search(fold.dev, fold.dev_queries, limit, n_queries=limit)
        test, queries = limited_search(fold.test, fold.queries, limit, n_queries=limit)
        return replace(fold, train=train, dev=dev, test=test, dev_queries=dev_queries, queries=queries)
    return replace(fold, train=train, dev=held_out(fold.dev), test=held_out(fold.test))


def limited_trials(
    part: Sequence[Utterance], trials: Sequence[Trial], limit: int
) -> tuple[tuple[Utterance, ...], tuple[Trial, ...]]:
    """Trials of both kinds in turn, by a hash, while they name at most ``limit`` utterances (two at least)."""
    order = dict.fromkeys((True, False), 0)
    ranked = []
    for trial in sorted(trials, key=lambda t: digest(f"{t.enrolment}:{t.test}")):
        order[trial.same] += 1
        ranked.append((order[trial.same], trial.same, trial))
    named: set[str] = set()
    kept: set[Trial] = set()
    for _, _, trial in sorted(ranked, key=lambda item: item[:2]):
        wanted = named | {trial.enrolment, trial.test}
        if len(wanted) <= max(limit, 3):
            named, kept = wanted, kept | {trial}
    return tuple(u for u in part if u.id in named), tuple(t for t in trials if t in kept)


def limited_search(
    documents: Sequence[Utterance], queries: Sequence[Utterance], limit: int, *, n_queries: int
) -> tuple[tuple[Utterance, ...], tuple[Utterance, ...]]:
    """Queries by a hash, and documents of which those that hold one come first."""
    wanted = {u.id for u in limited(queries, n_queries, by_target=True)}
    narrowed = [replace(d, target=" ".join(q for q in d.target.split() if q in wanted)) for d in documents]
    kept = limited(narrowed, limit, by_target=True)
    held = {query for document in kept for query in document.target.split()}
    return kept, tuple(q for q in queries if q.id in held)


def folds_fingerprint(folds: Sequence[Fold], *, cache_dir: Path) -> str:
    """sha256 over everything that was chosen, and over the content of every audio file.

    It changes with the choice of utterances, a label, a split, a segment, a trial, a query, an imitated condition or a
    byte of the audio; not with their order or place on disk. Hashes of contents are kept in ``cache_dir``.
    """
    hashes = content_hashes(
        (u.path for fold in folds for _, part in _all_parts(fold) for u in part), cache_dir=cache_dir
    )
    facts = [
        "\t".join(
            (
                fold.name, split, u.id, u.target, f"{u.start_frame}+{u.n_frames}", hashes[u.path],
                *(f"{s.speaker} {s.start_seconds} {s.end_seconds}" for s in u.segments),
                *([repr(u.conditions)] if u.conditions else []),
            )
        )
        for fold in folds
        for split, part in _all_parts(fold)
        for u in part
    ]  # fmt: skip
    facts += [
        "\t".join((fold.name, split, str(trial.same), trial.enrolment, trial.test))
        for fold in folds
        for split, trials in (("dev", fold.dev_trials), ("test", fold.trials))
        for trial in trials
    ]
    return digest("\n".join(sorted(facts)))


def _all_parts(fold: Fold) -> Iterator[tuple[str, tuple[Utterance, ...]]]:
    yield from fold.splits()
    yield from (("dev queries", fold.dev_queries), ("queries", fold.queries))


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
