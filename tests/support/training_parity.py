"""Training parity: our runner under protocol ``s3prl`` against s3prl's own run_downstream, on recorded speech.

By hand, resumable (finished runs are kept in FOLDER), a quarter of an hour a task on one core::

    python tests/support/training_parity.py run FOLDER --tasks ks,sid,pr,asr
    python tests/support/training_parity.py report FOLDER docs/parity.json
    python tests/support/lockstep_page.py --render

Both sides train on the same utterances with the same upstream, learning rate, steps and batch size. Hidden
states of a waveform are remembered, since our upstreams do not depend on the batch.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import io
import json
import os
import re
import statistics
import textwrap
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import layouts
from scipy import stats

from skill_bench.base.documents import write_atomic
from skill_bench.corpora.data import TaskData
from skill_bench.corpora.load import load_task_data

UPSTREAM, SIDES = "skill", ("ours", "s3prl")
# After 300 steps at PR's learning rate seeds are up to six points apart: three would not tell a difference.
SEEDS = {"ks": range(3), "sid": range(3), "pr": range(9), "asr": range(3)}
# Few steps, so that an hour of one core is enough; learning rates at which they show something and seeds vary little.
SETTINGS: dict[str, dict[str, Any]] = {
    "ks": {"learning_rate": 1e-2, "batch_size": 32, "steps": 300, "evaluate_every_steps": 50},
    "sid": {"learning_rate": 1e-3, "batch_size": 16, "steps": 160, "evaluate_every_steps": 80},
    "pr": {"learning_rate": 1e-2, "batch_size": 16, "steps": 300, "evaluate_every_steps": 50},
    "asr": {"learning_rate": 3e-3, "batch_size": 8, "steps": 300, "evaluate_every_steps": 100},
}
# At most so many utterances of each part, for the same reason.
LIMITS = {"pr": 120, "asr": 64}
# What s3prl prints when it evaluates test.
PRINTED = {
    "ks": {"accuracy": r"test acc: ([\d.]+)"},
    "sid": {"accuracy": r"test acc: ([\d.]+)"},
    "pr": {"per": r"test per: ([\d.]+)"},
    "asr": {"wer": r"test-clean wer: ([\d.]+)", "cer": r"test-clean uer: ([\d.]+)"},
}
DOWNSTREAM = {"ks": "speech_commands", "sid": "voxceleb1", "pr": "ctc", "asr": "asr"}
DIFFERENCES = (
    "s3prl's SID head has outputs for the 1251 speakers of VoxCeleb1; here it is told how many there are, as outputs "
    "that never occur cost accuracy after so few steps. What stays different: s3prl cuts KS's silence anew each time "
    "and draws its dev set anew at each evaluation. Initial weights and orders come from other random numbers. "
    "s3prl's feature lengths are rounded, so a frame of padding may be added."
)
HEAD = {"ks": {}, "sid": {}, "pr": {}, "asr": {"projection_dim": 128, "hidden_dims": (128,), "dropout": 0.2}}


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description="Our runner and s3prl's, on the same data with the same settings.")
    commands = parser.add_subparsers(dest="command", required=True)
    run_command = commands.add_parser("run")
    run_command.add_argument("folder", type=Path)
    run_command.add_argument("--tasks", default=",".join(SETTINGS))
    run_command.add_argument("--sides", default=",".join(SIDES))
    run_command.add_argument("--seeds", default="", help="instead of the task's own, e.g. 0,1")
    run_command.add_argument("--corpora", type=Path, default=os.environ.get("SKILL_BENCH_CORPORA"))
    report_command = commands.add_parser("report")
    report_command.add_argument("folder", type=Path)
    report_command.add_argument("json", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "run":
        for task in arguments.tasks.split(","):
            run(
                task,
                arguments.folder,
                arguments.corpora,
                sides=arguments.sides.split(","),
                seeds=[int(seed) for seed in arguments.seeds.split(",") if seed] or SEEDS[task],
            )
    else:
        found = collect(arguments.folder)
        write_atomic(arguments.json, (json.dumps(found, indent=1) + "\n").encode())


def run(task: str, folder: Path, corpora: Path, *, sides: Sequence[str], seeds: Sequence[int]) -> None:
    """Every one of the seeds and sides that has no result yet."""
    _remember_features()
    limit = LIMITS.get(task)
    cache_dir = folder / "cache"
    data = load_task_data("local", task, data_root=corpora, cache_dir=cache_dir, limit=limit)
    made_with = _made_with(task, data)
    folder = folder / hashlib.sha256(json.dumps(made_with, sort_keys=True).encode()).hexdigest()[:12]
    if "ours" in sides:
        for seed in seeds:
            _keep(folder / f"{task}-ours-{seed}.json", made_with, lambda seed=seed: _ours(task, data, cache_dir, seed))
    config = None
    for seed in seeds if "s3prl" in sides else ():
        path = folder / f"{task}-s3prl-{seed}.json"
        if not path.exists():
            config = config or layouts.FROM_DATA[task](data, folder / f"{task}-layout", **_configuration(task))
            _keep(path, made_with, lambda seed=seed, config=config: _s3prl(task, data, config, folder, seed))


def _made_with(task: str, data: TaskData) -> dict[str, Any]:
    """What a result holds for: results of other weights, data or settings lie in other folders."""
    from skill_bench.upstream.load import load_upstream

    return {
        "weights_sha256": load_upstream(UPSTREAM).system().checkpoint_sha256,
        "data": data.fingerprint,
        "settings": SETTINGS[task] | {"limit": LIMITS.get(task)},
        "head": HEAD[task],
    }


def _keep(path: Path, made_with: dict[str, Any], measure: Any) -> None:
    if path.exists():
        return
    started = time.perf_counter()
    values = measure()
    seconds = time.perf_counter() - started
    write_atomic(path, json.dumps({"made_with": made_with, "values": values, "seconds": seconds}).encode())
    print(path.stem, values, f"{seconds:.0f} s", flush=True)


def _ours(task: str, data: TaskData, cache_dir: Path, seed: int) -> dict[str, float | None]:
    from kind_data import run_cell

    from skill_bench.evaluation.task_files import load_task
    from skill_bench.tasks import TrainedSpec
    from skill_bench.upstream.load import load_upstream

    spec = load_task(task).for_suite("local", protocol="s3prl")
    assert isinstance(spec, TrainedSpec)
    settings = {name: value for name, value in SETTINGS[task].items() if name != "learning_rate"}
    settings |= {"learning_rates": (SETTINGS[task]["learning_rate"],), "accumulate": 1, "spec_augment": False}
    spec = spec.model_copy(
        update={
            "protocol": spec.protocol.model_copy(update=settings),
            "head": spec.head.model_copy(update=HEAD[task]),
        }
    )
    result = run_cell(load_upstream(UPSTREAM), spec, data, seed=seed, cache_dir=cache_dir)
    return {name: result.metrics[name].value for name in PRINTED[task]}


def _s3prl(task: str, data: TaskData, config: Path, folder: Path, seed: int) -> dict[str, float]:
    import skill_bench.s3prl
    from skill_bench.s3prl.__main__ import main as s3prl

    assert skill_bench.s3prl
    if task == "sid":  # s3prl keeps lists of files in its own package, keyed by nothing
        dataset: Any = importlib.import_module("s3prl.downstream.voxceleb1.dataset")
        dataset.CACHE_PATH = str(folder / "sid-layout" / "cache")
        n_speakers = len({utterance.target for fold in data.folds for utterance in fold.train})
        dataset.SpeakerClassifiDataset.speaker_num = property(lambda _: n_speakers, lambda _, number: None)
    expdir = folder / f"{task}-exp-{seed}"
    if not (expdir / f"states-{SETTINGS[task]['steps']}.ckpt").exists():
        s3prl(
            [
                *("run_downstream", "-m", "train", "-u", UPSTREAM, "-d", DOWNSTREAM[task], "--device", "cpu", "-a"),
                *("-c", str(config), "-p", str(expdir), "--seed", str(seed)),
            ]
        )
    (best,) = expdir.glob("dev*best.ckpt")
    split = "test-clean" if task == "asr" else "test"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        s3prl(["run_downstream", "-m", "evaluate", "-t", split, "-e", str(best), "--device", "cpu"])
    return {name: _printed(printed.getvalue(), pattern, task) for name, pattern in PRINTED[task].items()}


def _printed(text: str, pattern: str, task: str) -> float:
    (found,) = re.findall(pattern, text)
    # ASR prints percent, the others shares.
    return float(found) if task == "asr" else 100 * float(found)


def _remember_features() -> None:
    """Makes encoders remember each waveform's hidden states for the rest of the process."""
    from skill_bench.upstream.encoder import EncoderUpstream

    if hasattr(EncoderUpstream.hidden_states, "remembers"):
        return
    original = EncoderUpstream.hidden_states
    remembered: dict[bytes, Any] = {}

    def hidden_states(self: EncoderUpstream, waves: list[Any]) -> list[Any]:
        keys = [hashlib.sha1(self.identity.encode() + wave.numpy().tobytes()).digest() for wave in waves]
        for key, wave in zip(keys, waves, strict=True):
            if key not in remembered:
                (remembered[key],) = original(self, [wave])
        return [remembered[key] for key in keys]

    hidden_states.remembers = original  # type: ignore[attr-defined]
    EncoderUpstream.hidden_states = hidden_states  # type: ignore[method-assign]


def _configuration(task: str) -> dict[str, Any]:
    return {**SETTINGS[task], "head": HEAD[task]}


def collect(folder: Path) -> dict[str, Any]:
    """The results in the folder: task -> metric -> side -> seed; of each task those like its newest one."""
    tasks: dict[str, Any] = {}
    for task, metrics in PRINTED.items():
        found = {path: json.loads(path.read_text()) for path in folder.glob(f"*/{task}-*-*.json")}
        if not found:
            continue
        newest = found[max(found, key=lambda path: path.stat().st_mtime_ns)]["made_with"]
        same = {path.stem: one["values"] for path, one in found.items() if one["made_with"] == newest}
        kept = ("weights_sha256", "data", "settings", "remark")
        tasks[task] = {name: newest[name] for name in kept if name in newest} | {"metrics": {}}
        for metric in metrics:
            tasks[task]["metrics"][metric] = {
                side: {
                    str(seed): same[name][metric] for seed in SEEDS[task] if (name := f"{task}-{side}-{seed}") in same
                }
                for side in SIDES
            }
    packages = {name: version(name) for name in ("s3prl", "torch", "skill-bench")}
    measured = datetime.now(tz=UTC).date().isoformat()
    return {"upstream": UPSTREAM, "packages": packages, "measured": measured, "tasks": tasks}


def within_spread(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    """Whether the means differ by no more than the seeds of the side that varies more."""
    spread = max(max(values) - min(values) for values in (ours, theirs))
    return abs(statistics.fmean(ours) - statistics.fmean(theirs)) <= spread


def difference_and_interval(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Difference of the means, with Welch's 95 % interval where both sides have two seeds."""
    difference = f"{statistics.fmean(ours) - statistics.fmean(theirs):+.2f}"
    if min(len(ours), len(theirs)) < 2:
        return difference
    interval = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval()
    return f"{difference} [{interval.low:+.2f}, {interval.high:+.2f}]"


def markdown(found: dict[str, Any]) -> str:
    """The second part of docs/parity.md; `lockstep_page` writes the first."""
    packages = ", ".join(f"{name} {number}" for name, number in found["packages"].items())
    lines = [
        "## Over seeds: both runners, with random numbers of their own",
        "",
        *textwrap.wrap(
            "Our runner under `--protocol s3prl` and s3prl's own `run_downstream`, on the same recordings (those of "
            f"the `local` suite's packaged layout), with the same upstream (the bundled `{found['upstream']}`), "
            "learning rate, steps and batch size; the checkpoint with the best dev metric, evaluated once on test. "
            f"Made by `tests/support/training_parity.py` with {packages} on {found['measured']}; SpecAugment is off, "
            "ASR's head has 128 units. PR has nine seeds, since after so few steps they are points apart."
            + (f" {found['changed_since']}" if "changed_since" in found else ""),
            width=120,
        ),
        "",
        "| task | metric | ours: mean (seeds) | s3prl: mean (seeds) | difference, 95 % interval | within spread |",
        "|---|---|---|---|---|---|",
    ]
    for task, one in found["tasks"].items():
        for metric, sides in one["metrics"].items():
            ours, theirs = (list(sides[side].values()) for side in ("ours", "s3prl"))
            if not ours or not theirs:
                continue
            verdict = "yes" if within_spread(ours, theirs) else "no"
            difference = difference_and_interval(ours, theirs)
            lines.append(f"| {task} | {metric} % | {_side(ours)} | {_side(theirs)} | {difference} | {verdict} |")
    lines += [
        "",
        *textwrap.wrap(
            "Within spread: the means differ by no more than the best and the worst seed of the side that varies more. "
            "Interval: Welch's, of the difference of the means over seeds.",
            width=120,
        ),
        "",
    ]
    if unfinished := _unfinished(found):
        lines += [f"Not measured: {', '.join(unfinished)}.", ""]
    lines += ["Settings:", ""]
    for task, one in found["tasks"].items():
        s, weights = one["settings"], one["weights_sha256"][:12]
        lines.append(
            f"- {task}: weights {weights}, learning rate {s['learning_rate']:g}, {s['steps']} steps of "
            f"{s['batch_size']} utterances, dev read every {s['evaluate_every_steps']}"
            + (f", at most {s['limit']} utterances of each part" if s["limit"] else "")
            + (f"; {one['remark']}" if "remark" in one else "")
        )
    lines += ["", *textwrap.wrap(DIFFERENCES, width=120)]
    return "\n".join(lines) + "\n"


def _unfinished(found: dict[str, Any]) -> list[str]:
    """What of all tasks, sides and seeds has no result, in words."""
    missing = []
    for task, metrics in PRINTED.items():
        sides = found["tasks"].get(task, {}).get("metrics", {}).get(next(iter(metrics)))
        if sides is None or not all(sides.values()):
            missing.append(task)
            continue
        for side, by_seed in sides.items():
            absent = [str(seed) for seed in SEEDS[task] if str(seed) not in by_seed]
            missing += [f"{task} by {side}, seed {seed}" for seed in absent]
    return missing


def _side(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.2f} ({', '.join(f'{value:.2f}' for value in values)})"


if __name__ == "__main__":
    main()
