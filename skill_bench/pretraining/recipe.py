"""Pre-training in two iterations: units of MFCC first, then units of the first iteration's hidden states."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from skill_bench.base.progress import Progress, Silent
from skill_bench.corpora.data import Utterance
from skill_bench.corpora.synthetic.varied import synthesise_speech
from skill_bench.models import checkpoint
from skill_bench.models.architecture import Architecture, RelativePosition
from skill_bench.models.encoder import Encoder
from skill_bench.models.factories import architecture
from skill_bench.models.in_training import InTraining
from skill_bench.pretraining.objective import Corruption, MaskedPrediction, PretrainObjective
from skill_bench.pretraining.units import HiddenFeatures, MfccFeatures, Units
from skill_bench.training.batches import SpeechBatches
from skill_bench.training.engine import Engine, Processes
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


@dataclass(frozen=True, kw_only=True)
class Iteration:
    """One round of masked prediction. ``layer`` None: units of MFCC, else of that hidden state of the last round."""

    n_units: int
    layer: int | None
    schedule: Schedule


@dataclass(frozen=True, kw_only=True)
class PretrainRecipe:
    """Everything that decides the result, but the data.

    ``supervised_layers``: hidden states that predict the units.
    ``visible_weight``: loss at frames that are not masked. HuBERT found 0 best in the long run; with hours instead of
    days, 0 stays on the initial plateau.
    """

    iterations: tuple[Iteration, ...]
    supervised_layers: tuple[int, ...] = (12,)
    seconds_per_batch: float = 24.0
    min_seconds: float = 0.5
    max_seconds: float = 6.0
    unit_batches: int = 100
    dropout: float = 0.05
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    seed: int = 0
    visible_weight: float = 0.5
    corruption: Corruption = field(default_factory=Corruption)

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def small_recipe(*, updates: int, second_updates: int, seed: int = 0) -> PretrainRecipe:
    """For :data:`SMALL_TEACHER`: 100 units of MFCC, then 200 units of hidden state 8.

    ``updates`` 0 leaves the first iteration out, for a model that has been through it.
    """
    first = Iteration(
        n_units=100,
        layer=None,
        schedule=Schedule(n_updates=updates, learning_rate=8e-4, warmup_updates=100),
    )
    second = Iteration(
        n_units=200,
        layer=8,
        schedule=Schedule(n_updates=second_updates, learning_rate=8e-4, warmup_updates=60),
    )
    return PretrainRecipe(iterations=(first, second) if updates else (second,), supervised_layers=(4, 8, 12), seed=seed)


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
        folder: for checkpoints and logs; a killed run continues there.
        processes: default: one, on a GPU where there is one.
    """
    processes = processes or Engine().launch()
    torch.manual_seed(recipe.seed)
    encoder = Encoder(shape, in_training=InTraining(residual=recipe.dropout))
    if start is not None:
        encoder.load_state_dict(start.state_dict())
    for number, iteration in enumerate(recipe.iterations, start=1):
        batches = SpeechBatches(
            utterances,
            seconds_per_batch=recipe.seconds_per_batch,
            min_seconds=recipe.min_seconds,
            max_seconds=recipe.max_seconds,
            seed=recipe.seed + number,
        )
        units = _units(iteration, encoder, shape, batches, recipe, processes)
        # A copy: what DDP attached to the parameters of an iteration stays with it.
        encoder = copy.deepcopy(encoder)
        torch.manual_seed(recipe.seed + number)  # the classifiers' start does not depend on what ran before
        model = MaskedPrediction(
            encoder, n_units=iteration.n_units, layers=recipe.supervised_layers, visible_weight=recipe.visible_weight
        )
        Training(
            name=f"iteration-{number}",
            folder=folder,
            processes=processes,
            objective=PretrainObjective(model, units.forward, recipe.corruption),
            optimizer=torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=recipe.weight_decay),
            batches=batches,
            schedule=iteration.schedule,
            max_gradient_norm=recipe.max_gradient_norm,
            seed=recipe.seed + number,
            title="pretrain",
            progress=progress or Silent(),
        ).run()
        model.cpu()
    return encoder.eval().requires_grad_(False)


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A teacher, and what is said of its making in its checkpoint."""

    encoder: Encoder
    metadata: dict[str, str]


def pretrain_small(
    utterances: Sequence[Utterance],
    *,
    folder: Path,
    updates: int,
    second_updates: int,
    seed: int = 0,
    synthetic_hours: float = 0.0,
    start: Path | None = None,
    processes: Processes | None = None,
    progress: Progress | None = None,
) -> Pretrained:
    """:data:`SMALL_TEACHER` from recorded and synthesised speech, by :func:`small_recipe`.

    Args:
        synthetic_hours: of speech to synthesise and to add.
        start: checkpoint of a teacher to go on from, by the second iteration only; its shape is kept.

    Raises:
        AudioError: lists every damaged file, before anything is trained.
        CheckpointError: ``start`` cannot be used.
    """
    processes, progress = processes or Engine().launch(), progress or Silent()
    hours = sum(u.seconds or 0 for u in utterances) / 3600
    if synthetic_hours:
        utterances = [*utterances, *synthesise_speech(folder / "synthetic", hours=synthetic_hours, seed=seed + 1)]
    begun = checkpoint.load(start) if start else None
    recipe = small_recipe(updates=0 if begun else updates, second_updates=second_updates, seed=seed)
    processes.check_audio(utterances, progress)
    encoder = pretrain(
        begun.encoder.architecture if begun else SMALL_TEACHER,
        utterances,
        recipe=recipe,
        folder=folder,
        start=begun.encoder if begun else None,
        processes=processes,
        progress=progress,
    )
    metadata = {"recipe": recipe.to_json(), "recorded_hours": f"{hours:.3f}", "synthetic_hours": f"{synthetic_hours}"}
    if begun:
        metadata["started_from"] = begun.sha256
    return Pretrained(encoder=encoder, metadata=metadata)


def _units(
    iteration: Iteration,
    encoder: Encoder,
    shape: Architecture,
    batches: SpeechBatches,
    recipe: PretrainRecipe,
    processes: Processes,
) -> Units:
    if iteration.layer is None:
        units = Units(MfccFeatures(), n_units=iteration.n_units, dim=39)
    else:
        frozen = Encoder(shape)
        frozen.load_state_dict(encoder.state_dict())
        units = Units(HiddenFeatures(frozen, iteration.layer), n_units=iteration.n_units, dim=shape.dim)
    device = processes.fabric.device
    units.to(device)
    heard = itertools.islice(batches.start_at(0), recipe.unit_batches)
    units.fit((batch.waves.to(device) for _, passes in heard for batch in passes), seed=recipe.seed)
    return units
