"""A recipe: every number that decides what a student becomes, as data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from skill_bench.layer_similarity import Groups, Linkage, MeasureName
from skill_bench.schema import Frozen


class Clustering(Frozen):
    """How groups of layers are found from the teacher's similarity (SKILL)."""

    measure: MeasureName = "cka"
    linkage: Linkage = "average"
    n_groups: int | Literal["auto"] = 4
    contiguous: bool = True
    n_calibration_utterances: int = 64


class Stage(Frozen):
    """Updates, peak learning rate and warm-up of one stage."""

    n_updates: int
    learning_rate: float
    warmup_updates: int


class Sparsity(Frozen):
    """The gates and the constraint on their number; defaults are DPHuBERT's."""

    target: float = Field(default=0.75, gt=0, lt=1)
    ramp_updates: int = 5_000
    learning_rate: float = 2e-2
    channel_drop_rate: float = 0.01
    head_drop_rate: float = 0.01
    ffn_drop_rate: float = 0.5


class Recipe(Frozen):
    """From a teacher to a student.

    Args:
        groups: layers whose average is matched, for each target; None: found by ``clustering``.
        share_projection: one linear map for all groups but the first, as DPHuBERT has for layers 4, 8, 12;
            else one a group.
        seconds_per_batch: audio of a batch.
    """

    name: str
    groups: Groups | None
    share_projection: bool
    clustering: Clustering = Clustering()
    joint: Stage = Stage(n_updates=50_000, learning_rate=2e-4, warmup_updates=15_000)
    final: Stage = Stage(n_updates=25_000, learning_rate=1e-4, warmup_updates=5_000)
    sparsity: Sparsity = Sparsity()
    seconds_per_batch: float = 640.0
    min_seconds: float = 2.0
    max_seconds: float = 15.6
    max_gradient_norm: float = 10.0
    seed: int = 0

    def projections(self, n_groups: int) -> list[int]:
        """Which linear map each group uses."""
        return [min(index, 1) if self.share_projection else index for index in range(n_groups)]


def skill(**changes: object) -> Recipe:
    """SKILL (arXiv 2402.16830): averages over clusters of similar layers."""
    return Recipe.model_validate({"name": "skill", "groups": None, "share_projection": False, **changes})


def dphubert(**changes: object) -> Recipe:
    """DPHuBERT (arXiv 2305.17651): layers 0, 4, 8 and 12, one by one."""
    groups = ((0,), (4,), (8,), (12,))
    return Recipe.model_validate({"name": "dphubert", "groups": groups, "share_projection": True, **changes})


RECIPES = {"skill": skill, "dphubert": dphubert}
