"""Keywords, speakers and emotions from audio to the trained grid, ours and by s3prl's own ``run_downstream``.

Same upstream, same utterances, same machine. Ours: every utterance through the upstream once, then five learning rates
and three seeds as one computation. s3prl: one learning rate and one seed, the upstream at every step. Steps of both are
timed and extrapolated to the number that the task's full protocol asks for.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from skill_bench.base.progress import Progress
from skill_bench.corpora.data import TaskData
from skill_bench.corpora.load import load_task_data
from skill_bench.evaluation.kinds.utterance.problem import LabelProblem
from skill_bench.evaluation.task_files import load_task
from skill_bench.features.extract import extract
from skill_bench.metrics.scales import SCALES
from skill_bench.probes.training import train_grid
from skill_bench.tasks import TaskSpec, TrainedSpec
from skill_bench.upstream.interface import Upstream
from skill_bench.upstream.load import load_upstream
from speed.figures import EndToEnd, EndToEndTask

_DOWNSTREAM = {"ks": "speech_commands", "sid": "voxceleb1", "er": "emotion"}
_SEEDS = (0, 1, 2)
_DEV_EVERY = 20


def against_s3prl(
    *,
    cache_dir: Path,
    progress: Progress,
    data_root: Path | None = None,
    upstream: str = "skill",
    tasks: tuple[str, ...] = ("ks", "sid", "er"),
    n_steps: int = 200,
    n_s3prl_steps: int = 12,
) -> EndToEnd:
    """Measures every task.

    Args:
        cache_dir: Where synthesised speech is kept; features are not taken from there.
        data_root: Folder of the ``local`` suite; the ``demo`` suite without it.
        upstream: A name that s3prl's hub has too.
        n_steps: Timed steps of our grid; dev is read after every twentieth.
        n_s3prl_steps: Timed steps of s3prl's trainer.

    Raises:
        MissingExtra: a package of s3prl's downstream tasks is not installed.
    """
    suite, loaded = "demo" if data_root is None else "local", load_upstream(upstream)
    found = []
    with progress.stage("from audio to score, and s3prl", total=len(tasks)) as advance:
        for name in tasks:
            data = load_task_data(suite, name, data_root=data_root, cache_dir=cache_dir)
            found.append(_task(load_task(name), data, loaded, n_steps, n_s3prl_steps))
            advance(1)
    speech = "recorded speech" if data_root else "synthesised speech"
    return EndToEnd(
        name="From audio to score against s3prl",
        what=(
            f"Upstream {upstream}, {suite} suite ({speech}), the step counts of the full protocols. Ours: every "
            "utterance through the upstream once, then five learning rates and three seeds with dev read as often "
            "as the protocol says. s3prl: its own run_downstream, one learning rate and one seed, without the time for "
            f"dev. Steps are timed ({n_steps} of ours, {n_s3prl_steps} of s3prl's, medians) and multiplied; ER is one "
            "fold on both sides. s3prl reads audio in its own process (num_workers = 0)."
        ),
        tasks=tuple(found),
    )


def _task(task: TaskSpec, data: TaskData, upstream: Upstream, n_steps: int, n_s3prl_steps: int) -> EndToEndTask:
    assert isinstance(task, TrainedSpec)
    fold = data.folds[0]
    utterances = list({u.id: u for _, part in fold.splits() for u in part}.values())
    with tempfile.TemporaryDirectory(prefix="skill-bench-end-to-end-") as name:
        folder = Path(name)
        start = time.perf_counter()
        features = extract(upstream, utterances, pooled=True, cache_dir=folder / "cache")
        extraction = time.perf_counter() - start
        problem = LabelProblem(task=task, fold=fold, train=features, held_out=features, device=torch.device("cpu"))
        steps, dev = _our_steps(problem, task, n_steps)
        theirs = _their_steps(task, data, upstream.name, folder / "s3prl", n_s3prl_steps)
    return EndToEndTask(
        task=task.name,
        n_utterances=len(utterances),
        audio_hours=sum(u.seconds or 0.0 for u in utterances) / 3600,
        n_steps=task.protocol.steps,
        n_cells=len(_SEEDS) * len(task.protocol.learning_rates),
        evaluate_every_steps=task.protocol.evaluate_every_steps,
        extraction_seconds=extraction,
        step_seconds=tuple(steps),
        dev_seconds=dev,
        their_step_seconds=tuple(theirs),
    )


def _our_steps(problem: LabelProblem, task: TaskSpec, n_steps: int) -> tuple[list[float], float]:
    """Seconds of each step of the whole grid, and of reading dev once."""
    protocol = task.protocol.model_copy(update={"steps": n_steps, "evaluate_every_steps": _DEV_EVERY})
    ends: list[float] = []
    train_grid(
        problem,
        protocol,
        higher_is_better=SCALES[task.metric].higher_is_better,
        seeds=_SEEDS,
        fold="bench",
        device=torch.device("cpu"),
        advance=lambda n: ends.append(time.perf_counter()) if n else None,
    )
    gaps = [after - before for before, after in itertools.pairwise(ends)]
    # Dev is read after the call that reports a step, so it falls into the gap that follows.
    with_dev = {number for number in range(len(gaps)) if (number + 1) % _DEV_EVERY == 0}
    plain = [gap for number, gap in enumerate(gaps) if number not in with_dev]
    dev = statistics.median(gaps[number] for number in with_dev) - statistics.median(plain)
    return plain, max(0.0, dev)


def _their_steps(task: TaskSpec, data: TaskData, upstream: str, folder: Path, n_steps: int) -> list[float]:
    """Seconds of each step of s3prl's trainer, from one step of its optimiser to the next."""
    import skill_bench.s3prl
    from skill_bench.s3prl import layouts
    from skill_bench.s3prl.__main__ import main as s3prl

    assert skill_bench.s3prl
    reference = task.reference
    config = layouts.FROM_DATA[task.name](
        data,
        folder / "data",
        steps=n_steps + 1,
        batch_size=task.protocol.batch_size,
        learning_rate=1e-4 if reference is None else reference.learning_rate,
        evaluate_every_steps=10**9,
    )
    if task.name == "sid":  # s3prl keeps lists of files in its own package, keyed by nothing
        dataset: Any = importlib.import_module("s3prl.downstream.voxceleb1.dataset")
        dataset.CACHE_PATH = str(folder / "lists")
    command = ["run_downstream", "-m", "train", "-u", upstream, "-d", _DOWNSTREAM[task.name], "--device", "cpu", "-a"]
    with _ends_of_steps() as ends, contextlib.redirect_stdout(log := io.StringIO()), contextlib.redirect_stderr(log):
        s3prl([*command, "-c", str(config), "-p", str(folder / "exp")])
    return [after - before for before, after in itertools.pairwise(ends)]


@contextlib.contextmanager
def _ends_of_steps() -> Iterator[list[float]]:
    from torch.optim.optimizer import register_optimizer_step_post_hook

    ends: list[float] = []
    handle = register_optimizer_step_post_hook(lambda *_: ends.append(time.perf_counter()))
    try:
        yield ends
    finally:
        handle.remove()
