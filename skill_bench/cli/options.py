"""What commands share: options, their place in groups below --help, and how a long one ends when interrupted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from skill_bench.base.counted import counted
from skill_bench.base.errors import UsageError
from skill_bench.base.progress import Progress
from skill_bench.base.signals import exit_code, terminable
from skill_bench.cli.paths import folder_if_there, folder_to_write, require_file
from skill_bench.upstream.spec import weights

Upstream = Annotated[
    str,
    typer.Option("--upstream", "-u", help="Name in `skill-bench list`, folder, or hf:ORG/MODEL.", show_default=True),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        "--ckpt",
        help="Weights for that upstream: a file or folder of any readable format, or a bundled upstream's name.",
        parser=weights,
        metavar="PATH|NAME",
    ),
]
DataPaths = Annotated[
    list[Path],
    typer.Option("--data", help="Speech: a folder of audio, a LibriSpeech tree or a manifest.tsv; repeat for several."),
]
OutDir = Annotated[Path, typer.Option("--out", help="Folder to write records into.", callback=folder_to_write)]
DataRoot = Annotated[Path | None, typer.Option(help="Folder of the suite's corpora.")]
SuiteFile = Annotated[Path | None, typer.Option(help="The suite.toml, if it is not in --data-root.")]
Teacher = Annotated[
    Path,
    typer.Option(
        help="Checkpoint of any readable format, or a bundled upstream's name.", parser=weights, metavar="PATH|NAME"
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        help="Columns of the printed table, comma-separated: names of tasks, tasks, rank, mean, of_teacher, fidelity, "
        "params, macs, audio, peak, file, rtf, cold_start, source, all. By default those that matter."
    ),
]
CacheDir = Annotated[
    Path | None, typer.Option(help="Folder to keep features and synthesised speech in.", callback=folder_if_there)
]

_UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def checkpoint_to_write(param: typer.CallbackParam, path: Path) -> Path:
    """Callback of an option that names a checkpoint to write.

    Raises:
        UsageError: not a name of a checkpoint, or nothing can be written there.
    """
    if path.suffix != ".safetensors":
        raise UsageError(f"{param.opts[0]} {path}: expected a name ending in .safetensors.")
    require_file(path, option=param.opts[0])
    return path


def usable_device(device: str, *, option: str = "--device") -> str:
    """Checks a device; torch is loaded for GPUs alone.

    Raises:
        UsageError: no name of a device, or one that torch cannot use here.
    """
    if device == "cpu":
        return device
    if re.fullmatch(r"cuda(:\d+)?", device) is None:
        raise UsageError(f"{option} {device!r}: expected cpu, cuda or cuda:1.")
    import torch

    n_gpus = torch.cuda.device_count()
    if int(device.partition(":")[2] or 0) >= n_gpus:
        raise UsageError(
            f"{option} {device}: torch can use {counted(n_gpus, 'GPU')} here. Take another one, or --device cpu."
        )
    return device


def _on_device(device: str) -> str:
    """Callback of ``--device``; typer would take an option of the check for one of its own."""
    return usable_device(device)


Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1.", callback=_on_device)]


def bytes_in(text: str, *, option: str) -> int:
    """``"20GB"``, ``"512 MiB"``, ``"1000"`` in bytes.

    Raises:
        UsageError: no number, or another unit.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-z]*)\s*", text.lower())
    if match is None or match[2] not in _UNITS:
        raise UsageError(f"{option} {text!r}: expected a size such as 20GB, 512MiB, or a number of bytes.")
    return round(float(match[1]) * _UNITS[match[2]])


def names_in(text: str | None) -> list[str] | None:
    """``"ks,sid"`` as a list; None stays None."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


_MOST_SEEDS = 10_000  # a larger number is a seed, not how many of them


def seeds_in(text: str) -> list[int]:
    """``"3"`` is seeds 0, 1, 2; ``"0,4"`` or ``"4,"`` are these seeds.

    Raises:
        UsageError: not whole numbers, none, or more than anybody runs.
    """
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 0 or ("," not in text and not 1 <= numbers[0] <= _MOST_SEEDS):
        raise UsageError(f"--seeds {text!r}: expected how many seeds (3) or which ones (0,1,2). 7, is seed 7.")
    return numbers if "," in text else list(range(numbers[0]))


@contextmanager
def interruptible(progress: Progress, *, kept: str) -> Iterator[None]:
    """Within, Ctrl-C, SIGTERM and SIGHUP end the command; ``kept`` says what is finished and how to go on."""
    try:
        with terminable():
            yield
    except KeyboardInterrupt as interruption:
        progress.note(f"interrupted: {kept}")
        raise typer.Exit(exit_code(interruption)) from None


class InGroups(TyperGroup):
    """Lists commands below the ``rich_help_panel`` that each was registered with."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        width = max(map(len, self.commands))
        for name, command in self.commands.items():
            title = getattr(command, "rich_help_panel", None)
            groups.setdefault(title if isinstance(title, str) else "Commands", []).append(
                (name.ljust(width), _first_sentence(command))
            )
        for title, lines in groups.items():
            with formatter.section(title):
                formatter.write_dl(lines)


def _first_sentence(command: Any) -> str:
    """Whole, where click would cut it."""
    return " ".join((command.help or "").split("\n\n")[0].split())


def commands(help: str) -> typer.Typer:
    """Commands below one name, to which others are added."""
    return typer.Typer(help=help, no_args_is_help=True, rich_markup_mode=None, cls=InGroups)
