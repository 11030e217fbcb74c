"""Runs every trained task in lock-step with s3prl and writes docs/parity.md: a few minutes on one core.

python tests/support/lockstep_page.py            # measures, writes docs/lockstep.json and docs/parity.md
python tests/support/lockstep_page.py --render   # docs/parity.md again from the JSON files
"""

from __future__ import annotations

import argparse
import json
import textwrap
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dphubert_updates
import lockstep
import training_parity

from skill_bench.base.documents import write_atomic

DOCS = Path(__file__).parents[2] / "docs"
STEPS = 120
TOLERANCE = 1e-4
REORDERED = "s3prl_reordered"


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description="The page on parity with s3prl.")
    parser.add_argument("--render", action="store_true", help="measure nothing")
    if not parser.parse_args().render:
        write_atomic(DOCS / "lockstep.json", (json.dumps(measure(), indent=1) + "\n").encode())
    write_atomic(DOCS / "parity.md", page(DOCS).encode())


def measure() -> dict[str, Any]:
    """Every task in float64, and in float32 at the pair's learning rate and at s3prl's own."""
    import lockstep_tasks

    tasks = {}
    for name, build in lockstep_tasks.TASKS.items():
        with lockstep.double_precision():
            double = lockstep.run(build(), steps=STEPS)
        tasks[name] = {
            "compared": double.compared,
            "steps": STEPS,
            "n_losses": len(double.losses),
            "first_and_last_loss": [double.losses[0][1], double.losses[-1][1]],
            "largest_relative_difference": double.largest_difference,
            "n_agreed": double.n_agreed,
            "n_items": double.n_items,
            "n_answers": double.n_answers,
            "float32": [
                _single(lockstep.run(build(), steps=STEPS, learning_rate=rate, reordered=True))
                for rate in (None, lockstep_tasks.own_rate(name))
            ],
        }
        print(name, tasks[name], flush=True)
    uneven = lockstep.run(lockstep_tasks.asv(n_frames=None), steps=STEPS)
    packages = {name: version(name) for name in ("s3prl", "torch", "skill-bench")}
    return {"packages": packages, "tasks": tasks, "asv_lengths_differ": uneven.largest_difference}


def _single(found: lockstep.Compared) -> dict[str, Any]:
    return {
        "learning_rate": found.learning_rate,
        "ours": _apart(found, found.losses),
        REORDERED: _apart(found, found.rounding),
        "n_agreed": found.n_agreed,
        "n_answers": found.n_answers,
        "first_and_last_loss": [found.losses[0][1], found.losses[-1][1]],
    }


def _apart(found: lockstep.Compared, losses: lockstep.Losses) -> dict[str, float]:
    """How far losses are from s3prl's, and for how many updates by less than the tolerance."""
    return {"largest": max(lockstep.differences(losses)), "updates": found.updates_within(TOLERANCE, losses)}


def page(docs: Path) -> str:
    """The page from its three measurements."""
    steps = json.loads((docs / "lockstep.json").read_text(encoding="utf-8"))
    seeds = json.loads((docs / "parity.json").read_text(encoding="utf-8"))
    joint = dphubert_updates.markdown(dphubert_updates.stored())
    return "\n".join([markdown(steps), joint, training_parity.markdown(seeds)])


def markdown(found: dict[str, Any]) -> str:
    """The main table and what it does not show."""
    packages = ", ".join(f"{name} {number}" for name, number in found["packages"].items())
    paragraphs = (
        "Our training under `--protocol s3prl` beside s3prl's own `DownstreamExpert.forward`, `Featurizer` and "
        "optimiser: equal initial weights, equal batches, dropout and SpecAugment off, one thread. Hidden states are "
        f"fixed random ones, heads are small. Made by `tests/support/lockstep_page.py` with {packages}; "
        "`tests/parity/test_training_parity.py` holds 30 updates of each task, and 100 where a head is slow to say "
        "anything.",
        "Differences are the largest of all losses, relative to s3prl's. Predictions are those of test utterances "
        "after the last update (for ASV, cosines of trials within 1e-4); in brackets, how many different ones. "
        "float64 shows that both compute the same.",
        "In float32 sums are rounded, and training makes more of a difference with every update, of ours and of "
        "s3prl's. So s3prl also trained beside itself, with the utterances of each batch in reverse: the same losses, "
        "added up in another order. Updates: for how many all losses stay within 1e-4. Learning rates: one at which "
        "the small heads learn, then that of s3prl's YAML, at which all nine tasks stay within 1e-4, nearly all as "
        "close to s3prl as s3prl is to itself. Farther apart are only recurrent heads under CTC at a hundred times "
        "s3prl's rate, where s3prl's two trainings part soon after (ASR) or are on the way (SF). Loss: s3prl's, at the "
        "first and the last update. Equal predictions say little where there are few different ones, in brackets: at "
        "s3prl's own rates 120 updates teach recurrent heads to say next to nothing, and what agrees is losses.",
    )
    lines = ["# Parity with s3prl", "", *textwrap.wrap(paragraphs[0], width=120), ""]
    lines += [
        "| task | what is compared | updates | losses | float64: largest difference | equal predictions |",
        "|---|---|---|---|---|---|",
    ]
    for task, one in found["tasks"].items():
        lines.append(
            f"| {task} | {one['compared']} | {one['steps']} | {one['n_losses']} "
            f"| {one['largest_relative_difference']:.1e} | {one['n_agreed']} of {one['n_items']} ({one['n_answers']}) |"
        )
    lines += ["", *textwrap.wrap(paragraphs[1], width=120), "", *textwrap.wrap(paragraphs[2], width=120), ""]
    lines += [
        "| task | learning rate | float32: largest difference | updates | s3prl beside itself | updates "
        "| equal predictions | loss |",
        "|---|---:|---:|---:|---:|---:|---|---|",
    ]
    for task, one in found["tasks"].items():
        for single in one["float32"]:
            apart = " | ".join(f"{s['largest']:.1e} | {s['updates']}" for s in (single["ours"], single[REORDERED]))
            first, last = single["first_and_last_loss"]
            lines.append(
                f"| {task} | {single['learning_rate']:g} | {apart} | {single['n_agreed']} of {one['n_items']} "
                f"({single['n_answers']}) | {first:.2f} to {last:.2f} |"
            )
    lines += ["", "What had to be made equal first:", ""]
    for line in (
        "s3prl's dictionaries have outputs that no text has (`<unk>`; `<pad>` in ASR). Ours got them too.",
        "s3prl's x-vector pools one frame of padding into all but the longest utterance of a batch. Training "
        f"utterances of ASV have one length here; with several, losses differ by {found['asv_lengths_differ']:.1e}.",
        "s3prl's verification expert calls `.cuda()`; on a CPU that is made to do nothing.",
    ):
        lines += textwrap.wrap(f"- {line}", width=120, subsequent_indent="  ")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
