"""A GPU: extraction against transformers, how busy it is kept, distillation in half precision, scores beside the CPU's.

Every function takes the device, so that tests hold the same contests in miniature on a CPU.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from skill_bench.base.errors import SkillBenchError
from skill_bench.base.progress import Progress
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.base.specs import Precision
from skill_bench.corpora.data import Utterance
from skill_bench.evaluation.evaluate import evaluate
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from skill_bench.features.extract import extract
from skill_bench.measure.memory import peak_on_cpu, peak_on_gpu
from skill_bench.measure.throughput import noise
from skill_bench.models.architecture import Architecture
from skill_bench.models.arithmetic import without_tf32
from skill_bench.models.checkpoint import LoadedModel
from skill_bench.models.encoder import Encoder, pad
from skill_bench.probes.batches import FrameBatches, shuffled
from skill_bench.records.record import Record, System, read_predictions
from skill_bench.report.statistics.interval import Interval, interval_of
from skill_bench.report.statistics.sample import sample_of
from skill_bench.upstream.encoder import EncoderUpstream
from skill_bench.upstream.interface import DTYPES
from speed import distillation as steps
from speed.contest import Candidates
from speed.encoders import OURS, base_plus, transformers_model
from speed.figures import Facts

_FILES_AT_A_TIME = 16
_TOLERANCES: dict[Precision, float] = {"fp32": 1e-3, "bf16": 1e-1, "fp16": 2e-2}
"""Of states and their means, over the largest: digits of some hundred sums."""


def device() -> torch.device:
    """The GPU.

    Raises:
        SkillBenchError: there is none.
    """
    if not torch.cuda.is_available():
        raise SkillBenchError(
            "there is no GPU on this machine. On one that has one: "
            "`skill-bench bench --only gpu-fp32,gpu-bf16,gpu-busy,gpu-distillation,gpu-scores`."
        )
    return torch.device("cuda")


@contextmanager
def extraction(
    precision: Precision, where: torch.device, *, seconds: float = 600.0, architecture: Architecture | None = None
) -> Iterator[Candidates]:
    """From files to time means of all hidden states on the host; and the models alone, on what is on the device.

    Raises:
        MissingExtra: transformers is not installed.
        AssertionError: they do not give the same means.
    """
    encoder = _encoder(architecture)
    with tempfile.TemporaryDirectory(prefix="skill-bench-gpu-") as name:
        folder = Path(name)
        hugging = transformers_model(encoder, folder / "transformers").to(where, DTYPES.get(precision, torch.float32))
        upstream, spoken = _upstream(encoder, precision, where), _speech(folder / "audio", seconds)
        waves = noise(batch_size=32, seconds=seconds / 60, device=where, dtype=torch.float32)
        batch = torch.stack(waves).to(hugging.dtype)
        ours, theirs = partial(_means, upstream, spoken, folder), partial(_straightforward, hugging, spoken, where)
        # Of one utterance, since transformers hears the padding of others.
        found, expected = _means(upstream, spoken[:1], folder), _straightforward(hugging, spoken[:1], where)
        _agree(found, expected, precision, what="means")
        _check_stream(upstream, spoken[:24], folder, precision)
        yield Candidates(
            name=f"Extraction on a GPU, WavLM Base+, {precision}",
            what=(
                f"{seconds:g} s of audio in files of 4 to 16 s (FLAC), to time means of all hidden states in host "
                f"memory; equal random weights, TF32 off. transformers: eager, {_FILES_AT_A_TIME} files at a time, "
                "sorted by length, without a mask, decoded between batches, as a script does. The models alone: "
                f"{len(waves)} utterances of {seconds / 60:g} s that are on the device already."
            ),
            amount=seconds,
            unit="s of audio",
            run={
                OURS: ours,
                "transformers": theirs,
                f"{OURS}, the model alone": _repeated(lambda: upstream.hidden_states(waves), where, seconds, waves),
                "transformers, the model alone": _repeated(
                    lambda: torch.stack(hugging(batch, output_hidden_states=True).hidden_states), where, seconds, waves
                ),
            },
        )


def busy(where: torch.device, *, seconds: float = 3600.0, architecture: Architecture | None = None) -> Facts:
    """The share of the time in which kernels run, while means are extracted from files."""
    rows = []
    encoder = _encoder(architecture)
    with tempfile.TemporaryDirectory(prefix="skill-bench-gpu-") as name:
        folder = Path(name)
        spoken = _speech(folder / "audio", seconds)
        precisions: tuple[Precision, ...] = ("fp32", "bf16")
        for precision in precisions:
            upstream = _upstream(encoder, precision, where)
            _means(upstream, spoken[:40], folder)  # what is made once
            wall, share = _busy_share(lambda upstream=upstream: _means(upstream, spoken, folder))  # type: ignore[misc]
            rows.append((precision, f"{seconds / wall:.0f}", "not seen" if share is None else f"{share:.1%}"))
    return Facts(
        name="How busy a GPU is kept",
        what=(
            "Kernels' share of the time (copies not counted), by torch's profiler, while means of "
            f"{seconds / 3600:g} h of audio are extracted from files with WavLM Base+'s shape."
        ),
        heads=("precision", "s of audio a second", "kernels run"),
        rows=tuple(rows),
    )


@contextmanager
def recomputed(
    where: torch.device, *, seconds: float = 120.0, architecture: Architecture | None = None
) -> Iterator[Candidates]:
    """Frames that no cache holds: an epoch of batches, as training asks for them, and extraction of the same files."""
    with tempfile.TemporaryDirectory(prefix="skill-bench-frames-") as name:
        spoken = _speech(Path(name) / "audio", seconds)
        extracted = partial(
            extract, _upstream(_encoder(architecture), "fp32", where), spoken, pooled=False,
            cache_dir=Path(name) / "cache", cache_limit_bytes=1,
        )  # fmt: skip
        features = extracted()
        assert len(features.bytes_without_place) == len(spoken), "the cache has kept frames"
        batches = FrameBatches(
            features=features, frame_counts=features.frame_counts, label=lambda utterance: 0, kept=spoken, device=where
        )
        order = next(shuffled(n=len(spoken), batch_size=len(spoken), generator=torch.Generator().manual_seed(0)))
        groups = [[spoken[i] for i in order[start : start + 8]] for start in range(0, len(order), 8)]

        def epoch() -> int:
            return sum(sum(batch.lengths) for batch in batches.stream(groups, keep=False))

        assert epoch() == sum(features.frame_counts.values())
        yield Candidates(
            name=f"Frames that no cache holds, WavLM Base+, {where.type}",
            what=(
                f"{seconds:g} s of audio in files of 4 to 16 s, fp32: an epoch of batches of 8 in random order, each "
                "computed while the one before would be trained on (nothing is trained here), and plain extraction, "
                "one stream over all files."
            ),
            amount=seconds,
            unit="s of audio",
            run={f"{OURS}, an epoch's batches": epoch, "extraction": extracted},
        )


def distillation(
    where: torch.device,
    *,
    batch_size: int = 32,
    utterance_seconds: float = 10.0,
    architecture: Architecture | None = None,
) -> Candidates:
    """A joint update in each precision; half ones are mixed, as ``distill --precision`` makes them."""
    teacher = _encoder(architecture)
    waves = noise(batch_size=batch_size, seconds=utterance_seconds, device=where, dtype=torch.float32)
    return Candidates(
        name="Distillation step on a GPU, WavLM Base+",
        what=(
            f"One update of the joint stage on {batch_size} utterances of {utterance_seconds:g} s: teacher, gated "
            "student, distance, backward, AdamW, TF32 off. Memory: most that one update allocates at one time, "
            "weights and optimiser not."
        ),
        amount=batch_size * utterance_seconds,
        unit="s of audio",
        run={name: _updates(teacher, pad(waves)[0], name, where) for name in ("bf16", "fp16", "fp32")},
        memory=True,
        peak=partial(peak_on_gpu, device=where) if where.type == "cuda" else peak_on_cpu,
    )


def scores(
    where: str,
    *,
    cache_dir: Path,
    progress: Progress,
    upstream: str = "skill",
    tasks: Sequence[str] = ("ks", "pr"),
    limit: int | None = None,
) -> Facts:
    """Tasks end to end on the device, in whole and half precision, beside the CPU and its interval.

    Raises:
        SkillBenchError: a cell failed.
    """
    ways: tuple[tuple[str, Precision], ...] = (("cpu", "fp32"), (where, "fp32"), (where, "bf16"))
    with tempfile.TemporaryDirectory(prefix="skill-bench-gpu-") as name:
        found: list[dict[str, Record]] = []
        for number, (place, precision) in enumerate(ways):
            out = Path(name) / f"{number}"
            plan = Plan(
                upstreams=[UpstreamRequest(name=upstream, precision=precision)], suite="demo", tasks=tasks, seeds=[0],
                out_dir=out, cache_dir=_without_features(cache_dir, Path(name) / f"cache-{number}"), limit=limit,
                device=place, profile=False,
            )  # fmt: skip
            outcome = evaluate(plan, progress=progress)
            if outcome.failures:
                raise SkillBenchError("; ".join(f"{one.name}: {one.error}" for one in outcome.failures))
            found.append({record.key.task: record for record in outcome.records})
        intervals = {task: _interval(record, Path(name) / "0") for task, record in found[0].items()}
    return Facts(
        name="Scores of a GPU beside the CPU's",
        what=f"Upstream {upstream}, demo suite, one seed, from audio to score; the interval is the CPU's, 95 %.",
        heads=("task", "metric", "where", "score", "the CPU's interval", "seconds"),
        rows=tuple(
            _score(records[task], f"{place}, {precision}", intervals[task])
            for task in tasks
            for (place, precision), records in zip(ways, found, strict=True)
        ),
    )


def _interval(record: Record, out: Path) -> Interval | None:
    return interval_of([sample_of(record, read_predictions(record.path(out), record), record.metric)])


def _score(record: Record, where: str, interval: Interval | None) -> tuple[str, ...]:
    value = record.metrics[record.metric].value
    place = "none"
    if interval is not None and value is not None:
        inside = "inside" if interval.low <= value <= interval.high else "OUTSIDE"
        place = f"{inside} {interval.low:.2f} to {interval.high:.2f}"
    shown = "none" if value is None else f"{value:.2f}"
    return (record.key.task, record.metric, where, shown, place, f"{sum(record.provenance.seconds.values()):.1f}")


def _without_features(cache_dir: Path, folder: Path) -> Path:
    """A cache that shares the speech of another."""
    folder.mkdir()
    for kept in cache_dir.glob("*") if cache_dir.exists() else ():
        if kept.name != "features":
            (folder / kept.name).symlink_to(kept.resolve())
    return folder


def _encoder(architecture: Architecture | None) -> Encoder:
    torch.manual_seed(0)
    return Encoder(architecture or base_plus()).eval()


def _upstream(encoder: Encoder, precision: Precision, where: torch.device) -> EncoderUpstream:
    own = Encoder(encoder.architecture).eval()
    own.load_state_dict(encoder.state_dict())
    loaded = LoadedModel(encoder=own, metadata={}, format="benchmark", sha256="benchmark")
    system = System(name="wavlm-base-plus", title="WavLM Base+'s shape", identity="")
    return EncoderUpstream(loaded=loaded, system=system).freeze().at_precision(precision).to(where)


def _speech(folder: Path, seconds: float) -> list[Utterance]:
    """Files of 4 to 16 s, or shorter where there is not much to be had: noise that swells, as loud as speech."""
    random, found, left = np.random.default_rng(0), list[Utterance](), round(seconds * SAMPLE_RATE_HZ)
    folder.mkdir(parents=True)
    while left > 0:
        n = min(int(random.integers(4 * SAMPLE_RATE_HZ, 16 * SAMPLE_RATE_HZ)), max(left, SAMPLE_RATE_HZ))
        path = folder / f"{len(found)}.flac"
        swell = 0.05 * (1 + np.sin(np.arange(n) / 2000))
        soundfile.write(path, (swell * random.standard_normal(n)).astype(np.float32), SAMPLE_RATE_HZ)
        found.append(
            Utterance(id=path.stem, path=path, target="", speaker=None, seconds=n / SAMPLE_RATE_HZ, source="benchmark")
        )
        left -= n
    return found


def _means(upstream: EncoderUpstream, spoken: Sequence[Utterance], folder: Path) -> Tensor:
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        features = extract(upstream, spoken, pooled=True, cache_dir=Path(cache))
        return torch.stack([features[utterance.id] for utterance in spoken])


@torch.no_grad()
def _straightforward(model: Any, spoken: Sequence[Utterance], where: torch.device) -> Tensor:
    """As transformers advises for base models: zeros behind shorter utterances, no mask."""
    found: dict[str, Tensor] = {}
    order = sorted(spoken, key=lambda utterance: -(utterance.seconds or 0.0))
    for first in range(0, len(order), _FILES_AT_A_TIME):
        some = order[first : first + _FILES_AT_A_TIME]
        waves = [torch.from_numpy(soundfile.read(one.path, dtype="float32")[0]) for one in some]
        with without_tf32():
            states = model(pad(waves)[0].to(where, model.dtype), output_hidden_states=True).hidden_states
        counts = model._get_feat_extract_output_lengths(torch.tensor([len(wave) for wave in waves])).tolist()
        stacked = torch.stack(states)
        for number, (one, n_frames) in enumerate(zip(some, counts, strict=True)):
            found[one.id] = stacked[:, number, :n_frames].float().mean(dim=1).cpu()
    return torch.stack([found[utterance.id] for utterance in spoken])


@torch.no_grad()
def _check_stream(upstream: EncoderUpstream, spoken: Sequence[Utterance], folder: Path, precision: Precision) -> None:
    """What many small batches give, copies beside the computation, is what each utterance alone gives, waited for."""
    with without_tf32(), tempfile.TemporaryDirectory(dir=folder) as cache:
        options = {"cache_dir": Path(cache), "batch_seconds": 20.0}
        means = extract(upstream, spoken, pooled=True, **options)  # type: ignore[arg-type]
        frames = extract(upstream, spoken, pooled=False, **options)  # type: ignore[arg-type]
        for one in spoken:
            wave = torch.from_numpy(soundfile.read(one.path, dtype="float32")[0])
            alone = upstream.hidden_states([wave])[0].float().cpu()
            _agree(means[one.id], alone.mean(dim=1), precision, what=f"the stream's means of {one.id}")
            _agree(frames[one.id].float(), alone, precision, what=f"the stream's frames of {one.id}")


def _agree(found: Tensor, expected: Tensor, precision: Precision, *, what: str) -> None:
    assert found.shape == expected.shape, f"{what}: shape {tuple(found.shape)}, expected {tuple(expected.shape)}"
    difference = float((found - expected).abs().max() / expected.abs().max())
    assert difference < _TOLERANCES[precision], f"{what} differ by {difference:.2g} of the largest"


def _repeated(
    run: Callable[[], object], where: torch.device, seconds: float, waves: Sequence[Tensor]
) -> Callable[[], object]:
    """As often as it takes for ``seconds`` of audio, and waited for."""
    times = max(1, round(seconds * SAMPLE_RATE_HZ / sum(map(len, waves))))

    def repeat() -> None:
        with torch.no_grad(), without_tf32():
            for _ in range(times):
                run()
        if where.type == "cuda":
            torch.cuda.synchronize(where)

    return repeat


def _busy_share(run: Callable[[], object]) -> tuple[float, float | None]:
    """Seconds that ``run`` takes, and the share in which a kernel runs; None where the profiler sees none."""
    kind = torch.profiler.ProfilerActivity.CUDA if torch.cuda.is_available() else torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[kind], acc_events=True) as profiler:
        start = time.perf_counter()
        run()
        wall = time.perf_counter() - start
    spans = [
        (event.time_range.start, event.time_range.end)
        for event in profiler.events() or ()
        if event.device_type.name == "CUDA" and not event.name.startswith(("Memcpy", "Memset"))
    ]
    return wall, covered(spans) / 1e6 / wall if spans else None


def covered(spans: Sequence[tuple[float, float]]) -> float:
    """Length of the union of intervals."""
    total, end = 0.0, float("-inf")
    for start, stop in sorted(spans):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


def _updates(teacher: Encoder, waves: Tensor, precision: Precision, where: torch.device) -> Callable[[], object]:
    own = Encoder(teacher.architecture).eval()
    own.load_state_dict(teacher.state_dict())
    objective: nn.Module = steps.joint_objective(own.to(where)).to(where)
    optimizer = steps.optimizer_of(objective)
    scaler = GradScaler(where.type, enabled=precision == "fp16")
    number = iter(range(1 << 30))

    def run() -> float:
        half = DTYPES.get(precision)
        with without_tf32(), torch.autocast(where.type, half, enabled=half is not None):
            loss, _ = objective(0, waves, torch.Generator().manual_seed(next(number)))
        with without_tf32():
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        value = float(loss.item())
        assert value == value, f"the loss in {precision} is not a number"
        return value

    return run
