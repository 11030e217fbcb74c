"""Which layers make one target: found by similarity, given by hand, or drawn as a control."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skill_bench.base.counted import counted
from skill_bench.base.errors import UsageError
from skill_bench.distillation.losses import Averages
from skill_bench.distillation.recipe import Recipe
from skill_bench.layers.cluster import inverse_distance, layer_groups
from skill_bench.layers.options import FixedGroups, RandomGroups, SimilarGroups, UniformGroups
from skill_bench.records.similarity import Groups, Weights


def choose(recipe: Recipe, *, n_states: int, similarity: NDArray[np.float64] | None) -> tuple[Groups, Groups]:
    """Layers of the teacher for each target, and layers of the student that stand for them.

    Args:
        n_states: hidden states of the teacher, input of the first layer included.
        similarity: ``(n_states, n_states)``; needed by ``method = "similarity"`` alone.

    Raises:
        UsageError: layers that do not exist, more groups than layers, or a student whose last layer learns nothing.
    """
    options = recipe.groups
    if isinstance(options, FixedGroups):
        taught, learnt = options.layers, options.student_layers or options.layers
    else:
        taught = learnt = _partition(options, n_states=n_states, similarity=similarity)
    last = n_states - 1 if recipe.student.n_layers == "all" else recipe.student.n_layers
    if last > n_states - 1:
        raise UsageError(
            f"recipe {recipe.name}: the student has {last} layers, the teacher {n_states - 1}. "
            f'Set student.n_layers to at most {n_states - 1}, or "all".'
        )
    for who, groups, deepest in (("teacher", taught, n_states - 1), ("student", learnt, last)):
        beyond = sorted({layer for group in groups for layer in group if not 0 <= layer <= deepest})
        if beyond:
            raise UsageError(
                f"recipe {recipe.name}: layers {beyond} do not exist; the {who} has 0 to {deepest}. "
                "Change groups.layers or groups.student_layers, or take another teacher."
            )
    reached = max(layer for group in learnt for layer in group)
    if reached < last:
        raise UsageError(
            f"recipe {recipe.name}: no group reaches layer {last} of the student, so layers {reached + 1} to {last} "
            f"would learn nothing. Set student.n_layers = {reached}."
        )
    return taught, learnt


def weights(recipe: Recipe, groups: Groups, *, similarity: NDArray[np.float64] | None) -> Weights | None:
    """Of the layers of ``groups`` in their averages; None: all alike. ``similarity`` as for :func:`choose`."""
    options = recipe.groups
    if not isinstance(options, SimilarGroups) or not options.weights:
        return None
    assert similarity is not None, "choose() has asked for it"
    return inverse_distance(similarity, groups)


def averages(recipe: Recipe, *, taught: Groups, learnt: Groups, weights: Weights | None) -> tuple[Averages, Averages]:
    """What the teacher shows and what the student answers with, target by target.

    With a head a layer, a target is one of the student's layers beside the whole group of the teacher's that it
    belongs to. The loss is a mean over targets, so that a group then counts by its layers.
    """
    shown = answered = weights
    if recipe.loss.heads == "per_layer":
        owners = [index for index, group in enumerate(learnt) for _ in group]
        taught, learnt = tuple(taught[index] for index in owners), tuple((layer,) for own in learnt for layer in own)
        shown, answered = weights and tuple(weights[index] for index in owners), None
    norm, layer_zero = recipe.loss.norm, recipe.layer_zero
    return (
        Averages(groups=taught, weights=shown, norm=norm, layer_zero=layer_zero),
        Averages(groups=learnt, weights=answered, norm=norm, layer_zero=layer_zero),
    )


def _partition(
    options: SimilarGroups | RandomGroups | UniformGroups, *, n_states: int, similarity: NDArray[np.float64] | None
) -> Groups:
    first = 0 if options.include_input else 1
    if options.n_groups != "auto" and options.n_groups > n_states - first:
        raise UsageError(
            f"{counted(options.n_groups, 'group')} of {counted(n_states - first, 'layer')}: "
            f"expected 1 to {n_states - first}. Lower groups.n_groups."
        )
    layers = np.arange(first, n_states)
    match options:
        case SimilarGroups():
            if similarity is None:
                raise ValueError("groups by similarity need the similarity of the layers")
            found = layer_groups(
                similarity[first:, first:],
                n_groups=options.n_groups,
                linkage_method=options.linkage,
                contiguous=options.contiguous,
                largest=options.largest,
            )
            return tuple(tuple(layer + first for layer in group) for group in found)
        case UniformGroups():
            parts = np.array_split(layers, options.n_groups)
        case RandomGroups():
            random = np.random.default_rng(options.seed)
            cuts = np.sort(random.choice(np.arange(1, len(layers)), options.n_groups - 1, replace=False))
            parts = np.split(layers if options.contiguous else random.permutation(layers), cuts)
    return tuple(sorted(tuple(sorted(part.tolist())) for part in parts))
