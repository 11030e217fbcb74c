"""Pre-training: iterations of masked prediction, each on units of its own, and the teacher that comes out."""

from __future__ import annotations

import copy
import io
import itertools
from collections.abc import Sequence
from pathlib import Path

import torch

from skill_bench.base.documents import write_atomic
from skill_bench.base.errors import CheckpointError
from skill_bench.base.progress import Progress, Silent
from skill_bench.corpora.data import Utterance
from skill_bench.corpora.synthetic.varied import synthesise_speech
from skill_bench.models import checkpoint
from skill_bench.models.architecture import Architecture, RelativePosition
from skill_bench.models.checkpoint import LoadedModel
from skill_bench.models.convert.shared.foreign import open_source
from skill_bench.models.encoder import Encoder
from skill_bench.models.factories import architecture
from skill_bench.models.in_training import InTraining
from skill_bench.pretraining.objective import MaskedPrediction, PretrainObjective
from skill_bench.pretraining.recipe import Iteration, PretrainRecipe
from skill_bench.pretraining.units import Targets
from skill_bench.training.batches import SpeechBatches
from skill_bench.training.engine import Engine, Processes, adamw
from skill_bench.training.loop import Schedule, Training

SMALL_TEACHER = architecture(
    channels=96,
    dim=144,
    n_layers=12,
    n_heads=6,
    ffn_dim=576,
    position_kernel=64,
    relative_position=RelativePosition(n_buckets=64, max_distance=256),
)
"""WavLM Base's shape at 3.3 M parameters: trains on two CPU cores."""


def make_teacher(
    recorded: Sequence[Utterance],
    out: Path,
    *,
    recipe: PretrainRecipe,
    folder: Path,
    synthetic_hours: float = 0.0,
    start: LoadedModel | None = None,
    processes: Processes | None = None,
    progress: Progress | None = None,
) -> Encoder:
    """Pre-trains a teacher and writes it to ``out``, with recipe and hours in its metadata.

    Args:
        recorded: speech; every file is decoded once before anything is trained.
        synthetic_hours: of synthesised speech to add; it is kept in ``folder``.
        start: a teacher to go on from; a new one of the bundled shape if None.

    Raises:
        AudioError: lists every damaged file.
    """
    processes, progress = processes or Engine().launch(), progress or Silent()
    utterances = list(recorded)
    if synthetic_hours:
        utterances += synthesise_speech(folder / "synthetic", hours=synthetic_hours, seed=recipe.seed + 1)
    processes.check_audio(utterances, progress)
    encoder = pretrain(
        start.encoder.architecture if start else SMALL_TEACHER,
        utterances,
        recipe=recipe,
        folder=folder,
        start=start.encoder if start else None,
        processes=processes,
        progress=progress,
    )
    if processes.is_first:
        hours = sum(utterance.seconds or 0.0 for utterance in recorded) / 3600
        metadata = {
            "recipe": recipe.model_dump_json(),
            "recorded_hours": f"{hours:.3f}",
            "synthetic_hours": f"{synthetic_hours}",
            "precision": processes.engine.precision,
        }
        if start:
            metadata["started_from"] = start.sha256
        checkpoint.save(encoder, out, metadata=metadata, dtype=torch.float16)
    return encoder


def pretrain(
    shape: Architecture,
    utterances: Sequence[Utterance],
    *,
    recipe: PretrainRecipe,
    folder: Path,
    processes: Processes | None = None,
    start: Encoder | None = None,
    progress: Progress | None = None,
) -> Encoder:
    """Trains an encoder; each iteration continues from the weights of the one before.

    Args:
        start: weights to go on from, of the same shape; random ones if None. The first iteration may take its units
            from a hidden state of them.
        folder: for units, checkpoints and logs; a killed run continues there.
        processes: default: one, on a GPU where there is one.
    """
    processes = processes or Engine().launch()
    torch.manual_seed(recipe.seed)
    encoder = Encoder(shape, in_training=InTraining(residual=recipe.dropout))
    if start is not None:
        encoder.load_state_dict(start.state_dict())
    for number, iteration in enumerate(recipe.rounds.values(), start=1):
        batches = SpeechBatches(
            utterances,
            seconds_per_batch=recipe.data.seconds_per_batch,
            min_seconds=recipe.data.min_seconds,
            max_seconds=iteration.max_seconds or recipe.data.max_seconds,
            seed=recipe.seed + number,
            length_jitter=recipe.data.length_jitter,
        )
        targets = _targets(iteration, encoder, folder / f"iteration-{number}.units", batches, recipe, processes)
        # A copy: what DDP attached to the parameters of an iteration stays with it.
        encoder = copy.deepcopy(encoder)
        torch.manual_seed(recipe.seed + number)  # the classifiers' start does not depend on what ran before
        n_units = [one.n_units for one in iteration.units]
        model = MaskedPrediction(encoder, n_units=n_units, prediction=recipe.prediction)
        Training(
            name=f"iteration-{number}",
            folder=folder,
            processes=processes,
            objective=PretrainObjective(model, targets.forward, recipe.masking, recipe.corruption),
            optimizer=adamw(model.parameters(), options=recipe.optimizer, fused=processes.engine.precision != "fp16"),
            batches=batches,
            schedule=_schedule(iteration),
            max_gradient_norm=recipe.optimizer.max_gradient_norm,
            seed=recipe.seed + number,
            title=f"pretrain {recipe.name}",
            progress=progress or Silent(),
        ).run()
        model.cpu()
    return encoder.eval().requires_grad_(False)


def _targets(
    iteration: Iteration,
    encoder: Encoder,
    path: Path,
    batches: SpeechBatches,
    recipe: PretrainRecipe,
    processes: Processes,
) -> Targets:
    """Clusters the first batches, once a run: one that was stopped goes on with the very units it had, in ``path``."""
    frozen = Encoder(encoder.architecture)
    frozen.load_state_dict(encoder.state_dict())
    device = processes.fabric.device
    targets = Targets(frozen, iteration.units).to(device)
    if processes.fabric.broadcast(path.exists()):
        try:
            targets.units.load_state_dict(open_source(path).content)
        except (CheckpointError, KeyError, RuntimeError, TypeError) as error:
            raise CheckpointError(
                f"{path}: is damaged or of another recipe ({str(error).splitlines()[0]}). Delete the folder to start "
                "again, or choose another one."
            ) from error
        return targets
    heard = itertools.islice(batches.start_at(0), recipe.unit_batches)
    targets.fit((batch.waves.to(device) for _, passes in heard for batch in passes), seed=recipe.seed)
    if processes.is_first:
        written = io.BytesIO()
        torch.save(targets.units.state_dict(), written)
        write_atomic(path, written.getbuffer())
    return targets


def _schedule(iteration: Iteration) -> Schedule:
    return Schedule(
        n_updates=iteration.n_updates,
        learning_rate=iteration.learning_rate,
        warmup_updates=iteration.warmup_updates,
        final_factor=iteration.final_factor,
    )
