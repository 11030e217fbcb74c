"""``skill-bench distill`` and ``pretrain``, with the options of every training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from skill_bench.base.specs import validate
from skill_bench.cli.options import DataPaths, Teacher, checkpoint_to_write, interruptible
from skill_bench.cli.paths import folder_to_write, require_folder
from skill_bench.cli.run_options import together
from skill_bench.upstream.spec import weights

if TYPE_CHECKING:
    from skill_bench.base.progress import Progress
    from skill_bench.training.engine import Processes

RecipeName = Annotated[
    str,
    typer.Option("--recipe", help="skill or another that `skill-bench list` names, or a TOML file."),
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


@dataclass(frozen=True, kw_only=True)
class Training:
    """What the options of every training say.

    Attributes:
        recipe: ``changes`` of it, and ``scale_updates``.
        work_dir: As it was given.
        engine: Devices, precision and checkpoints.
    """

    recipe: dict[str, Any]
    work_dir: Path | None
    engine: dict[str, Any]

    @contextmanager
    def begun(self, folder: Path) -> Iterator[tuple[Processes, Progress]]:
        """The processes and what the first of them shows; when interrupted, says that ``folder`` has checkpoints."""
        from skill_bench.cli.console import ConsoleProgress

        processes = launch(**self.engine)
        kept = f"checkpoints are in {folder}; the same command continues"
        with ConsoleProgress(quiet=not processes.is_first) as progress, interruptible(progress, kept=kept):
            yield processes, progress


def _training_of(
    *,
    changes: Changes = [],  # noqa: B006 (typer reads it, nobody changes it)
    scale_updates: ScaleUpdates = 1.0,
    seed: Annotated[int | None, typer.Option(help="Short for --set seed=N.")] = None,
    work_dir: WorkDir = None,
    device: TrainingDevice = "auto",
    precision: Precision = "fp32",
    max_seconds_per_device: MaxSeconds = None,
    checkpoint_every: Annotated[int, typer.Option(help="Updates from one checkpoint to the next.")] = 200,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Event files in the work folder.")] = False,
) -> Training:
    return Training(
        recipe={"changes": changes if seed is None else [*changes, f"seed={seed}"], "scale_updates": scale_updates},
        work_dir=work_dir,
        engine={
            "device": device,
            "precision": precision,
            "max_seconds_per_device": max_seconds_per_device,
            "checkpoint_every_updates": checkpoint_every,
            "tensorboard": tensorboard,
        },
    )


def _trains(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options of a training to a command, which gets them together as ``training``."""
    return together(command, "training", _training_of, _training_of)


@_trains
def distill(
    teacher: Teacher,
    data: DataPaths,
    out: Annotated[
        Path, typer.Option(help="The student to write, ending in .safetensors.", callback=checkpoint_to_write)
    ],
    *,
    recipe: RecipeName = "skill",
    training: Training,
    dtype: Annotated[
        Literal["float16", "float32"],
        typer.Option(help="How weights are stored; half the size moves hidden states by about a thousandth."),
    ] = "float16",
) -> None:
    """Distil a student from a teacher: joint pruning, then distillation alone."""
    from skill_bench.distillation.recipe import load_recipe

    load_recipe(recipe, **training.recipe)  # what is wrong with it is said at once
    folder = work_folder(training.work_dir, out)

    from skill_bench.api.distill import distill as method

    with training.begun(folder) as (processes, progress):
        student = method(
            teacher,
            data,
            out=out,
            recipe=recipe,
            **training.recipe,
            work_dir=folder,
            dtype=dtype,
            processes=processes,
            progress=progress,
        )
    if not processes.is_first:
        return
    typer.echo(
        f"{out}: {student.metadata['n_parameters']} parameters, sparsity {float(student.metadata['sparsity']):.2%}, "
        f"groups {student.metadata['layer_groups']}"
    )
    typer.echo(f"curves: {', '.join(map(str, student.curves))}")


@_trains
def pretrain(
    data: DataPaths,
    out: Annotated[
        Path, typer.Option(help="The teacher to write, ending in .safetensors.", callback=checkpoint_to_write)
    ],
    *,
    recipe: Annotated[str, typer.Option(help="small, teacher, or a TOML file.")] = "small",
    training: Training,
    start: Annotated[
        Path | None,
        typer.Option(
            help="A teacher to go on from; --set iterations.first=false leaves out the units of MFCC.",
            parser=weights,
            metavar="PATH|NAME",
        ),
    ] = None,
    synthetic_hours: Annotated[float, typer.Option(help="Hours of synthesised speech to add.")] = 0.0,
) -> None:
    """Pre-train the small WavLM-shaped teacher by masked prediction."""
    from skill_bench.pretraining.recipe import load_recipe

    chosen = load_recipe(recipe, **training.recipe)
    folder = work_folder(training.work_dir, out)

    from skill_bench.corpora.listing import list_audio
    from skill_bench.models import checkpoint
    from skill_bench.models.size import size_of
    from skill_bench.pretraining.pretrain import make_teacher
    from skill_bench.report.render.curves import write_curves

    with training.begun(folder) as (processes, progress):
        encoder = make_teacher(
            list_audio(data),
            out,
            recipe=chosen,
            folder=folder,
            synthetic_hours=synthetic_hours,
            start=checkpoint.load(start) if start else None,
            processes=processes,
            progress=progress,
        )
    if processes.is_first:
        write_curves(sorted(folder.glob("iteration-*.csv")), folder / "curves", title=f"pretrain {chosen.name}")
        typer.echo(f"{out}: {size_of(encoder)} parameters")
