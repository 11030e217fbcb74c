"""The joint stage in lock-step beside DPHuBERT's own modules: equal weights, equal noise of the gates, dropout 0.

Channels are not gated here: while they are learnt, DPHuBERT normalises over the shut ones too (see DESIGN.md).
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from skill_bench.distillation.losses import Averages, GroupDistillation
from skill_bench.distillation.objectives import JointObjective, teaching
from skill_bench.distillation.recipe import load_recipe
from skill_bench.models.encoder import Encoder
from skill_bench.models.export import dphubert
from skill_bench.models.factories import architecture
from skill_bench.models.size import size_of
from skill_bench.training.loop import Schedule

GROUPS = ((0,), (2,), (4,))
SCHEDULE = Schedule(n_updates=12, learning_rate=1e-3, warmup_updates=3, ends_at_zero=True)


@pytest.fixture(scope="module")
def theirs() -> Any:
    """Its ``wav2vec2.model``, from a checkout that SKILL_BENCH_DPHUBERT names."""
    root = os.environ.get("SKILL_BENCH_DPHUBERT")
    if not root:
        pytest.skip("SKILL_BENCH_DPHUBERT is not set: no checkout of pyf98/DPHuBERT to compare with")
    spec = importlib.util.spec_from_file_location("dphubert_joint", Path(root) / "wav2vec2" / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["dphubert_joint"] = package
    spec.loader.exec_module(package)
    return importlib.import_module("dphubert_joint.model")


def test_every_update_is_theirs(theirs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    shape = architecture(channels=12, dim=32, n_layers=4, n_heads=4, ffn_dim=20, position_kernel=16, position_groups=4)
    teacher = Encoder(shape).eval()
    places = [f"student.{place}dropout=0.0" for place in ("", "projection_", "attention_")]
    changes = ["sparsity.channel_drop_rate=false", "sparsity.ramp_updates=6", "sparsity.hold=false", *places]
    recipe = load_recipe("dphubert", changes=changes)
    assert recipe.sparsity
    assert recipe.layer_zero == "projection"
    student = Encoder(shape, in_training=recipe.student.in_training)
    student.load_state_dict(teacher.state_dict())
    target = GroupDistillation(dim=32, n_groups=3, options=recipe.loss)
    averages = Averages(groups=GROUPS, layer_zero="projection")
    ours = JointObjective(
        student, target, teach=teaching(teacher, averages), averages=averages,
        options=recipe.sparsity, teacher_size=size_of(teacher),
    ).train()  # fmt: skip

    content = torch.load(dphubert.write(teacher, tmp_path / "m.pth", metadata={"title": "x"}), weights_only=True)
    quiet = {key: 0.0 for key in content["config"] if key.endswith("dropout")}
    plain = theirs.wav2vec2_model(**content["config"] | quiet)
    plain.load_state_dict(content["state_dict"])
    plain.eval().requires_grad_(False)
    gated = {"encoder_prune_attention_heads": True, "encoder_prune_feed_forward_intermediate": True}
    model = theirs.wav2vec2_model(**content["config"] | quiet | gated).train()
    missing, unexpected = model.load_state_dict(content["state_dict"], strict=False)
    assert not unexpected
    assert all(name.endswith("log_alpha") for name in missing)
    log_alphas = [p for name, p in model.named_parameters() if name.endswith("log_alpha")]
    gates = [gate for pair in zip(ours.gates.heads, ours.gates.ffn, strict=True) for gate in pair]
    for gate, log_alpha in zip(gates, log_alphas, strict=True):
        log_alpha.data.copy_(gate.log_alpha.data)
    heads = [torch.nn.Linear(32, 32) for _ in range(2)]
    for head in heads:
        torch.nn.init.eye_(head.weight)
        torch.nn.init.zeros_(head.bias)
    linear, quadratic = (torch.nn.Parameter(torch.tensor(0.0)) for _ in range(2))

    main = [p for name, p in model.named_parameters() if not name.endswith("log_alpha")]
    main += [p for head in heads for p in head.parameters()]
    options: dict[str, Any] = {"betas": recipe.optimizer.betas, "weight_decay": 0.0}
    their_groups: list[dict[str, Any]] = [{"params": main}, {"params": log_alphas}]
    their_groups += [{"params": [linear, quadratic], "maximize": True}]
    their_step = torch.optim.AdamW(their_groups, **options)
    our_groups: list[dict[str, Any]] = [{"params": [*student.parameters(), *target.parameters()]}]
    our_groups += [{"params": list(ours.gates.parameters())}]
    our_groups += [{"params": list(ours.lagrangian.parameters()), "maximize": True}]
    our_step = torch.optim.AdamW(our_groups, **options)
    noise = torch.Generator()

    def uniform(self: Tensor, low: float, high: float) -> Tensor:
        return self.copy_(torch.rand(len(self), generator=noise) * (high - low) + low)

    compared = 0
    for update in range(12):
        waves = 0.1 * torch.randn(2, 8000)
        for optimizer in (our_step, their_step):
            for group, peak in zip(optimizer.param_groups, (1e-3, 0.02, 0.02), strict=True):
                group["lr"] = peak * SCHEDULE.factor(update)
            optimizer.zero_grad()
        loss, log = ours(update, waves, torch.Generator().manual_seed(update))
        loss.backward()
        noise.manual_seed(update)
        with monkeypatch.context() as patch:
            patch.setattr(torch.Tensor, "uniform_", uniform)
            found, _ = model.extract_features(waves)
        wanted, _ = plain.extract_features(waves)
        losses = []
        for (layer,), head in zip(GROUPS, (heads[0], heads[1], heads[1]), strict=True):
            mapped = head(found[layer])
            cosine = F.cosine_similarity(mapped, wanted[layer], dim=-1).mean()
            losses.append(F.l1_loss(mapped, wanted[layer]) - cosine)
        sparsity = 1 - model.get_num_params() / sum(p.numel() for p in plain.parameters())
        gap = sparsity - 0.75 * min(1.0, update / 6)
        total = torch.stack(losses).mean() + linear * gap + quadratic * gap**2
        total.backward()
        norms = [
            torch.stack([p.grad.norm() for group in o.param_groups for p in group["params"] if p.grad is not None])
            for o in (our_step, their_step)
        ]
        # Adam's first steps have the size of the rate, whatever the gradient's: rounding of weights that hardly matter
        # (biases of keys) comes to some 1e-3 of the norm of all gradients within some updates of float32.
        pairs = {
            "loss": (loss.item(), total.item(), 1e-3),
            "sparsity": (log["sparsity"].item(), sparsity.item(), 1e-3),
            "linear": (log["lambda_linear"].item(), linear.item(), 1e-3),
            "quadratic": (log["lambda_quadratic"].item(), quadratic.item(), 1e-3),
            "gradient norm": (norms[0].norm().item(), norms[1].norm().item(), 2e-2),
        }
        for name, (here, there, tolerance) in pairs.items():
            assert here == pytest.approx(there, rel=tolerance, abs=tolerance), f"update {update}: {name}"
            compared += 1
        our_step.step()
        their_step.step()
    assert compared == 60
