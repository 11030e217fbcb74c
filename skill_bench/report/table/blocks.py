"""Which records may stand in one table: equal suite, protocol, and, task by task, equal version, data and settings."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product

from skill_bench.base.hashed import digest
from skill_bench.records.record import Record, settings
from skill_bench.report.table.entry import FoundRecord

Variant = tuple[int, str, str]
"""A task's version, the fingerprint of its data, and a hash of the settings that decide a score."""
SystemId = tuple[str, str, str]
"""Where its records are from, its name, its identity."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """Comparable records by system. ``label`` names what sets the block apart from the others."""

    label: str
    suite: str
    protocol: str
    synthetic: bool
    systems: Mapping[SystemId, tuple[FoundRecord, ...]]


def split(entries: Iterable[FoundRecord]) -> list[Block]:
    """Blocks of records, in order of suite and protocol.

    Where a task occurs in several variants, each combination that a system has makes a block of its own; a system that
    lacks that task stands in every block that its other tasks allow. Failed records that name no data go everywhere.
    """
    groups: dict[tuple[str, str], list[FoundRecord]] = defaultdict(list)
    for entry in entries:
        groups[entry.record.key.suite, entry.record.key.protocol].append(entry)
    return [block for group in sorted(groups) for block in _split_group(*group, groups[group])]


def variant(record: Record) -> Variant | None:
    """The record's task variant; None where a run failed before it had data."""
    if record.data is None:
        return None
    # A title or a note may change; what decides the score may not, even if somebody forgot to raise the version.
    text = json.dumps(settings(record.task_spec), sort_keys=True)
    return record.key.task_version, record.data.fingerprint, digest(text)


def _split_group(suite: str, protocol: str, entries: list[FoundRecord]) -> list[Block]:
    variants: dict[str, set[Variant]] = defaultdict(set)
    systems: dict[SystemId, list[FoundRecord]] = defaultdict(list)
    for entry in entries:
        record = entry.record
        systems[entry.origin, record.key.upstream, record.system.identity].append(entry)
        if (found := variant(record)) is not None:
            variants[record.key.task].add(found)
    disputed = {task for task, found in variants.items() if len(found) > 1}
    blocks = []
    for combination in _combinations(systems.values(), disputed):
        chosen = {id_: _fitting(own, combination) for id_, own in systems.items()}
        fitting = {id_: own for id_, own in chosen.items() if own}
        everything = [entry.record for own in fitting.values() for entry in own]
        blocks.append(
            Block(
                label=_label(suite, protocol, combination, synthetic=_synthetic(everything)),
                suite=suite,
                protocol=protocol,
                synthetic=_synthetic(everything),
                systems=fitting,
            )
        )
    return blocks


def _combinations(systems: Iterable[list[FoundRecord]], disputed: set[str]) -> list[dict[str, Variant]]:
    """The variants of the disputed tasks that some system has, without those that are part of a fuller one."""
    found: list[dict[str, Variant]] = []
    for entries in systems:
        own = [entry.record for entry in entries]
        by_task = {
            task: sorted({v for r in own if r.key.task == task and (v := variant(r)) is not None}) for task in disputed
        }
        present = sorted(task for task, options in by_task.items() if options)
        for choice in product(*(by_task[task] for task in present)):
            combination = dict(zip(present, choice, strict=True))
            if combination not in found:
                found.append(combination)
    full = [one for one in found if not any(one.items() < other.items() for other in found)]
    return sorted(full, key=lambda one: sorted(one.items())) or [{}]


def _fitting(own: list[FoundRecord], combination: Mapping[str, Variant]) -> tuple[FoundRecord, ...]:
    """The system's records that belong into the block; none if it has a disputed task in other variants only."""
    fits = [_fits(entry.record, combination) for entry in own]
    fitting = [entry for entry, fit in zip(own, fits, strict=True) if fit]
    left_out = {entry.record.key.task for entry, fit in zip(own, fits, strict=True) if not fit}
    elsewhere = left_out - {entry.record.key.task for entry in fitting}
    return () if elsewhere else tuple(fitting)


def _fits(record: Record, combination: Mapping[str, Variant]) -> bool:
    found = variant(record)
    return found is None or found == combination.get(record.key.task, found)


def _synthetic(records: list[Record]) -> bool:
    return any(record.data is not None and record.data.synthetic for record in records)


def _label(suite: str, protocol: str, combination: Mapping[str, Variant], *, synthetic: bool) -> str:
    parts = [f"{suite} ({'synthetic' if synthetic else 'recorded'} speech)", f"protocol {protocol}"]
    parts += [
        f"{task} version {version} on data {fingerprint[:8]} with settings {settings[:8]}"
        for task, (version, fingerprint, settings) in sorted(combination.items())
    ]
    return ", ".join(parts)
