"""What a recipe may say of its stages, its optimiser and its data."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from skill_bench.base.specs import Count, Frozen, Positive, PositiveNumber, Weight


class Stage(Frozen):
    """Updates, peak learning rate and linear warm-up of one stage; then linear decay to 0."""

    n_updates: Positive
    learning_rate: PositiveNumber
    warmup_updates: Count

    @model_validator(mode="after")
    def _warmup_ends(self) -> Self:
        if self.warmup_updates > self.n_updates:
            raise ValueError(
                f"warmup_updates = {self.warmup_updates} exceeds n_updates = {self.n_updates}; give a "
                "smaller warmup_updates too, or scale all numbers of updates together (--scale-updates)"
            )
        return self


class Optimizer(Frozen):
    """AdamW; the norm of all gradients together is clipped."""

    betas: tuple[float, float]
    weight_decay: Weight
    max_gradient_norm: PositiveNumber
    epsilon: PositiveNumber = 1e-8


class Data(Frozen):
    """Audio of a batch over all devices, and which utterances take part (longer ones are cropped).

    ``length_jitter``: by how much of its length an utterance may be shifted when utterances of similar length are put
    together, so that batches differ from epoch to epoch. All are cropped to the shortest of their batch.
    """

    seconds_per_batch: PositiveNumber
    min_seconds: Weight
    max_seconds: PositiveNumber
    length_jitter: Annotated[float, Field(ge=0, lt=1)] = 0.1
