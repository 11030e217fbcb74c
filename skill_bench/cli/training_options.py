"""Options of the commands that train a model: where, how exactly, how often saved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skill_bench.base.specs import validate
from skill_bench.cli.paths import folder_to_write, require_folder

if TYPE_CHECKING:
    from skill_bench.training.engine import Processes

RecipeName = Annotated[
    str,
    typer.Option("--recipe", help="skill, dphubert, distilhubert, random_groups, uniform_groups, or a TOML file."),
]
Changes = Annotated[list[str], typer.Option("--set", help="Change one number: table.key=value; repeat for several.")]
ScaleUpdates = Annotated[
    float, typer.Option(help="Multiply every number of updates: 0.01 is a hundredth of the published schedule.")
]
WorkDir = Annotated[
    Path | None,
    typer.Option(
        help="Checkpoints and logs; the same command continues there. Default: OUT.work.", callback=folder_to_write
    ),
]
TrainingDevice = Annotated[
    str,
    typer.Option(help="cpu, cuda, cuda:1, or auto: a GPU where there is one. Several: start it by torchrun or srun."),
]
Precision = Annotated[str, typer.Option(help="fp32, bf16 or fp16 (mixed).")]
MaxSeconds = Annotated[
    float | None, typer.Option(help="Most audio in one pass of a device; more is split, with the same result.")
]
CheckpointEvery = Annotated[int, typer.Option(help="Updates from one checkpoint to the next.")]
Tensorboard = Annotated[bool, typer.Option("--tensorboard", help="Event files in the work folder.")]


def work_folder(work_dir: Path | None, out: Path) -> Path:
    """``--work-dir``, or its default beside ``out``.

    Raises:
        UsageError: the default is no folder that can be written to.
    """
    if work_dir is not None:
        return work_dir
    default = out.with_suffix(".work")
    require_folder(default, option="--work-dir (by default)")
    return default


def launch(**options: Any) -> Processes:
    """Joins the processes that were started together.

    Raises:
        SpecError: an option's value is not allowed.
        UsageError: devices that do not exist.
    """
    from skill_bench.training.engine import Engine

    return validate(Engine, options, source="training options").launch()
