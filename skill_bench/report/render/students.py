"""What is known of a distilled student beside its scores: how alike its teacher's layers are, and how it learnt."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from skill_bench.base import catalog
from skill_bench.base.errors import RecordError
from skill_bench.layers.cluster import cluster
from skill_bench.records.record import System
from skill_bench.records.similarity import LINKAGES
from skill_bench.report.table.table import Row, Table

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
                part(newest_system(row))
            except RecordError as error:
                found[str(error)] = None
    return replace(table, problems=tuple(found))


def newest_system(row: Row) -> System:
    """What the newest record of a measured row says of its system."""
    return max((entry.record for entry in row.entries), key=lambda record: record.provenance.started_at).system


def layers_alike(system: System) -> Json | None:
    """The similarity matrix, the groups and the merges that a student's checkpoint carries; None if it has none.

    Raises:
        RecordError: they are there, and are not what the distiller writes.
    """
    details = system.details
    if not isinstance(text := details.get("similarity"), str):
        return None
    try:
        matrix = np.array(json.loads(text), dtype=np.float64)
        groups = [[int(layer) for layer in group] for group in json.loads(str(details["layer_groups"]))]
        clustering = json.loads(str(details.get("recipe", "{}"))).get("groups") or {}
        linkage = LINKAGES[LINKAGES.index(clustering.get("linkage", "average"))]
        contiguous = clustering.get("contiguous", True)
        tree = cluster(matrix, n_groups=1, linkage_method=linkage, contiguous=contiguous).tree
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise RecordError(
            f"{system.title}: the similarity in its checkpoint cannot be used ({error!r}). "
            "Expected a square matrix and layer_groups, as `skill-bench distill` writes them."
        ) from error
    merges = [[float(value) for value in merge] for merge in tree]
    return {"matrix": matrix.tolist(), "groups": groups, "tree": merges, "measure": clustering.get("measure", "cka")}


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
