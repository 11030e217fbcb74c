"""``skill-bench fidelity``: how much of its teacher a student keeps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skill_bench.base.counted import counted
from skill_bench.base.filled import COLUMNS, filled
from skill_bench.cli.options import DataPaths, Device, OutDir

if TYPE_CHECKING:
    from skill_bench.records.fidelity import R2, Fidelity

_MODEL = "Name in `skill-bench list`, hf:ORG/MODEL, or checkpoint of any readable format"


def fidelity(
    teacher: Annotated[str, typer.Option(help=f"{_MODEL}.")],
    student: Annotated[list[str], typer.Option(help=f"{_MODEL}; repeat for several, heard in the same pass.")],
    data: DataPaths,
    out: OutDir = Path("results"),
    corpus: Annotated[str | None, typer.Option(help="What to call the speech; default: the names of --data.")] = None,
    split: Annotated[
        str, typer.Option(help="Of manifests and LibriSpeech trees, the part to hear; all: everything.")
    ] = "test",
    folds: Annotated[int, typer.Option(help="Of speakers; each is predicted by regressions on the others.")] = 5,
    groups: Annotated[
        int, typer.Option(help="Of speakers, for intervals; memory grows with them, and not with the speech.")
    ] = 20,
    device: Device = "cpu",
) -> None:
    """Measure how much of its teacher's layers a student's layers tell, on speech that neither was trained on."""
    name = corpus or "+".join(path.resolve().parent.name if path.is_file() else path.resolve().name for path in data)

    from skill_bench.cli.console import ConsoleProgress
    from skill_bench.corpora.listing import list_audio
    from skill_bench.fidelity.measure import measure
    from skill_bench.upstream.load import load_model

    models = [load_model(model).to(device) for model in (teacher, *student)]
    with ConsoleProgress() as progress:
        found = measure(
            models[0],
            models[1:],
            list_audio(data, split=None if split == "all" else split),
            corpus=name,
            n_folds=folds,
            n_groups=groups,
            progress=progress,
        )
    for line in lines(found):
        typer.echo(filled(line))
    for one in found:
        typer.echo(f"written to {one.write(one.path(out))}")


def lines(found: Sequence[Fidelity]) -> list[str]:
    """Students of one pass as text: means first, then each layer's whitened R2, then how they differ from the first."""
    from skill_bench.fidelity.interval import difference

    first = found[0]
    shown = [
        f"{first.corpus}: {counted(first.n_utterances, 'utterance')}, {first.audio_seconds / 60:.1f} min, "
        f"{counted(first.n_speakers, 'speaker')} in {counted(first.settings.n_groups, 'group')}; "
        f"teacher {first.teacher.name}; R2 [95 % over speakers]",
    ]
    readings = [(f"{one.student.name}, {reading.mapping}", reading) for one in found for reading in one.readings]
    means = ("whitened", [_text(r.whitened) for _, r in readings]), ("plain", [_text(r.plain) for _, r in readings])
    n_layers = len(first.readings[0].layers)
    layers = [(f"h{at}", [f"{r.layers[at].whitened.value:.3f}" for _, r in readings]) for at in range(n_layers)]
    shown += _panels(("student, layers", [name for name, _ in readings]), means)
    shown += _panels(("whitened, by layer", [name for name, _ in readings]), layers)
    if len(found) > 1:
        width = max(len(one.student.name) for one in found)
        shown += ["", f"whitened, less that of {first.student.name} on the same speakers"]
        shown += [f"{one.student.name:<{width}}  {_text(difference(one, first), sign='+')}" for one in found[1:]]
    return [*shown, *(f"note: {note}" for note in dict.fromkeys(note for one in found for note in one.notes))]


Texts = tuple[str, Sequence[str]]
"""A column: its heading, and a text for each row."""


def _panels(first: Texts, others: Sequence[Texts]) -> list[str]:
    """Columns as text, as many side by side as a terminal holds, the first at the head of every panel."""
    from skill_bench.report.render.layout import panels

    widths = [max(map(len, (heading, *texts))) for heading, texts in (first, *others)]
    shown = []
    for panel in panels([width + 2 for width in widths[1:]], COLUMNS - widths[0]):
        columns = [(widths[0], first), *((widths[1 + at], others[at]) for at in panel)]
        shown += ["", "  ".join(f"{heading:<{width}}" for width, (heading, _) in columns).rstrip()]
        for row in range(len(first[1])):
            shown.append("  ".join(f"{texts[row]:<{width}}" for width, (_, texts) in columns).rstrip())
    return shown


def _text(r2: R2, *, sign: str = "") -> str:
    return f"{r2.value:{sign}.4f} [{r2.low:{sign}.4f}, {r2.high:{sign}.4f}]"
