"""The header of a model card, as the Hugging Face hub reads it: licence, origin, and scores as its model-index."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from skill_bench.base import escape
from skill_bench.report.table.score import WHOLE_SUPERB
from skill_bench.report.table.table import Section, SystemRow, Table

LICENCES = (
    "mit", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "mpl-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "cc0-1.0",
    "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0",
    "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0",
)  # fmt: skip
"""What the hub has a name for, of the licences that weights are usually under; any other is ``other`` and its text."""
UNKNOWN = "not stated"
_TASKS = {"ctc": "automatic-speech-recognition", "diarization": "voice-activity-detection"}
_OTHER_TASKS = "audio-classification"
_LONG = 200


def header(*, title: str, family: str, metadata: Mapping[str, str], table: Table, runs_code: bool) -> str:
    """YAML between two lines of dashes; what is not known is left out.

    Args:
        metadata: what the checkpoint says of itself: licence, teacher, datasets, languages (lists with commas).
        table: the model's own scores.
        runs_code: whether the folder holds code that AutoModel runs.
    """
    found: dict[str, Any] = _licence(metadata.get("licence", UNKNOWN)) | {
        "library_name": "transformers",
        "pipeline_tag": "feature-extraction",
        "tags": ["speech", family, "skill-bench", *(["custom_code"] if runs_code else [])],
        "language": _listed(metadata, "languages"),
        "datasets": _listed(metadata, "datasets"),
        "base_model": _repository(metadata.get("teacher", "")),
        "metrics": sorted({column.metric for section in table.sections for column in section.shown}),
    }
    if results := list(_results(table)):
        found["model-index"] = [{"name": title, "results": results}]
    return "\n".join(["---", *(f"{key}: {_yaml(value)}" for key, value in found.items() if value), "---"])


def _licence(text: str) -> dict[str, str]:
    name = re.sub(r"\s+", "-", text.strip().lower())
    return {"license": name} if name in LICENCES else {"license": "other", "license_name": text}


def _listed(metadata: Mapping[str, str], key: str) -> list[str]:
    return [part.strip() for part in metadata.get(key, "").split(",") if part.strip()]


def _repository(teacher: str) -> str | None:
    """The teacher's name where the hub could know it: ``hf:ORG/MODEL@REVISION``, ``ORG/MODEL`` or a bare name."""
    match = re.fullmatch(r"(?:hf:)?([\w.-]+(?:/[\w.-]+)?)(?:@[\w./-]+)?", teacher)
    return None if match is None else match[1]


def _results(table: Table) -> Iterator[dict[str, Any]]:
    for section in table.sections:
        for row in section.rows:
            for task in section.tasks:
                metrics = _metrics(section, row, task)
                if metrics:
                    yield {"task": _task(row, task), "dataset": _dataset(section, task), "metrics": metrics}


def _metrics(section: Section, row: SystemRow, task: str) -> list[dict[str, Any]]:
    return [
        {"type": column.metric, "value": round(row.scores[column.name].value, 4), "name": column.label}
        for column in section.shown
        if column.task == task and column.name in row.scores
    ]


def _task(row: SystemRow, task: str) -> dict[str, str]:
    spec = next(entry.record.task_spec for entry in row.entries if entry.record.key.task == task)
    return {"type": _TASKS.get(str(spec.get("kind")), _OTHER_TASKS), "name": str(spec.get("title", task))}


def _dataset(section: Section, task: str) -> dict[str, str]:
    return {
        "type": "s3prl/superb" if section.suite in WHOLE_SUPERB else f"skill-bench-{section.suite}",
        "name": section.label,
        "config": task,
        "split": "test",
    }


def _yaml(value: Any) -> str:
    """JSON is YAML, but for characters that YAML refuses; what would be a long line is indented below its key."""
    flat = escape.xml(escape.one_line(json.dumps(value, ensure_ascii=False)))
    if len(flat) <= _LONG:
        return flat
    return textwrap.indent(json.dumps(json.loads(flat), indent=1, ensure_ascii=False), "  ").lstrip()
