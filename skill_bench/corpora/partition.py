"""From rows to folds: which utterances are train, dev and test, and a small fair part of them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence

from skill_bench.corpora.data import Fold, Utterance
from skill_bench.corpora.spec import Folds


def limited(utterances: Sequence[Utterance], limit: int | None, *, by_target: bool) -> tuple[Utterance, ...]:
    """At most ``limit`` utterances, chosen by a hash of their ids: the same ones in any order, on any machine.

    With ``by_target`` every target is there before any comes twice, and beyond that each has its share. A smaller limit
    gives a subset of a larger one's. The order of ``utterances`` is kept.
    """
    if limit is None or len(utterances) <= limit:
        return tuple(utterances)
    strata: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        strata[utterance.target if by_target else ""].append(utterance)
    order: dict[str, tuple[float, str]] = {}
    for target, members in strata.items():
        for position, member in enumerate(sorted(members, key=lambda u: digest(u.id))):
            first = by_target and position == 0
            # Targets are entered in the order of their own hash, so that every split enters the same ones first.
            order[member.id] = (0.0, digest(target)) if first else ((position + 0.5) / len(members), digest(member.id))
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


def fingerprint(folds: Sequence[Fold]) -> str:
    """sha256 over the sorted ``(fold, split, id, target, segment, size of the audio file in bytes)``.

    It changes with the choice of utterances, a label, a split or a file's size; not with their order or place on disk.
    """
    facts = sorted(
        "\t".join((fold.name, split, u.id, u.target, f"{u.start_frame}+{u.n_frames}", str(u.path.stat().st_size)))
        for fold in folds
        for split, part in fold.splits()
        for u in part
    )
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def digest(text: str) -> str:
    """A hash that spreads evenly and never changes, unlike `hash`."""
    return hashlib.sha256(text.encode()).hexdigest()
