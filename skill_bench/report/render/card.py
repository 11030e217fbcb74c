"""A model card: what a model is, where it comes from, how large and how good it is. Says what is not known.

Its header is as the Hugging Face hub reads it: licence, origin, and scores as its model-index.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tabulate import tabulate

from skill_bench.base import escape
from skill_bench.base.documents import parse_json
from skill_bench.records.record import Record
from skill_bench.records.similarity import CARRIED
from skill_bench.report.render.render import markdown
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import Collection
from skill_bench.report.table.quantities import WHOLE_SUPERB
from skill_bench.report.table.table import Section, SystemRow, Table
from skill_bench.report.table.telling import Lead, with_telling_tasks
from skill_bench.report.table.uncertainty import leads_of

_SHOWN = (
    CARRIED, "similarity", "recipe", "title", "licence", "attribution", "data", "datasets", "languages", "teacher",
    "n_parameters",
)  # fmt: skip
LICENCES = (
    "mit", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "mpl-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "cc0-1.0",
    "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0",
    "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0",
)  # fmt: skip
"""What the hub has a name for, of the licences that weights are usually under; any other is ``other`` and its text."""
UNKNOWN = "not stated"
_LONG = 200


def model_card(
    *,
    title: str,
    sha256: str,
    n_parameters: int,
    n_hidden_states: int,
    dim: int,
    family: str,
    metadata: Mapping[str, str],
    collections: Sequence[Collection],
    runs_code: bool,
    hub_task: Callable[[str], str],
) -> str:
    """Markdown with the hub's header.

    Args:
        metadata: what the checkpoint says of itself.
        collections: records of any models; those of this one (equal ``sha256``) are shown.
        runs_code: whether AutoModel runs the code that lies beside the weights.
        hub_task: what the hub calls the tasks of a kind.
    """
    table = _own(sha256, collections)
    facts = [
        ("architecture", f"{family}, {n_hidden_states} hidden states of width {dim}, 16 kHz, 20 ms a frame"),
        ("parameters", f"{n_parameters:,}" + _compared(n_parameters, metadata)),
        ("teacher", _teacher(metadata)),
        ("recipe", escape.markdown_cell(_recipe_name(metadata))),
        ("training data", escape.markdown_cell(_data(metadata))),
        ("licence", escape.markdown_cell(metadata.get("licence", UNKNOWN))),
        *([("attribution", escape.markdown_cell(metadata["attribution"]))] if "attribution" in metadata else []),
        ("sha256 of architecture and weights", f"`{sha256}`"),
        *(
            (escape.markdown_cell(key.replace("_", " ")), escape.markdown_cell(value))
            for key, value in sorted(metadata.items())
            if _is_short(key, value)
        ),
    ]
    parts = [
        header(
            title=title,
            family=family,
            metadata=metadata,
            table=table,
            runs_code=runs_code,
            hub_task=hub_task,
        ),
        f"# {escape.markdown(title)}",
        tabulate([map(escape.one_line, fact) for fact in facts], ("", ""), "github", disable_numparse=True),
        "## Use\n\n```bash\nskill-bench run --upstream skill --ckpt FOLDER\n```",
    ]
    trust = ", trust_remote_code=True" if runs_code else ""
    parts.append(f'```python\ntransformers.AutoModel.from_pretrained("FOLDER"{trust})\n```')
    if runs_code:
        parts.append(
            "The weights are a skill-bench checkpoint (safetensors): transformers has no place for a pruned shape, so "
            "the code beside them computes it. It needs torch and transformers alone."
        )
    parts += ["## Scores", _scores(table)]
    if "recipe" in metadata:
        parts += ["## Recipe", f"```json\n{_pretty(metadata['recipe'])}\n```"]
    return "\n\n".join(parts) + "\n"


def _own(sha256: str, collections: Sequence[Collection]) -> Table:
    """The model's own rows; their means are over the tasks that count by all records of ``collections``."""

    def is_own(record: Record) -> bool:
        # A graph made from these weights is a file of its own, with scores of its own.
        return record.system.checkpoint_sha256 == sha256 and "graph_precision" not in record.system.details

    found = [replace(collection, problems=()) for collection in collections]
    own = build([collection.where(is_own) for collection in found])
    whole = build(found).sections if own.sections else ()
    return replace(own, sections=tuple(with_telling_tasks(one, _leads(one, whole)) for one in own.sections))


def _leads(own: Section, whole: Sequence[Section]) -> Sequence[Lead]:
    """Of the section of ``whole`` that holds the same records."""
    files = {file for row in own.rows for file in row.files}
    return next((leads_of(one) for one in whole if files <= {file for row in one.rows for file in row.files}), ())


def _scores(table: Table) -> str:
    if not table.sections:
        return "No records of this model were given."
    return re.sub(r"^## ", "### ", markdown(table), flags=re.MULTILINE).rstrip()


def _compared(n_parameters: int, metadata: Mapping[str, str]) -> str:
    teacher = metadata.get("teacher_n_parameters", "")
    if not teacher.isdecimal() or int(teacher) == 0:
        return ""
    return f", {1 - n_parameters / int(teacher):.2%} fewer than its teacher's {int(teacher):,}"


def _teacher(metadata: Mapping[str, str]) -> str:
    named = [escape.markdown_cell(metadata["teacher"])] if "teacher" in metadata else []
    hashed = [f"sha256 `{metadata['teacher_sha256']}`"] if "teacher_sha256" in metadata else []
    return ", ".join(named + hashed) or UNKNOWN


def _recipe_name(metadata: Mapping[str, str]) -> str:
    text = metadata.get("recipe", UNKNOWN)
    try:
        content = parse_json(text)
    except ValueError:
        return text
    return str(content.get("name", "see below")) if isinstance(content, dict) else text


def _data(metadata: Mapping[str, str]) -> str:
    hours = metadata.get("training_hours")
    named = metadata.get("data") or metadata.get("datasets")
    return ", ".join(filter(None, [named, f"{hours} hours of speech" if hours else None])) or UNKNOWN


def _is_short(key: str, value: str) -> bool:
    return key not in _SHOWN and not key.startswith(("teacher_", "training_hours")) and len(value) <= 120


def _pretty(text: str) -> str:
    try:
        content = parse_json(text)
    except ValueError:
        content = text
    # A backtick could end the block that this stands in.
    return json.dumps(content, indent=1, ensure_ascii=False).replace("`", "\\u0060")


def header(
    *,
    title: str,
    family: str,
    metadata: Mapping[str, str],
    table: Table,
    runs_code: bool,
    hub_task: Callable[[str], str],
) -> str:
    """YAML between two lines of dashes; what is not known is left out.

    Args:
        metadata: what the checkpoint says of itself: licence, teacher, datasets, languages (lists with commas).
        table: the model's own scores.
        runs_code: whether the folder holds code that AutoModel runs.
        hub_task: what the hub calls the tasks of a kind.
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
    if results := list(_results(table, hub_task)):
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


def _results(table: Table, hub_task: Callable[[str], str]) -> Iterator[dict[str, Any]]:
    for section in table.sections:
        for row in section.rows:
            for task in section.tasks:
                metrics = _metrics(section, row, task)
                if metrics:
                    spec = next(entry.record.task_spec for entry in row.entries if entry.record.key.task == task)
                    called = {"type": hub_task(str(spec.get("kind"))), "name": str(spec.get("title", task))}
                    yield {"task": called, "dataset": _dataset(section, task), "metrics": metrics}


def _metrics(section: Section, row: SystemRow, task: str) -> list[dict[str, Any]]:
    return [
        {"type": column.metric, "value": round(row.scores[column.name].value, 4), "name": column.label}
        for column in section.shown
        if column.task == task and column.name in row.scores
    ]


def _dataset(section: Section, task: str) -> dict[str, str]:
    return {
        "type": "s3prl/superb" if section.suite == WHOLE_SUPERB else f"skill-bench-{section.suite}",
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
