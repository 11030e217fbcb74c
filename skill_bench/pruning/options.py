"""What a recipe's ``[sparsity]`` may say."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from skill_bench.base.specs import Count, Frozen, Off, Positive, PositiveNumber

DropRate = Annotated[float, Field(gt=0, lt=1)] | Off


class Sparsity(Frozen):
    """The gates and the constraint on the parameters that they leave.

    ``remove_after_updates``: units whose gates were shut at so many updates in a row are removed while the others are
    still learnt, and what follows is computed without them; False: all are removed at the end.
    ``hold``: once the ramp has ended, all gates move by one constant after each update, at most by their learning rate,
    towards the target (docs/sparsity-control.md).
    ``tolerance``: how far from the target a joint stage may end; False: anywhere.
    """

    target: Annotated[float, Field(gt=0, lt=1)]
    ramp_updates: Count
    gate_learning_rate: PositiveNumber
    multiplier_learning_rate: PositiveNumber
    channel_drop_rate: DropRate
    head_drop_rate: DropRate
    ffn_drop_rate: DropRate
    attention_block_drop_rate: DropRate
    ffn_block_drop_rate: DropRate
    temperature: PositiveNumber
    stretch: PositiveNumber
    epsilon: Annotated[float, Field(gt=0, lt=0.5)]
    evaluation_slope: PositiveNumber
    remove_after_updates: Positive | Off = False
    hold: bool = False
    tolerance: PositiveNumber | Off = False

    @model_validator(mode="after")
    def _something_is_gated(self) -> Self:
        kinds = ("channel", "head", "ffn", "attention_block", "ffn_block")
        if all(getattr(self, f"{kind}_drop_rate") is False for kind in kinds):
            raise ValueError(
                "every drop rate is false, so there is nothing to remove; give one, or joint = false and "
                "sparsity = false"
            )
        return self
