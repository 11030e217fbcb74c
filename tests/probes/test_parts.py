"""Batches, tokens, SpecAugment."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skill_bench.probes import batches
from skill_bench.probes.heads import spec_augment
from skill_bench.probes.tokens import Tokens
from skill_bench.tasks import SpecAugment, Target


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 9))
def test_buckets_partition_by_length(lengths: list[int], size: int) -> None:
    buckets = batches.length_buckets(lengths=lengths, batch_size=size)
    flat = [i for bucket in buckets for i in bucket]
    assert sorted(flat) == list(range(len(lengths)))
    assert all(len(bucket) == size for bucket in buckets[:-1])
    assert 1 <= len(buckets[-1]) <= size
    assert [lengths[i] for i in flat] == sorted(lengths, reverse=True)


@given(st.integers(1, 20), st.integers(1, 8))
def test_every_epoch_has_everybody_once(n: int, size: int) -> None:
    steps = -(-n // size)
    order = batches.shuffled(n=n, batch_size=size, generator=_generator())
    for _ in range(2):
        epoch = [i for batch in itertools.islice(order, steps) for i in batch]
        assert sorted(epoch) == list(range(n))


def test_class_balanced_draws_rare_classes_as_often() -> None:
    labels = [0] * 90 + [1] * 10
    order = batches.class_balanced(labels=labels, batch_size=50, generator=_generator())
    drawn = [labels[i] for batch in itertools.islice(order, 100) for i in batch]
    assert len(drawn) == 5000
    assert abs(sum(drawn) / 5000 - 0.5) < 0.03  # four standard deviations


PHONES = Tokens(vocabulary=("A", "B", "NG"), words=True)
CHARACTERS = Tokens(vocabulary=(" ", "A", "B"), words=False)


def _frames(best: list[int]) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(best), 4).float()


@pytest.mark.parametrize(
    ("best", "text"),
    [([0, 0], ""), ([1, 1, 0, 1], "A A"), ([1, 2, 2, 3, 0], "A B NG"), ([0, 3, 3, 3], "NG"), ([2, 0, 0, 2], "B B")],
)
def test_greedy_decoding_joins_repeats_and_drops_blanks(best: list[int], text: str) -> None:
    assert PHONES.decode(_frames(best)) == text


def test_characters_include_the_blank_between_words() -> None:
    assert CHARACTERS.encode("AB A") == [2, 3, 1, 2]
    assert CHARACTERS.decode(_frames([2, 3, 0, 1, 2])) == "AB A"
    assert CHARACTERS.unknown("ABC d") == {"C", "d"}


@given(st.lists(st.sampled_from(["A", "B", "NG"]), max_size=8))
def test_encoding_round_trip(tokens: list[str]) -> None:
    text = " ".join(tokens)
    frames = [index for token in PHONES.encode(text) for index in (0, token)]
    assert PHONES.decode(_frames([*frames, 0])) == text


def test_vocabulary_of_the_corpus_or_of_the_task() -> None:
    found = Tokens.of(Target(tokens="phones"), texts=["B NG", "A B"])
    assert found == PHONES
    assert found.n_outputs == 4
    stated = Tokens.of(Target(tokens="characters", vocabulary=("X",)), texts=["AB"])
    assert stated.vocabulary == ("X",)
    assert stated.unknown("AB") == {"A", "B"}


def test_spec_augment_masks_stretches_and_keeps_the_rest() -> None:
    rows = 1 + torch.rand(2, 60, 12, generator=_generator())
    options = SpecAugment(
        time_warp_window=0, n_time_masks=1, time_mask_max_frames=10, n_feature_masks=1, feature_mask_max_dims=4
    )
    found = spec_augment(rows, lengths=[40, 20], options=options, generator=_generator(5))
    masked = found == 0
    assert masked.any()
    assert torch.equal(found[~masked], rows[~masked])
    assert torch.equal(masked[0], masked[1])
    for utterance in torch.split(masked[0], [40, 20]):
        assert int(utterance.all(dim=1).sum()) < 10
        assert int(utterance.all(dim=0).sum()) < 4


def test_time_warp_keeps_length_and_both_ends() -> None:
    ramp = torch.linspace(0, 1, 50)[None, :, None].expand(1, 50, 3)
    options = SpecAugment(time_warp_window=5, n_time_masks=0, n_feature_masks=0)
    found = spec_augment(ramp, lengths=[50], options=options, generator=_generator())
    assert found.shape == ramp.shape
    assert not torch.equal(found, ramp)
    assert (found - ramp).abs().max() < 6 / 50  # at most the window, and a frame of interpolation
    short = spec_augment(ramp[:, :8], lengths=[8], options=options, generator=_generator())
    assert torch.equal(short, ramp[:, :8])
