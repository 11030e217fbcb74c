"""--device moves the upstream too. Tested with stand-ins: on a machine without GPU nobody has run the CUDA path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from skill_bench.base.errors import SkillBenchError
from skill_bench.evaluation import evaluate
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from skill_bench.records.record import System
from skill_bench.upstream.module import ModuleUpstream


class Elsewhere(nn.Module):
    """Notes where it is asked to go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[object] = []

    def to(self, *places: Any, **more: Any) -> Elsewhere:
        self.asked.append(places[0])
        return self


def test_modules_go_to_the_device_and_others_stay_as_they_are() -> None:
    module, other = Elsewhere(), object()
    assert evaluate._on(module, "cuda:1") is module
    assert module.asked == ["cuda:1"]
    assert evaluate._on(other, "cuda:1") is other


class Double(nn.Module):
    """One weight, on whichever device."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.seen: list[str] = []

    def forward(self, waves: Tensor) -> list[Tensor]:
        self.seen.append(waves.device.type)
        return [(self.weight * waves).unfold(1, 400, 320).contiguous()]


def test_waves_follow_the_modules_weights(tmp_path: Path) -> None:
    system = System(name="double", title="Double", identity="")
    module = Double()
    upstream = ModuleUpstream(module=module, downsample_rate=320, min_samples=400, system=system, code="")
    assert upstream.to("meta").hidden_states([torch.zeros(800)])[0].device.type == "meta"
    assert module.seen == ["cpu", "meta"]


def test_the_plan_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def on(upstream: object, device: str) -> object:
        seen.append(device)
        return upstream

    monkeypatch.setattr(evaluate, "_on", on)
    monkeypatch.setattr(evaluate, "_cells", lambda *given, **more: [])
    monkeypatch.setattr(evaluate, "_load_data", lambda task, plan: SkillBenchError("none"))
    plan = Plan(
        upstreams=[UpstreamRequest(name="fbank")], suite="demo", tasks=["ks"], seeds=[0],
        out_dir=Path("unused"), cache_dir=Path("unused"), device="cuda:1", profile=False,
    )  # fmt: skip
    evaluate.evaluate(plan, load=lambda request: Elsewhere())  # type: ignore[arg-type, return-value]
    assert seen == ["cuda:1"]
