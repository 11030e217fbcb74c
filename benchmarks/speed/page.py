"""The page ``docs/performance.md``, made of what was measured. Loads no torch."""

from __future__ import annotations

import statistics
import textwrap

from skill_bench.base.counted import counted
from speed.figures import (
    Contest,
    EndToEnd,
    Facts,
    Forecasts,
    Growth,
    Item,
    Measured,
    Speed,
    Timing,
    product_rate,
    rate,
    ratio,
    share_of_floor,
)


def markdown(speed: Speed) -> str:
    """Every item as a section with a table, and why others are missing."""
    hardware, packages = speed.provenance.hardware, speed.provenance.packages
    versions = ", ".join(
        f"{name} {packages[name]}" for name in ("torch", "torchaudio", "transformers", "s3prl") if name in packages
    )
    lines = [
        "# Performance",
        "",
        "Written by `skill-bench bench --markdown docs/performance.md`; run it for your own machine.",
        "",
        *_wrapped(
            f"{hardware.cpu_model or 'unknown processor'}, {hardware.n_cores_usable} cores, "
            f"{', '.join(hardware.gpus or ()) or 'no GPU used'}; {versions}."
        ),
        "",
        *_wrapped(
            "In every round all contestants run one after the other in one process; ratios are taken within a round. "
            "Shown are the median and, in brackets, the smallest and the largest of all rounds. The floor is the time "
            "that the model's multiply-adds, counted on the model as it is written down, would take at the rate of a "
            "large float32 matrix product, measured in the same round."
        ),
    ]
    for measured in speed.items.values():
        lines += ["", *_section(measured)]
    for reason in dict.fromkeys(speed.reasons.values()):  # one section for all that miss the same
        names = [name for name, own in speed.reasons.items() if own == reason]
        first, kinds = names[0].partition("-")[0], {name.partition("-")[0] for name in names}
        title = ", ".join(names)
        if len(kinds) == 1 < len(names):
            title = f"{first.upper()}: {', '.join(name.removeprefix(f'{first}-') for name in names)}"
        lines += ["", f"## {title}", "", *_wrapped(f"Not measured: {reason}")]
    return "\n".join(lines) + "\n"


def _section(measured: Measured) -> list[str]:
    item = measured.item
    load = "" if measured.load_average is None else f", load average {measured.load_average:.1f} when it began"
    threads = counted(measured.n_threads, "thread")
    return [
        f"## {item.name}",
        "",
        *_wrapped(item.what),
        "",
        *_table(item),
        "",
        f"Measured {measured.started_at} with {threads}{load}, in {measured.seconds:.0f} s.",
    ]


def _table(item: Item) -> list[str]:
    match item:
        case Contest():
            return _contest(item)
        case EndToEnd():
            return _end_to_end(item)
        case Growth():
            return _growth(item)
        case Forecasts():
            return _forecasts(item)
        case Facts():
            return _rows(list(item.heads), [list(row) for row in item.rows])


def _contest(contest: Contest) -> list[str]:
    lines = []
    if contest.floor is not None:
        lines += [
            f"Floor: {contest.floor.macs / 1e9:.1f} G multiply-adds at "
            f"{product_rate(contest.floor).shown(1)} G a second.",
            "",
        ]
    first = contest.timings[0]
    with_memory = first.peak_bytes is not None
    heads = ["", f"{contest.unit} a second", f"time / {first.name}'s"]
    heads += ["share of the floor"] if contest.floor else []
    heads += ["memory", f"memory / {first.name}'s"] if with_memory else []
    rows = [_contestant(contest, timing) for timing in contest.timings]
    return lines + _rows(heads, rows)


def _contestant(contest: Contest, timing: Timing) -> list[str]:
    first = contest.timings[0]
    cells = [timing.name, rate(contest, timing).shown(), "1" if timing is first else ratio(first, timing).shown()]
    share = share_of_floor(contest, timing)
    cells += [share.shown()] if share else []
    if timing.peak_bytes is not None and first.peak_bytes:
        cells += [f"{timing.peak_bytes / 2**20:.0f} MiB", f"{timing.peak_bytes / first.peak_bytes:.2f}"]
    return cells


def _end_to_end(found: EndToEnd) -> list[str]:
    rows = []
    for task in found.tasks:
        rows.append(
            [
                task.task,
                f"{task.n_utterances}, {task.audio_hours:.2f} h",
                f"{task.n_steps}",
                f"{task.extraction_seconds:.1f} s",
                f"{_ms(task.step_seconds)}",
                f"{task.our_seconds / 60:.1f} min",
                f"{_ms(task.their_step_seconds)}",
                f"{task.their_seconds / 3600:.2f} h",
                f"1/{task.their_seconds / task.our_seconds:.0f}",
            ]
        )
    ours, theirs = (sum(getattr(t, f"{who}_seconds") for t in found.tasks) for who in ("our", "their"))
    rows.append(["all", "", "", "", "", f"{ours / 60:.1f} min", "", f"{theirs / 3600:.2f} h", f"1/{theirs / ours:.0f}"])
    heads = ["task", "utterances", "steps", "extraction", "step of all cells", "whole grid"]
    return _rows([*heads, "s3prl: step of one cell", "s3prl: one cell", "time / s3prl's"], rows)


def _growth(growth: Growth) -> list[str]:
    least = growth.loads[0]
    rows = [
        [
            f"{load.audio_hours:.3g} h",
            f"{load.seconds:.1f} s",
            f"{load.audio_hours * 3600 / load.seconds:.0f}",
            f"{load.encoder_seconds / load.seconds:.1%}",
            f"{load.peak_bytes / 2**20:.0f} MiB",
            f"{load.peak_bytes / least.peak_bytes:.2f}",
        ]
        for load in growth.loads
    ]
    heads = ["speech", "time", "s of audio a second", "time in the encoder", "peak memory", "memory / first's"]
    return _rows(heads, rows)


def _forecasts(found: Forecasts) -> list[str]:
    cells = [(task.task, task.expected_seconds, task.seconds) for task in found.tasks]
    cells.append(("all", sum(cell[1] for cell in cells), sum(cell[2] for cell in cells)))
    rows = [[name, f"{expected:.1f} s", f"{took:.1f} s", f"{took / expected:.2f}"] for name, expected, took in cells]
    return _rows(["task", "forecast", "truth", "truth / forecast"], rows)


def _rows(heads: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads), *(f"| {' | '.join(row)} |" for row in rows)]


def _ms(seconds: tuple[float, ...]) -> str:
    return f"{1000 * statistics.median(seconds):.1f} ms"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, width=118, break_long_words=False, break_on_hyphens=False)
