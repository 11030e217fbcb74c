"""What is known of a distilled student beside its scores: how alike its teacher's layers are, and how it learnt."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from skill_bench.base import catalog
from skill_bench.base.errors import RecordError
from skill_bench.base.strict_json import parse_json
from skill_bench.layers.cluster import cluster
from skill_bench.records.record import System
from skill_bench.records.similarity import CARRIED, LINKAGES, LayerSimilarity, Similarity
from skill_bench.report.table.entry import newest
from skill_bench.report.table.table import Table

Json = dict[str, Any]
STAGES = ("joint", "final")
CURVES = ("loss", "sparsity")
MAX_POINTS = 300
_OF_ONE_TRAINING = ("recipe", "teacher_sha256", "sparsity")


def with_problems(table: Table) -> Table:
    """The table with what is wrong with its students' similarities and curves among its problems."""
    found: dict[str, None] = dict.fromkeys(table.problems)
    for row in (row for section in table.sections for row in section.rows if row.entries):
        for part in (layers_alike, learning):
            try:
                part(newest(row.entries).system)
            except RecordError as error:
                found[str(error)] = None
    return replace(table, problems=tuple(found))


def layers_alike(system: System) -> Json | None:
    """The similarity of its teacher's layers that a student carries, and its groups; None if it carries none.

    Raises:
        RecordError: they are there, and are not what the distiller writes.
    """
    details = system.details
    if not isinstance(details.get(CARRIED, details.get("similarity")), str):
        return None
    try:
        groups = [[int(layer) for layer in group] for group in parse_json(str(details["layer_groups"]))]
        found = _carried(system) if CARRIED in details else _of_earlier_versions(system)
    except (RecordError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise RecordError(
            f"{system.title}: the similarity in its checkpoint cannot be used ({error!r}). "
            "Expected a square matrix and layer_groups, as `skill-bench distill` writes them."
        ) from error
    content = found.model_dump(mode="json")
    return {"matrix": content["matrix"], "groups": groups, "tree": content["tree"], "measure": found.measure}


def _carried(system: System) -> Similarity:
    content = parse_json(str(system.details[CARRIED]))
    return LayerSimilarity.parse(content, source=CARRIED).measures[0]


def _of_earlier_versions(system: System) -> Similarity:
    """From a matrix alone, which says neither how it was measured nor how it was clustered: its recipe does."""
    matrix = np.array(parse_json(str(system.details["similarity"])), dtype=np.float64)
    options = parse_json(str(system.details.get("recipe", "{}"))).get("groups") or {}
    linkage = LINKAGES[LINKAGES.index(options.get("linkage", "average"))]
    found = cluster(matrix, n_groups=1, linkage_method=linkage, contiguous=options.get("contiguous", True))
    return Similarity(
        measure=options.get("measure", "cka"), matrix=matrix.tolist(), tree=found.tree.tolist(), groups=found.groups
    )


def learning(system: System) -> list[Json]:
    """The curves of the stages whose CSV files lie beside an upstream's weights, in order.

    Looks into ``upstreams/`` of the working directory, and at the bundled ones. Other weights under the upstream's name
    (``--ckpt``) have no curves.

    Raises:
        RecordError: such a file is damaged.
    """
    if Path(system.name).name != system.name:  # hf:ORG/MODEL, or a record that means no folder of ours
        return []
    folders = [Path("upstreams") / system.name]
    if system.name in catalog.names("upstreams"):
        folders.append(catalog.entry("upstreams", system.name))
    for folder in folders:
        if _is_of(system, folder / f"{folder.name}.safetensors"):
            return [_stage(stage, folder / f"{stage}.csv") for stage in STAGES if (folder / f"{stage}.csv").is_file()]
    return []


def _is_of(system: System, weights: Path) -> bool:
    """Whether ``weights`` came out of the training that the system's record describes."""
    try:
        with safe_open(weights, framework="numpy") as file:
            said = file.metadata() or {}
    except (OSError, SafetensorError):
        return False
    return all(name in said and system.details.get(name) == said[name] for name in _OF_ONE_TRAINING)


def _stage(name: str, path: Path) -> Json:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
        columns = [column for column in CURVES if rows and column in rows[0]]
        values = np.array([[float(row[column]) for column in ("update", *columns)] for row in rows])
        if not np.isfinite(values).all():
            raise ValueError("a value is not finite")
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise RecordError(
            f"{path}: not a training log ({error!r}). Expected columns update, loss, sparsity."
        ) from error
    if not rows:
        raise RecordError(f"{path}: holds no update. Delete it, or copy the whole log here.")
    width = -(-len(values) // MAX_POINTS)
    shown = [values[start : start + width].mean(axis=0) for start in range(0, len(values), width)]
    points = np.array(shown).round(5)
    return {
        "stage": name,
        "updates_per_point": width,
        "update": points[:, 0].tolist(),
        **{column: points[:, index].tolist() for index, column in enumerate(columns, 1)},
    }
