"""Task files: ``tasks/NAME.toml`` as the specification of its kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import create_model

from skill_bench.base import catalog
from skill_bench.base.errors import SpecError, UnknownName, suggest
from skill_bench.base.specs import read_toml, unknown_key, validate
from skill_bench.evaluation import kinds
from skill_bench.metrics.scales import SCALES
from skill_bench.tasks import TaskSpec, TrainedSpec


def load_task(name: str) -> TaskSpec:
    """The task ``tasks/<name>.toml``.

    Raises:
        UnknownName: no such task; suggests the nearest.
        SpecError: the file is not valid; names the file, the key and the nearest valid key.
    """
    return load_task_file(catalog.entry("tasks", name))


def is_trained(name: str) -> bool:
    """Whether another seed gives another result; what is no task any more is taken to be."""
    try:
        return isinstance(load_task(name), TrainedSpec)
    except UnknownName:
        return True


def load_task_file(path: Path) -> TaskSpec:
    """Reads one task file and checks it, every suite override included.

    Raises:
        SpecError: names the file, the key and the nearest valid key.
    """
    content = read_toml(path)
    _leave_out_what_the_metric_says(content, path)
    model = _model(content, path)
    spec = validate(model, content, source=str(path))
    if spec.name != path.stem:
        raise SpecError(f"{path}: name = {spec.name!r}, but the file says {path.stem!r}. Make them equal.")
    _check_overrides(spec, path)
    for suite in ("", *spec.suites):
        for protocol in (spec.protocol.name, *spec.protocols):
            try:
                spec.for_suite(suite, protocol=protocol)
            except SpecError as error:
                raise SpecError(f"{path}: {error}") from error
    return spec


def _leave_out_what_the_metric_says(content: dict[str, Any], path: Path) -> None:
    """Files of earlier versions had to repeat a metric's direction and unit; they may, as long as it is true."""
    scale = SCALES.get(str(content.get("metric")))
    for key in ("higher_is_better", "unit"):
        if scale is not None and key in content:
            found, right = content.pop(key), getattr(scale, key)
            if found != right:
                metric = content["metric"]
                raise SpecError(
                    f"{path}: {key} = {found!r} is wrong for metric {metric!r}, which says {right!r} itself. "
                    "Leave the key out."
                )


def _model(content: Mapping[str, Any], path: Path) -> type[TaskSpec]:
    """The specification that ``kind`` in the file asks for."""
    known = kinds.names()
    kind = content.get("kind")
    if kind is None:
        anywhere = {key for name in known for key in kinds.load(name).Spec.model_fields}
        for key in content.keys() - anywhere:
            raise SpecError(unknown_key(str(path), [key], TaskSpec))
        raise SpecError(f"{path}: key 'kind': Field required. Kinds are {', '.join(known)}.")
    if kind not in known:
        near = suggest(str(kind), known)
        raise SpecError(f"{path}: unknown kind of task {kind!r}. {near}Kinds are {', '.join(known)}.")
    model = kinds.load(kind).Spec
    for table in content.keys() - model.model_fields.keys():
        owners = [other for other in known if table in kinds.load(other).Spec.tables()]
        if owners:
            belongs = " or ".join(map(repr, owners))
            raise SpecError(f"{path}: [{table}] must be given for kind = {belongs}, and for it alone (found {kind!r}).")
    return model


def _check_overrides(spec: TaskSpec, path: Path) -> None:
    """Every table that suites and protocols override is one of the task, and every key one of its table."""
    tables = spec.tables()
    overridable = create_model("Overridable", **dict.fromkeys(tables, (dict, {})))  # type: ignore[call-overload]
    for group, overrides in (("suites", spec.suites), ("protocols", spec.protocols)):
        for name, override in overrides.items():
            for table, changes in override.items():
                if table not in tables:
                    raise SpecError(unknown_key(str(path), (group, name, table), overridable))
                for key in changes:
                    if key not in tables[table].model_fields:
                        raise SpecError(unknown_key(str(path), (group, name, table, key), tables[table]))
