"""How the teacher's layers are put into groups: what a recipe's ``[groups]`` may say."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from skill_bench.base.counted import counted
from skill_bench.base.specs import Count, Frozen, Off, Positive
from skill_bench.records.similarity import Groups, Largest, Linkage, MeasureName


class SimilarGroups(Frozen):
    """Clusters of the teacher's layers by their similarity (SKILL).

    ``largest``: no group has more than this share of the layers. ``weights``: whether a layer counts the more in its
    group's average the nearer it is to the others.
    """

    method: Literal["similarity"]
    measure: MeasureName
    linkage: Linkage
    n_groups: Positive | Literal["auto"]
    contiguous: bool
    largest: Largest = False
    weights: Literal["inverse_distance"] | Off = False
    include_input: bool
    n_calibration_utterances: Positive


class FixedGroups(Frozen):
    """Groups by hand.

    ``student_layers``: what stands in for each in a student of another depth; default the same. ``layer_zero``: whether
    layer 0 is the input of the first layer, as everywhere else, or the projection before the positional convolution.
    """

    method: Literal["fixed"]
    layers: Groups
    student_layers: Groups | None = None
    layer_zero: Literal["first_layer_input", "projection"] = "first_layer_input"

    @model_validator(mode="after")
    def _groups_can_be_averaged(self) -> Self:
        if not self.layers or not all(self.layers) or not all(self.student_layers or self.layers):
            raise ValueError("expected at least one group, and at least one layer in each")
        if self.student_layers is not None and len(self.student_layers) != len(self.layers):
            raise ValueError(
                f"{counted(len(self.layers), 'group')} of layers, but {len(self.student_layers)} of student_layers"
            )
        twice = [list(group) for group in (*self.layers, *(self.student_layers or ())) if len({*group}) < len(group)]
        if twice:
            raise ValueError(f"the group {twice[0]} names a layer twice; name each once")
        return self


class RandomGroups(Frozen):
    """A random partition, drawn from ``seed`` (a control); ``contiguous``: of runs of neighbouring layers alone."""

    method: Literal["random"]
    n_groups: Positive
    contiguous: bool = False
    include_input: bool
    seed: Count


class UniformGroups(Frozen):
    """Equal runs of layers (a control)."""

    method: Literal["uniform"]
    n_groups: Positive
    include_input: bool
