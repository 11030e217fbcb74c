"""A pre-training recipe: every number that decides what a teacher becomes, as data in ``recipes/NAME.toml``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from skill_bench.base import recipes
from skill_bench.base.specs import Count, Frozen, Off, Positive, PositiveNumber, Weight
from skill_bench.training.options import Data, Optimizer, Stage

_FOLDER = Path(__file__).resolve().parent / "recipes"
Probability = Annotated[float, Field(ge=0, le=1)]
_Range = tuple[float, float]


class Clustering(Frozen):
    """k-means with ``n_units`` clusters of MFCC, or of a hidden state of the model that the round before gave."""

    features: Literal["mfcc"] | Count
    n_units: Positive


class Iteration(Stage):
    """One round of masked prediction.

    Attributes:
        units: what is predicted; of several clusterings, all side by side (HuBERT's ensembles).
        final_factor: share of the peak learning rate that the decay leaves.
        max_seconds: longer utterances are cropped to it, instead of to the data's.
    """

    units: Annotated[tuple[Clustering, ...], Field(min_length=1)]
    final_factor: Probability
    max_seconds: PositiveNumber | None = None


class Prediction(Frozen):
    """Which hidden states predict the units, and what the frames that are not masked weigh in the loss."""

    layers: Annotated[tuple[Count, ...], Field(min_length=1)]
    visible_weight: Weight


class Masking(Frozen):
    """Spans of the front end's output that the model does not see (HuBERT: 0.08, 10 frames)."""

    start_probability: Annotated[float, Field(gt=0, le=1)]
    n_frames: Positive


class Corruption(Frozen):
    """What the input loses, while the units come from clean speech.

    Attributes:
        mixing_probability: chance that another utterance of the batch is added to part of one (WavLM).
        mixing_db, noise_db: how far below the utterance's power the other one, or white noise, is drawn.
        noise_probability: chance of white noise.
        gain_db: loudness changes by up to this much either way.
    """

    mixing_probability: Probability
    mixing_db: _Range
    noise_probability: Probability
    noise_db: _Range
    gain_db: Weight


class PretrainRecipe(recipes.Named):
    """From speech to a teacher. Iterations that are False are left out."""

    title: str
    source: str
    seed: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]
    unit_batches: Positive
    iterations: dict[str, Iteration | Off]
    prediction: Prediction
    masking: Masking
    corruption: Corruption
    optimizer: Optimizer
    data: Data

    @model_validator(mode="after")
    def _something_is_learnt(self) -> Self:
        if not self.rounds:
            raise ValueError("iterations: every one is false, so nothing is learnt")
        return self

    @property
    def rounds(self) -> dict[str, Iteration]:
        """The iterations that take place, in order."""
        return {name: iteration for name, iteration in self.iterations.items() if iteration}


def names() -> list[str]:
    """The recipes that come with the package."""
    return recipes.names(_FOLDER)


def load_recipe(name_or_file: str, *, changes: Iterable[str] = (), scale_updates: float = 1.0) -> PretrainRecipe:
    """A recipe by name, or from a TOML file; as :func:`skill_bench.base.recipes.load`, with its errors."""
    return recipes.load(PretrainRecipe, name_or_file, folder=_FOLDER, changes=changes, scale_updates=scale_updates)
