"""A model card: what a model is, where it comes from, how large and how good it is. Says what is not known."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tabulate import tabulate

from skill_bench.base import escape
from skill_bench.base.strict_json import parse_json
from skill_bench.records.record import Record
from skill_bench.records.similarity import CARRIED
from skill_bench.report.render.card_header import UNKNOWN, header
from skill_bench.report.render.render import markdown
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import Collection
from skill_bench.report.table.table import Table

_SHOWN = (
    CARRIED, "similarity", "recipe", "title", "licence", "attribution", "data", "datasets", "languages", "teacher",
    "n_parameters",
)  # fmt: skip


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
) -> str:
    """Markdown with the hub's header.

    Args:
        metadata: what the checkpoint says of itself.
        collections: records of any models; those of this one (equal ``sha256``) are shown.
        runs_code: whether AutoModel runs the code that lies beside the weights.
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
        header(title=title, family=family, metadata=metadata, table=table, runs_code=runs_code),
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
    def is_own(record: Record) -> bool:
        # A graph made from these weights is a file of its own, with scores of its own.
        return record.system.checkpoint_sha256 == sha256 and "graph_precision" not in record.system.details

    found = [collection.where(is_own) for collection in collections]
    return build([replace(collection, problems=()) for collection in found])


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
