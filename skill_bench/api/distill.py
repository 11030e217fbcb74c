"""A teacher and speech to a student's checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from skill_bench.base.errors import UsageError
from skill_bench.base.places import Paths, each
from skill_bench.base.progress import Progress
from skill_bench.corpora.listing import list_audio
from skill_bench.distillation import distill as distillation
from skill_bench.distillation.recipe import load_recipe
from skill_bench.models import checkpoint
from skill_bench.report.render.students import write_distilled
from skill_bench.training.engine import Engine, Processes
from skill_bench.upstream.origin import spec_beside
from skill_bench.upstream.spec import weights


@dataclass(frozen=True, kw_only=True)
class Distilled:
    """A student on disk.

    Attributes:
        path: Its checkpoint, to be given to `skill_bench.evaluate`.
        metadata: What the checkpoint says of itself: recipe, teacher, groups, sizes.
        curves: Figures of its training.
    """

    path: Path
    metadata: dict[str, str]
    curves: tuple[Path, ...]


def distill(
    teacher: str | Path,
    data: Paths,
    *,
    out: str | Path,
    recipe: str | Path = "skill",
    changes: Iterable[str] = (),
    scale_updates: float = 1.0,
    work_dir: str | Path | None = None,
    dtype: Literal["float16", "float32"] = "float16",
    device: str = "auto",
    processes: Processes | None = None,
    progress: Progress | None = None,
) -> Distilled:
    """Distils a student: joint pruning, then distillation alone. A call that was stopped continues when it is repeated.

    Args:
        teacher: Checkpoint of any readable format, or a bundled upstream's name.
        data: Folder of audio, LibriSpeech tree or manifest.tsv; or several.
        out: The student's file, ending in .safetensors.
        recipe: ``skill`` or another that ``skill-bench list`` names, or a TOML file.
        changes: Of the recipe, ``table.key=value`` each.
        scale_updates: Multiplies every number of updates: .01 is a hundredth of the published schedule.
        work_dir: Folder of checkpoints and logs; beside ``out`` by default.
        dtype: How weights are stored; half the size moves hidden states by about a thousandth.
        device: ``auto``: a GPU where there is one.
        processes: Those of a training that several share; ``device`` is then theirs.
        progress: Receives stages and updates.

    Raises:
        UsageError: what cannot be carried out so, such as groups that the teacher does not have.
        AudioError: lists every damaged file, before anything is trained.
    """
    target = Path(out)
    if target.suffix != ".safetensors":
        raise UsageError(f"out={str(out)!r}: expected a name ending in .safetensors.")
    chosen = load_recipe(str(recipe), changes=changes, scale_updates=scale_updates)
    folder = target.with_suffix(".work") if work_dir is None else Path(work_dir)
    processes = processes or Engine(device=device).launch()
    file = weights(str(teacher))
    student = distillation.distill(
        checkpoint.load(file),
        list_audio(each(data)),
        recipe=chosen,
        folder=folder,
        processes=processes,
        progress=progress,
    )
    known = spec_beside(file)
    metadata = student.metadata | ({} if known is None else {"teacher": known.name})
    curves: tuple[Path, ...] = ()
    if processes.is_first:
        curves = tuple(write_distilled(folder, title=f"distill {chosen.name}"))
        checkpoint.save(student.encoder, target, metadata=metadata, dtype=getattr(torch, dtype))
    return Distilled(path=target, metadata=metadata, curves=curves)
