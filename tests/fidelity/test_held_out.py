"""R2 from sums of products, beside scikit-learn on the frames themselves, and what must not change it.

Which layers belong together, and who is tested with whom.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import Ridge as DirectRidge

from skill_bench.base.documents import JsonObject
from skill_bench.base.errors import DataError, UsageError
from skill_bench.corpora.data import Utterance
from skill_bench.fidelity.heldout import HeldOut, divide, held_out
from skill_bench.fidelity.interval import interval
from skill_bench.fidelity.measure import mappings
from skill_bench.fidelity.ridge import PENALTIES, Moments, RunningMoments
from skill_bench.records.record import System

Frames = NDArray[np.float64]
FOLD_OF = (0, 1, 2, 0, 1, 2, 0)
X, Y = (1, 0), (0, 0)
TINY = (1e-13,)
"""As good as least squares."""


@pytest.fixture
def spoken() -> list[tuple[Frames, Frames]]:
    """A student's and a teacher's frames of seven groups of speakers, with offsets, noise and scales that differ."""
    random = np.random.default_rng(0)
    mixing = random.standard_normal((6, 5)) * [1, 2, 0.1, 0.5, 3]
    found = []
    for group in range(7):
        x = random.standard_normal((40 + 9 * group, 6)) * [1, 1, 3, 0.3, 1, 0.1] + 50 + 0.3 * group
        y = x @ mixing + random.standard_normal((len(x), 5)) * [2, 0.1, 0.3, 1, 1] - 20
        found.append((x, y))
    return found


def moments(spoken: Sequence[tuple[Frames, Frames]], *, pieces: int = 1) -> list[Moments]:
    """Of groups whose frames come as so many utterances."""
    dims = {X: spoken[0][0].shape[1], Y: spoken[0][1].shape[1]}
    running = RunningMoments(dims=dims, pairs=[(X, Y)], n_groups=len(spoken), device=torch.device("cpu"))
    for group, (x, y) in enumerate(spoken):
        for own_x, own_y in zip(np.array_split(x, pieces), np.array_split(y, pieces), strict=True):
            running.update(group, {X: torch.from_numpy(own_x), Y: torch.from_numpy(own_y)})
    return running.of(X, Y)


def r2(spoken: Sequence[tuple[Frames, Frames]], penalties: tuple[float, ...] = PENALTIES) -> Frames:
    return held_out(moments(spoken), FOLD_OF, penalties=penalties).r2()


def mapped(
    spoken: Sequence[tuple[Frames, Frames]],
    *,
    x: Callable[[Frames], Frames] = lambda x: x,
    y: Callable[[Frames], Frames] = lambda y: y,
) -> list[tuple[Frames, Frames]]:
    return [(x(own_x), y(own_y)) for own_x, own_y in spoken]


def direct(spoken: Sequence[tuple[Frames, Frames]], penalties: tuple[float, ...]) -> HeldOut:
    """The same by scikit-learn on stacked frames."""

    def squares(train: list[int], test: list[int], penalty: float) -> tuple[Frames, Frames]:
        """Sums of squares of residuals and about the training mean; plain, whitened."""
        x, y = (np.concatenate([spoken[group][which] for group in train]) for which in (0, 1))
        alpha = penalty * x.var(axis=0).sum() * len(x) / x.shape[1]
        fitted = DirectRidge(alpha=alpha, solver="svd").fit(x, y)
        variance, directions = np.linalg.eigh(np.cov(y.T, bias=True))
        whitening = directions / np.sqrt(variance)
        held_x, held_y = (np.concatenate([spoken[group][which] for group in test]) for which in (0, 1))
        left, whole = held_y - fitted.predict(held_x), held_y - y.mean(0)
        return tuple(np.array([(own**2).sum(), ((own @ whitening) ** 2).sum()]) for own in (left, whole))  # type: ignore[return-value]

    errors, totals, chosen = np.zeros((2, 7)), np.zeros((2, 7)), np.zeros((2, 3))
    for fold in range(3):
        inside = [group for group in range(7) if FOLD_OF[group] != fold]
        for kind in range(2):
            tried = [
                sum(
                    squares(
                        [g for g in inside if FOLD_OF[g] != other], [g for g in inside if FOLD_OF[g] == other], penalty
                    )[0][kind]
                    for other in {FOLD_OF[g] for g in inside}
                )
                for penalty in penalties
            ]
            chosen[kind, fold] = penalties[int(np.argmin(tried))]
            for group in (g for g in range(7) if FOLD_OF[g] == fold):
                left, whole = squares(inside, [group], chosen[kind, fold])
                errors[kind, group], totals[kind, group] = left[kind], whole[kind]
    return HeldOut(errors=errors, totals=totals, penalties=chosen, n_directions=5)


def test_sums_give_what_scikit_learn_gives_on_the_frames(spoken: list[tuple[Frames, Frames]]) -> None:
    penalties = (1e-6, 1e-3, 0.03, 1.0)
    expected, found = direct(spoken, penalties), held_out(moments(spoken), FOLD_OF, penalties=penalties)
    # Maths in float64: some thousand additions.
    np.testing.assert_allclose(found.errors, expected.errors, rtol=1e-9)
    np.testing.assert_allclose(found.totals, expected.totals, rtol=1e-9)
    assert np.array_equal(found.penalties, expected.penalties)
    assert found.n_directions == 5
    assert len(set(found.penalties.ravel())) > 1, "the choice matters here"


def test_every_group_has_part_in_the_mean_and_its_interval(spoken: list[tuple[Frames, Frames]]) -> None:
    found = held_out(moments(spoken), FOLD_OF)
    for group in range(7):
        others = [at for at in range(7) if at != group]
        expected = 1 - found.errors[:, others].sum(1) / found.totals[:, others].sum(1)
        np.testing.assert_allclose(found.without()[:, group], expected, rtol=1e-12)


def test_a_speaker_is_predicted_without_its_fold(spoken: list[tuple[Frames, Frames]]) -> None:
    before = held_out(moments(spoken), FOLD_OF, penalties=(1e-3,))
    x, y = spoken[2]
    spoken[2] = (x, 7 - 3 * y)  # of the same fold as group 5
    after = held_out(moments(spoken), FOLD_OF, penalties=(1e-3,))
    assert np.array_equal(after.errors[:, 5], before.errors[:, 5])
    assert np.array_equal(after.totals[:, 5], before.totals[:, 5])
    changed = ~np.isclose(after.errors, before.errors, rtol=1e-6).all(0)
    assert changed.tolist() == [at != 5 for at in range(7)]


def test_the_teacher_itself_keeps_everything(spoken: list[tuple[Frames, Frames]]) -> None:
    # What the smallest penalty, 1e-8 of the mean variance, takes away.
    assert r2([(y, y) for _, y in spoken]) == pytest.approx([1, 1], abs=1e-9)


def test_shuffled_frames_keep_nothing(spoken: list[tuple[Frames, Frames]]) -> None:
    random = np.random.default_rng(1)
    whole = np.concatenate([y for _, y in spoken])
    random.shuffle(whole)
    ends = np.cumsum([len(y) for _, y in spoken])[:-1]
    shuffled = [(x, y) for (x, _), y in zip(spoken, np.split(whole, ends), strict=True)]
    # 6 weights for about 300 training frames: about 6 / 300 below 0.
    assert r2(shuffled) == pytest.approx([0, 0], abs=0.05)


def test_an_invertible_map_of_the_student_changes_nothing(spoken: list[tuple[Frames, Frames]]) -> None:
    random = np.random.default_rng(2)
    matrix = random.standard_normal((6, 6)) + 2 * np.eye(6)
    found = r2(mapped(spoken, x=lambda x: x @ matrix - 3), TINY)
    assert found == pytest.approx(r2(spoken, TINY), abs=1e-8)
    assert (r2(mapped(spoken, x=lambda x: x[:, :3]), TINY) < found - 0.05).all(), "information counts"


def test_a_rotation_of_the_teacher_leaves_the_plain_r2(spoken: list[tuple[Frames, Frames]]) -> None:
    rotation = np.linalg.qr(np.random.default_rng(3).standard_normal((5, 5)))[0]
    assert r2(mapped(spoken, y=lambda y: 4 * y @ rotation + 1)) == pytest.approx(r2(spoken), abs=1e-9)
    assert abs(r2(mapped(spoken, y=lambda y: y * [1, 1, 1, 9, 1]))[0] - r2(spoken)[0]) > 0.01, "scales do not"


def test_any_invertible_map_of_the_teacher_leaves_the_whitened_r2(spoken: list[tuple[Frames, Frames]]) -> None:
    matrix = np.random.default_rng(4).standard_normal((5, 5))
    found = r2(mapped(spoken, y=lambda y: y @ matrix + 8))
    assert found[1] == pytest.approx(r2(spoken)[1], abs=1e-9)
    assert abs(found[0] - r2(spoken)[0]) > 0.01


def test_a_direction_that_hardly_varies_is_left_out(spoken: list[tuple[Frames, Frames]]) -> None:
    random = np.random.default_rng(5)
    more = [(x, np.hstack([y, 1e-6 * random.standard_normal((len(y), 1))])) for x, y in spoken]
    found = held_out(moments(more), FOLD_OF)
    assert found.n_directions == 5
    assert found.r2() == pytest.approx(r2(spoken), abs=1e-6)


def test_order_and_pieces_change_nothing(spoken: list[tuple[Frames, Frames]]) -> None:
    whole = held_out(moments(spoken), FOLD_OF)
    backwards = [(x[::-1].copy(), y[::-1].copy()) for x, y in spoken]
    for other in (moments(spoken, pieces=5), moments(backwards, pieces=3)):
        # Float64 sums in another order, about another origin.
        np.testing.assert_allclose(held_out(other, FOLD_OF).r2(), whole.r2(), rtol=1e-10)


def test_memory_does_not_grow_with_the_speech() -> None:
    running = RunningMoments(dims={X: 6, Y: 5}, pairs=[(X, Y)], n_groups=3, device=torch.device("cpu"))

    def n_bytes() -> int:
        return sum(sums.nbytes for sums in (*running._sums.values(), *running._products.values()))

    assert n_bytes() == 8 * 3 * (6 + 5 + 6 * 6 + 6 * 5 + 5 * 5)
    for n_frames in (10, 1000, 0):
        running.update(1, {X: torch.rand(n_frames, 6), Y: torch.rand(n_frames, 5)})
        assert n_bytes() == 8 * 3 * (6 + 5 + 6 * 6 + 6 * 5 + 5 * 5)
    assert running.n_frames == [0, 1010, 0]
    assert [one.n for one in running.of(X, Y)] == [0, 1010, 0]


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(6).standard_normal(12)
    found = interval(float(values.mean()), [float(np.delete(values, at).mean()) for at in range(12)])
    half = 2.200985 * values.std(ddof=1) / 12**0.5  # t of 11 degrees of freedom
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), rel=1e-6)


def test_too_few_frames_and_dead_states_are_explained(spoken: list[tuple[Frames, Frames]]) -> None:
    with pytest.raises(DataError, match=r"6 frames to fit a regression from 6 dimensions.*Give more speech"):
        held_out(moments([(x[:3], y[:3]) for x, y in spoken[:4]]), (0, 1, 2, 3))
    with pytest.raises(DataError, match="the teacher's state is the same in all frames: there is nothing to predict"):
        r2(mapped(spoken, y=lambda y: 0 * y))
    with pytest.raises(DataError, match="the student's state is the same in all frames"):
        r2(mapped(spoken, x=lambda x: 0 * x))


def student(groups: object = None, stood: object = None) -> System:
    said: JsonObject = {
        "layer_groups": json.dumps(groups),
        "recipe": json.dumps({"groups": {"student_layers": stood}}),
    }
    return System(name="s", title="S", identity="s", details=said if groups else {})


def test_layers_of_equal_depth_belong_together() -> None:
    assert mappings(student([[0], [3]], [[0], [3]]), n_student=4, n_teacher=4) == {"same": (0, 1, 2, 3)}


def test_a_shallow_student_is_read_as_it_was_taught() -> None:
    # Layers between two taught ones go with the nearer, in the middle with the deeper.
    found = mappings(student([[1], [5, 6]], [[0, 1], [2]]), n_student=3, n_teacher=9)
    assert found == {"recipe": (1, 1, 1, 2, 2, 2, 2, 2, 2)}


@pytest.mark.parametrize(
    "system",
    [
        student(),
        student([[4]], None),
        student([[4], [8]], [[2]]),
        student([[13]], [[2]]),
        student([[4]], [[3]]),
        student("x", [[2]]),
    ],
)
def test_one_that_does_not_say_is_read_by_depth_and_from_its_end(system: System) -> None:
    found = mappings(system, n_student=3, n_teacher=13)
    assert list(found) == ["proportional", "last"]
    assert found["proportional"] == (0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2)
    assert found["last"] == (2,) * 13


def test_a_deeper_student_is_read_by_depth() -> None:
    assert mappings(student(), n_student=7, n_teacher=4)["proportional"] == (0, 2, 4, 6)
    assert mappings(student(), n_student=3, n_teacher=1)["proportional"] == (0,)


def spoken_by(speaker: str | None, number: int, seconds: float) -> Utterance:
    name = f"{speaker}-{number}"
    return Utterance(id=name, path=Path(name), target="", speaker=speaker, seconds=seconds, source=name)


def test_speakers_stay_together_and_groups_are_balanced() -> None:
    utterances = [spoken_by(f"{at}", n, 1.0 + at % 7) for at in range(63) for n in range(3)]
    found = divide(utterances, n_folds=5, n_groups=20)
    groups = {u.speaker: {found.group_of[v.id] for v in utterances if v.speaker == u.speaker} for u in utterances}
    assert all(len(own) == 1 for own in groups.values())
    assert set(found.group_of.values()) == set(range(20)) == set(range(len(found.fold_of)))
    seconds = [0.0] * 5
    for utterance in utterances:
        seconds[found.fold_of[found.group_of[utterance.id]]] += utterance.seconds or 0
    assert max(seconds) < 1.1 * min(seconds)
    assert (found.n_speakers, found.n_unknown) == (63, 0)


def test_the_division_does_not_depend_on_the_order() -> None:
    utterances = [spoken_by(f"{at}", n, 2.0) for at in range(30) for n in range(2)]
    shuffled = random.Random(0).sample(utterances, len(utterances))
    assert divide(utterances, n_folds=3, n_groups=7) == divide(shuffled, n_folds=3, n_groups=7)


def test_a_file_without_a_speaker_is_its_own() -> None:
    utterances = [spoken_by(None, n, 2.0) for n in range(4)] + [spoken_by("a", 0, 2.0), spoken_by("a", 1, 2.0)]
    found = divide(utterances, n_folds=5, n_groups=20)
    assert (found.n_speakers, found.n_unknown) == (5, 4)
    assert sorted(found.fold_of) == [0, 1, 2, 3, 4]


def test_what_cannot_be_divided_is_explained() -> None:
    utterances = [spoken_by("a", n, 2.0) for n in range(9)] + [spoken_by("b", 0, 2.0)]
    with pytest.raises(DataError, match=r"2 speakers for 3 folds: expected at least one speaker a fold"):
        divide(utterances, n_folds=3, n_groups=20)
    for n_folds, n_groups in ((2, 20), (5, 4)):
        with pytest.raises(UsageError, match=f"{n_folds} folds of {n_groups} groups of speakers: expected at least 3"):
            divide(utterances, n_folds=n_folds, n_groups=n_groups)
