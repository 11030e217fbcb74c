"""What is known of a distilled student beside its scores: how alike its teacher's layers are, and how it learnt."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from skill_bench.base import catalog
from skill_bench.base.archive import find
from skill_bench.base.documents import parse_json
from skill_bench.base.errors import DataError, RecordError
from skill_bench.layers.cluster import cluster
from skill_bench.records.record import System
from skill_bench.records.similarity import CARRIED, LINKAGES, SIMILARITY_FILE, LayerSimilarity, Similarity
from skill_bench.report.render.curves import Columns, read_log, write_curves
from skill_bench.report.render.heat_map import write_figures
from skill_bench.report.table.entry import newest
from skill_bench.report.table.table import Table

STAGES = ("joint", "final")
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


def layers_alike(system: System) -> Similarity | None:
    """The similarity of its teacher's layers that a student carries, with its own groups; None if it carries none.

    Raises:
        RecordError: they are there, and are not what the distiller writes.
    """
    details = system.details
    if not isinstance(details.get(CARRIED, details.get("similarity")), str):
        return None
    try:
        groups = tuple(tuple(int(layer) for layer in group) for group in parse_json(str(details["layer_groups"])))
        found = _carried(system) if CARRIED in details else _of_earlier_versions(system)
        return found.model_copy(update={"groups": groups})
    except (RecordError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise RecordError(
            f"{system.title}: the similarity in its checkpoint cannot be used ({error!r}). "
            "Expected a square matrix and layer_groups, as `skill-bench distill` writes them."
        ) from error


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


def learning(system: System) -> dict[str, Columns]:
    """The logs of the stages whose CSV files lie beside an upstream's weights, or in an archive of all, in order.

    Looks into ``upstreams/`` of the working directory, and at the bundled ones, under the system's name and under its
    recipe's. Other weights under that name (``--ckpt``, another seed) have no curves.

    Raises:
        RecordError: such a file is damaged.
    """
    names = [system.name, str(system.details.get("evidence_row", system.name))]
    for name in (name for name in names if Path(name).name == name):  # no hf:ORG/MODEL, and no path in a record
        folders = [Path("upstreams") / name]
        if name in catalog.names("upstreams"):
            folders.append(catalog.entry("upstreams", name))
        for folder in folders:
            if _is_of(system, folder / f"{folder.name}.safetensors"):
                logs = {stage: find(folder.parent, f"{folder.name}/{stage}.csv") for stage in STAGES}
                return {stage: _stage(path) for stage, path in logs.items() if path is not None}
    return {}


def _is_of(system: System, weights: Path) -> bool:
    """Whether ``weights`` came out of the training that the system's record describes."""
    try:
        with safe_open(weights, framework="numpy") as file:
            said = file.metadata() or {}
    except (OSError, SafetensorError):
        return False
    return all(name in said and system.details.get(name) == said[name] for name in _OF_ONE_TRAINING)


def _stage(path: Path) -> Columns:
    try:
        found = read_log(path)
        if not all(np.isfinite(found[name]).all() for name in ("update", "loss")):
            raise ValueError("a value is not finite")
        return found
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise RecordError(
            f"{path}: not a training log ({error!r}). Expected columns update, loss, sparsity."
        ) from error
    except DataError as error:
        raise RecordError(f"{path}: holds no update. Delete it, or copy the whole log here.") from error


def write_distilled(folder: Path, *, title: str) -> list[Path]:
    """Draws what the work folder of a distillation holds; returns the paths of the curves."""
    if (similarity := folder / SIMILARITY_FILE).is_file():
        write_figures(LayerSimilarity.read(similarity), folder / "similarity")
    logs = [folder / f"{stage}.csv" for stage in ("joint", "final")]
    return list(write_curves([log for log in logs if log.exists()], folder / "curves", title=title))
