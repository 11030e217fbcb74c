"""The contests of a GPU, held in miniature on the CPU: they end, agree, and say what is asked of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from speed import contest, gpu
from speed.contest import hold
from speed.page import _table

from skill_bench.base.errors import SkillBenchError
from skill_bench.base.progress import Silent
from skill_bench.models.architecture import Architecture
from skill_bench.models.factories import WAVLM_POSITION, architecture

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _a_small_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contest, "_PRODUCT_SHAPE", (8, 8, 8))


@pytest.fixture
def small() -> Architecture:
    return architecture(
        channels=24, dim=48, n_layers=2, n_heads=4, ffn_dim=48, relative_position=WAVLM_POSITION,
        position_kernel=16, position_groups=4,
    )  # fmt: skip


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_extraction_against_transformers(precision: str, small: Architecture) -> None:
    with gpu.extraction(precision, CPU, seconds=12.0, architecture=small) as candidates:  # type: ignore[arg-type]
        found = hold(candidates, rounds=1, progress=Silent())
    names = [timing.name for timing in found.timings]
    assert names[:2] == ["skill-bench", "transformers"]
    assert names[2:] == ["skill-bench, the model alone", "transformers, the model alone"]
    assert found.amount == 12.0
    assert precision in found.name


def test_others_means_are_not_timed(small: Architecture, monkeypatch: pytest.MonkeyPatch) -> None:
    means = gpu._means
    monkeypatch.setattr(gpu, "_means", lambda *given: 2 * means(*given))
    with (
        pytest.raises(AssertionError, match="means differ by"),
        gpu.extraction("fp32", CPU, seconds=2.0, architecture=small),
    ):
        pass


def test_a_stream_that_mixes_up_its_batches_is_found(
    small: Architecture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = gpu._upstream(gpu._encoder(small), "fp32", CPU)
    spoken = gpu._speech(tmp_path / "audio", 20.0)
    gpu._check_stream(upstream, spoken, tmp_path, "fp32")
    whole = vars(gpu)["extract"]

    def shifted(*given: Any, **options: Any) -> dict[str, torch.Tensor]:
        found = whole(*given, **options)
        return dict(zip(found, [found[name] for name in [*list(found)[1:], next(iter(found))]], strict=True))

    monkeypatch.setattr(gpu, "extract", shifted)
    with pytest.raises(AssertionError, match="the stream's means of 0 differ by"):
        gpu._check_stream(upstream, spoken, tmp_path, "fp32")


def test_busy_without_a_gpu_is_not_seen(small: Architecture) -> None:
    found = gpu.busy(CPU, seconds=3.0, architecture=small)
    assert [row[0] for row in found.rows] == ["fp32", "bf16"]
    assert all(row[2] == "not seen" and int(row[1]) > 0 for row in found.rows)


@pytest.mark.parametrize(
    ("spans", "expected"), [([], 0), ([(3, 5), (0, 1)], 3), ([(0, 4), (1, 2), (3, 6)], 6), ([(0, 2), (2, 3)], 3)]
)
def test_kernels_that_overlap_count_once(spans: list[tuple[float, float]], expected: float) -> None:
    assert gpu.covered(spans) == expected


def test_a_distillation_step_in_each_precision(small: Architecture) -> None:
    candidates = gpu.distillation(CPU, batch_size=2, utterance_seconds=0.5, architecture=small)
    found = hold(candidates, rounds=1, progress=Silent())
    assert [timing.name for timing in found.timings] == ["bf16", "fp16", "fp32"]
    assert all((timing.peak_bytes or 0) > 0 for timing in found.timings)


def test_scores_beside_the_cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = gpu.scores("cpu", cache_dir=tmp_path, progress=Silent(), tasks=("ks",), limit=12)
    assert [row[:3] for row in found.rows] == [
        ("ks", "accuracy", "cpu, fp32"), ("ks", "accuracy", "cpu, fp32"), ("ks", "accuracy", "cpu, bf16"),
    ]  # fmt: skip
    assert found.rows[0][3] == found.rows[1][3]
    assert found.rows[1][4].startswith("inside ")
    assert _table(found)[0].startswith("| task | metric | where | score |")


def test_without_a_gpu_the_section_says_how() -> None:
    if torch.cuda.is_available():
        assert gpu.device().type == "cuda"
        return
    with pytest.raises(SkillBenchError, match=r"no GPU on this machine. .*`skill-bench bench --only gpu-fp32,gpu-bf16"):
        gpu.device()
