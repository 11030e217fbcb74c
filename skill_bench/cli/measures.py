"""``skill-bench profile`` and ``fidelity``: what a model costs, and how much of its teacher a student keeps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skill_bench.base.counted import counted
from skill_bench.base.filled import COLUMNS, filled
from skill_bench.cli.options import Checkpoint, DataPaths, Device, OutDir, Upstream

if TYPE_CHECKING:
    from skill_bench.records.fidelity import R2, Fidelity
    from skill_bench.records.profile import Profile

_MODEL = "Name in `skill-bench list`, hf:ORG/MODEL, or checkpoint of any readable format"


def profile(
    upstream: Upstream,
    ckpt: Checkpoint = None,
    out: OutDir = Path("results"),
    batch_size: Annotated[int, typer.Option(min=1, help="Utterances side by side, for throughput and memory.")] = 1,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of these utterances.")] = 10.0,
    repeats: Annotated[int, typer.Option(min=1, help="Timed repeats after warm-up.")] = 5,
    device: Device = "cpu",
) -> None:
    """Measure parameters, multiply-adds of the challenge's 32 utterances, throughput, memory, file, cold start."""
    from skill_bench.api.profile import profile as measure

    measured = measure(
        upstream, ckpt=ckpt, batch_size=batch_size, utterance_seconds=seconds, n_repeats=repeats, device=device
    )
    path = measured.write(measured.path(out))
    for line in cost_lines(measured):
        typer.echo(filled(line, hanging=13))
    typer.echo(f"written to {path}")


def cost_lines(profile: Profile) -> list[str]:
    """The measurements as text, one a line; what is absent says why."""
    shown = [f"{profile.system.title} ({profile.system.name})"]
    if profile.parameters is not None:
        shown.append(f"parameters   {profile.parameters.total:,} ({profile.parameters.n_bytes / 1e6:.1f} MB in memory)")
    if profile.macs is not None:
        buckets = " / ".join(f"{value / 1e9:.2f}" for value in profile.macs.superb_buckets)
        shown.append(f"MACs         {profile.macs.total / 1e9:.2f} G")
        shown.append(f"MACs, SUPERB {profile.macs.superb / 1e9:.2f} G ({buckets})")
    if (speed := profile.throughput) is not None:
        shown.append(
            f"throughput   {speed.median:.1f} audio-seconds per second "
            f"(min {speed.minimum:.1f}, max {speed.maximum:.1f}; "
            f"{speed.batch_size} x {speed.utterance_seconds:g} s, "
            f"{speed.dtype}, {speed.device}, {counted(speed.n_threads, 'thread')})"
        )
    if (factor := profile.real_time_factor) is not None:
        shown.append(f"real time    factor {factor:.4f}, one thread")
    if (memory := profile.memory) is not None:
        shown.append(
            f"peak memory  {memory.peak_bytes / 2**20:.1f} MiB above the weights' {memory.weight_bytes / 2**20:.1f}"
        )
    if profile.disk_bytes is not None:
        shown.append(f"file         {profile.disk_bytes / 1e6:.2f} MB")
    if (start := profile.cold_start) is not None:
        shown.append(
            f"cold start   {start.median:.2f} s to the end of a first utterance of {start.utterance_seconds:g} s"
        )
    return shown + [f"{name}: {reason}" for name, reason in profile.reasons.items()]


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
    for line in fidelity_lines(found):
        typer.echo(filled(line))
    for one in found:
        typer.echo(f"written to {one.write(one.path(out))}")


def fidelity_lines(found: Sequence[Fidelity]) -> list[str]:
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
