"""A half precision is a system of its own, close to the whole one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_models import noise, small_teacher
from torch import Tensor, nn

from skill_bench.base.errors import UsageError
from skill_bench.base.specs import Precision
from skill_bench.cli.run_options import plan_of
from skill_bench.evaluation.evaluate import load_request
from skill_bench.evaluation.plan import UpstreamRequest
from skill_bench.features.extract import extract
from skill_bench.models.checkpoint import load
from skill_bench.records.record import System
from skill_bench.upstream.encoder import EncoderUpstream
from skill_bench.upstream.interface import Upstream
from skill_bench.upstream.load import load_upstream
from skill_bench.upstream.module import ModuleUpstream

WAVES = [0.1 * torch.randn(n, generator=torch.Generator().manual_seed(n)) for n in (16000, 9000, 12000)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return small_teacher(tmp_path / "teacher.safetensors")


def encoder(path: Path) -> EncoderUpstream:
    return EncoderUpstream(loaded=load(path), system=System(name="t", title="T", identity="")).freeze()


class Frames(nn.Module):
    """One product a frame."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(400, 8)
        self.seen: list[torch.dtype] = []

    def forward(self, waves: Tensor) -> list[Tensor]:
        found = self.linear(waves.unfold(1, 400, 320))
        self.seen.append(found.dtype)
        return [found]


def module() -> ModuleUpstream:
    system = System(name="m", title="M", identity="")
    return ModuleUpstream(module=Frames(), downsample_rate=320, min_samples=400, system=system, code="").freeze()


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 3e-2), ("fp16", 4e-3)])
def test_an_encoders_half_is_close_and_another_system(precision: Precision, tolerance: float, path: Path) -> None:
    whole, half = encoder(path), encoder(path)
    assert half.at_precision(precision) is half
    assert half.encoder.norm.weight.dtype == {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    assert (half.name, half.system().name, half.system().title) == (
        f"t-{precision}",
        f"t-{precision}",
        f"T, {precision}",
    )
    assert half.identity == half.system().identity != whole.identity
    assert half.system().details["computed_in"] == precision
    assert "computed_in" not in whole.system().details
    with torch.no_grad():
        pairs = list(zip(whole.hidden_states(WAVES), half.hidden_states(WAVES), strict=True))
    for a, b in pairs:  # of the largest value: bf16 keeps 8 bits of each of some dozen sums, fp16 11
        assert a.shape == b.shape
        assert 0 < float((a - b.float()).abs().max() / a.abs().max()) < tolerance
    assert len(pairs) == 3


def test_each_precision_has_its_own_identity_and_none_changes_twice(path: Path) -> None:
    found = {encoder(path).at_precision(precision).identity for precision in ("fp32", "bf16", "fp16")}
    assert len(found) == 3
    half = encoder(path).at_precision("bf16")
    assert half.at_precision("bf16").name == "t-bf16"
    for other in ("fp32", "fp16"):
        with pytest.raises(UsageError, match=f"upstream 't-bf16' computes in bf16 only. Leave --precision {other} out"):
            half.at_precision(other)


def test_the_cache_keeps_them_apart(path: Path, tmp_path: Path) -> None:
    spoken = noise(tmp_path / "audio", n=3)
    for precision in ("fp32", "bf16"):
        upstream = encoder(path).at_precision(precision)
        assert extract(upstream, spoken, pooled=True, cache_dir=tmp_path / "cache").n_extracted == 3


def test_a_module_runs_under_autocast() -> None:
    whole, half = module(), module().at_precision("bf16")
    (expected,), (found,) = whole.hidden_states(WAVES[:1]), half.hidden_states(WAVES[:1])
    assert half.module.seen[-1] == torch.bfloat16  # type: ignore[index]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.02)
    assert not torch.equal(found, expected)


def test_filterbanks_have_none() -> None:
    with pytest.raises(UsageError, match=r"upstream 'fbank' computes in fp32 only. Leave --precision bf16 out for it."):
        load_upstream("fbank").at_precision("bf16")


def test_a_request_says_it(path: Path) -> None:
    found: Upstream = load_request(UpstreamRequest(name="skill", precision="fp16"))
    assert found.name == "skill-fp16"
    assert load_request(UpstreamRequest(name="skill")).name == "skill"


def test_the_command_line_knows_three(tmp_path: Path) -> None:
    given = {
        "upstream": ["skill"], "ckpt": None, "suite": "demo", "tasks": "ks", "protocol": "strict", "seeds": "1",
        "limit": None, "out": tmp_path, "data_root": None, "suite_file": None, "cache_dir": tmp_path, "device": "cpu",
    }  # fmt: skip
    plan = plan_of(**given, precision="bf16", batch_seconds=30.0)  # type: ignore[arg-type]
    assert (plan.upstreams[0].precision, plan.batch_seconds) == ("bf16", 30.0)
    with pytest.raises(UsageError, match=r"--precision 'int8': expected fp32, bf16 or fp16."):
        plan_of(**given, precision="int8")  # type: ignore[arg-type]
