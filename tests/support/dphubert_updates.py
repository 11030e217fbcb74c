"""The joint stage in lock-step with DPHuBERT's own modules: equal weights, equal noise of gates, dropout 0, float64.

    SKILL_BENCH_DPHUBERT=CHECKOUT PYTHONPATH=tests/support python tests/support/dphubert_updates.py

writes what both give to docs/dphubert.json (seconds); `lockstep_page.py --render` puts it on the page. Channels are not
gated here: while they are learnt, DPHuBERT normalises over the shut ones too (see DESIGN.md).
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from lockstep import double_precision
from torch import Tensor, nn
from torch.nn import functional as F

from skill_bench.base.documents import write_atomic
from skill_bench.distillation.losses import Averages, GroupDistillation
from skill_bench.distillation.objectives import JointObjective, teaching
from skill_bench.distillation.recipe import Recipe, load_recipe
from skill_bench.models.encoder import Encoder
from skill_bench.models.export import dphubert
from skill_bench.models.factories import architecture
from skill_bench.models.size import size_of
from skill_bench.training.loop import Schedule

STORED = Path(__file__).parents[2] / "docs" / "dphubert.json"
COMMIT = "c18093fe4b56a0027a80bf9b9b1a23f932cbf14c"
GROUPS = ((0,), (2,), (4,))
N_UPDATES, RAMP = 40, 20
PEAKS = (1e-3, 0.15, 0.15)
"""Learning rates of weights, gates and multipliers."""
SCHEDULE = Schedule(n_updates=N_UPDATES, learning_rate=1e-3, warmup_updates=10, ends_at_zero=True)
QUANTITIES = ("loss", "gradient norm", "sparsity", "linear multiplier", "quadratic multiplier")
Update = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Start:
    """What both sides begin with."""

    recipe: Recipe
    teacher: Encoder
    objective: JointObjective


def start() -> Start:
    """Our joint stage before its first update."""
    torch.manual_seed(0)
    shape = architecture(channels=12, dim=32, n_layers=4, n_heads=16, ffn_dim=40, position_kernel=16, position_groups=4)
    teacher = Encoder(shape).eval()
    for parameter in teacher.parameters():  # as DPHuBERT's file holds them
        parameter.data.copy_(parameter.data.to(torch.float32))
    places = [f"student.{place}dropout=0.0" for place in ("", "projection_", "attention_")]
    changes = ["sparsity.channel_drop_rate=false", f"sparsity.ramp_updates={RAMP}", "sparsity.hold=false", *places]
    recipe = load_recipe("dphubert", changes=changes)
    assert recipe.sparsity
    assert recipe.layer_zero == "projection"
    student = Encoder(shape, in_training=recipe.student.in_training)
    student.load_state_dict(teacher.state_dict())
    target = GroupDistillation(dim=32, n_groups=3, options=recipe.loss)
    averages = Averages(groups=GROUPS, layer_zero="projection")
    objective = JointObjective(
        student, target, teach=teaching(teacher, averages), averages=averages,
        options=recipe.sparsity, teacher_size=size_of(teacher),
    ).train()  # fmt: skip
    return Start(recipe=recipe, teacher=teacher, objective=objective)


def waves(update: int) -> Tensor:
    """The update's batch."""
    return 0.1 * torch.randn(2, 8000, generator=torch.Generator().manual_seed(1000 + update))


def ours() -> list[Update]:
    """What our joint stage gives at every update."""
    with double_precision():
        begun = start()
        objective, lagrangian = begun.objective, begun.objective.lagrangian
        main = [*objective.student.parameters(), *objective.target.parameters()]
        step = _optimizer(begun, main, [*objective.gates.parameters()], [*lagrangian.parameters()])
        found = []
        for update in range(N_UPDATES):
            _set_rates(step, update)
            loss, log = objective(update, waves(update), torch.Generator().manual_seed(update))
            loss.backward()
            logged = (log["sparsity"], log["lambda_linear"], log["lambda_quadratic"])
            found.append(_update(loss, _norm(step), *logged))
            step.step()
    return found


def theirs(checkout: Path) -> list[Update]:
    """What DPHuBERT's modules give, with the loss and the multipliers as its ``lightning.py`` has them."""
    with double_precision():
        begun = start()
        plain, model = _models(begun, _package(checkout))
        log_alphas = [p for name, p in model.named_parameters() if name.endswith("log_alpha")]
        gates = begun.objective.gates
        in_order = [gate for pair in zip(gates.heads, gates.ffn, strict=True) for gate in pair]
        for gate, log_alpha in zip(in_order, log_alphas, strict=True):
            log_alpha.data.copy_(gate.log_alpha.data)
        heads = [nn.Linear(32, 32) for _ in range(2)]
        for head in heads:
            nn.init.eye_(head.weight)
            nn.init.zeros_(head.bias)
        linear, quadratic = (nn.Parameter(torch.tensor(0.0)) for _ in range(2))
        main = [p for name, p in model.named_parameters() if not name.endswith("log_alpha")]
        main += [p for head in heads for p in head.parameters()]
        step = _optimizer(begun, main, log_alphas, [linear, quadratic])
        # A factor a channel, which an encoder of ours has only where channels are gated.
        factors = model.feature_extractor.dummy_weight.numel()
        size = sum(p.numel() for p in plain.parameters()) - factors
        found = []
        for update in range(N_UPDATES):
            _set_rates(step, update)
            with _noise(update):
                states, _ = model.extract_features(waves(update))
            wanted, _ = plain.extract_features(waves(update))
            losses = []
            for (layer,), head in zip(GROUPS, (heads[0], heads[1], heads[1]), strict=True):
                mapped = head(states[layer])
                cosine = F.cosine_similarity(mapped, wanted[layer], dim=-1).mean()
                losses.append(F.l1_loss(mapped, wanted[layer]) - cosine)
            sparsity = 1 - (model.get_num_params() - factors) / size
            gap = sparsity - 0.75 * min(1.0, update / RAMP)
            total = torch.stack(losses).mean() + linear * gap + quadratic * gap**2
            total.backward()
            found.append(_update(total, _norm(step), sparsity, linear, quadratic))
            step.step()
    return found


def largest_differences(a: Sequence[Update], b: Sequence[Update]) -> dict[str, float]:
    """Of each quantity over all updates, relative to b's largest."""
    return {
        name: max(abs(x[name] - y[name]) for x, y in zip(a, b, strict=True)) / max(abs(y[name]) for y in b)
        for name in QUANTITIES
    }


def stored() -> dict[str, Any]:
    """DPHuBERT's numbers, and how far ours were from them."""
    found: dict[str, Any] = json.loads(STORED.read_text(encoding="utf-8"))
    return found


def markdown(found: Mapping[str, Any]) -> str:
    """Its section of the page."""
    first, last = found["theirs"][0], found["theirs"][-1]
    what = (
        "Our joint stage with recipe `dphubert` beside `wav2vec2_model` of DPHuBERT and the loss of `lightning.py`, at "
        f"commit {found['commit'][:7]}: equal weights, batches and noise of gates, dropout 0, gates of heads and "
        f"units, {found['n_updates']} updates in float64. Differences are the largest of all updates, relative to the "
        "largest value. DPHuBERT's count of parameters has one factor a channel, which ours has where channels are "
        "gated; it is taken off here."
    )
    how = (
        "DPHuBERT's numbers are in `docs/dphubert.json`, with which `tests/parity/test_dphubert.py` always "
        "compares ours; where `SKILL_BENCH_DPHUBERT` names a checkout, its modules are run again. Made by "
        "`tests/support/dphubert_updates.py`."
    )
    rows = [
        f"| {name} | {found['differences'][name]:.1e} | {first[name]:.6g} | {last[name]:.6g} |" for name in QUANTITIES
    ]
    lines = ["## The joint stage beside DPHuBERT's", "", *textwrap.wrap(what, width=120), ""]
    lines += [
        "| quantity | largest difference | DPHuBERT's at the first update | at the last |",
        "|---|---:|---:|---:|",
    ]
    return "\n".join([*lines, *rows, "", *textwrap.wrap(how, width=120), ""])


def _package(checkout: Path) -> Any:
    """Its ``wav2vec2.model``."""
    if "dphubert_joint" not in sys.modules:
        spec = importlib.util.spec_from_file_location("dphubert_joint", checkout / "wav2vec2" / "__init__.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules["dphubert_joint"] = package = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(package)
    return importlib.import_module("dphubert_joint.model")


def _models(begun: Start, package: Any) -> tuple[Any, Any]:
    """Their teacher and their gated student, with our weights."""
    with tempfile.TemporaryDirectory() as folder:
        written = dphubert.write(begun.teacher, Path(folder) / "m.pth", metadata={"title": "x"})
        content = torch.load(written, weights_only=True)
    quiet = {key: 0.0 for key in content["config"] if key.endswith("dropout")}
    plain = package.wav2vec2_model(**content["config"] | quiet)
    plain.load_state_dict(content["state_dict"])
    plain.eval().requires_grad_(False)
    gated = {"encoder_prune_attention_heads": True, "encoder_prune_feed_forward_intermediate": True}
    model = package.wav2vec2_model(**content["config"] | quiet | gated).train()
    missing, unexpected = model.load_state_dict(content["state_dict"], strict=False)
    assert not unexpected
    assert all(name.endswith("log_alpha") for name in missing)
    return plain, model


def _optimizer(begun: Start, *groups: list[nn.Parameter]) -> torch.optim.Optimizer:
    """AdamW over weights, gates, and multipliers, which climb."""
    given: list[dict[str, Any]] = [{"params": group} for group in groups]
    given[-1]["maximize"] = True
    return torch.optim.AdamW(given, betas=begun.recipe.optimizer.betas, weight_decay=0.0)


def _set_rates(step: torch.optim.Optimizer, update: int) -> None:
    for group, peak in zip(step.param_groups, PEAKS, strict=True):
        group["lr"] = peak * SCHEDULE.factor(update)
    step.zero_grad()


def _norm(step: torch.optim.Optimizer) -> Tensor:
    """Of all gradients together."""
    norms = [p.grad.norm() for group in step.param_groups for p in group["params"] if p.grad is not None]
    found: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return found


def _update(*values: Tensor) -> Update:
    return {name: value.item() for name, value in zip(QUANTITIES, values, strict=True)}


def _noise(update: int) -> Any:
    """Their gates draw what ours draw."""
    generator = torch.Generator().manual_seed(update)

    def uniform(self: Any, low: float, high: float) -> Any:
        return self.copy_(torch.rand(len(self), generator=generator) * (high - low) + low)

    return mock.patch.object(Tensor, "uniform_", uniform)


def main() -> None:
    """Measures and writes."""
    original = theirs(Path(os.environ["SKILL_BENCH_DPHUBERT"]))
    content = {
        "repository": "pyf98/DPHuBERT",
        "commit": COMMIT,
        "n_updates": N_UPDATES,
        "differences": largest_differences(ours(), original),
        "theirs": original,
    }
    write_atomic(STORED, (json.dumps(content, indent=1) + "\n").encode())
    print(content["differences"])


if __name__ == "__main__":
    main()
