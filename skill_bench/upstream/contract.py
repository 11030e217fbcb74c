"""What every upstream must keep, as checks that explain themselves: s3prl's interface, and what makes a score exact.

Each check returns None, or what it found instead. :data:`CHECKS` is the battery of ``skill-bench upstream check``
and of the tests over ``upstreams/``.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.base.counted import counted
from skill_bench.base.errors import SkillBenchError
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.models.size import size_of
from skill_bench.upstream.interface import Upstream
from skill_bench.upstream.load import load_folder

LENGTHS = (16000, 800, 7777, 16000, 401)
"""Of the test utterances, in samples: equal, odd, and hardly longer than a frame."""
BATCH_TOLERANCE = 1e-4
"""Float32 over a few layers: sums in another order, nothing more."""
S3PRL_TOLERANCE_FRAMES = 5
"""From this difference to samples / downsample_rate on, s3prl's Featurizer refuses."""
Wave = Float[Tensor, " samples"]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An upstream under test; ``folder`` and ``ckpt`` are what it was loaded from."""

    upstream: Upstream
    folder: Path
    ckpt: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Check:
    """One clause: its name, why it matters, what to do, and the test itself."""

    name: str
    why: str
    remedy: str
    run: Callable[[Subject], str | None]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check found; ``found`` is None where the upstream keeps the clause."""

    check: Check
    found: str | None


def battery(subject: Subject, checks: Sequence[Check] | None = None) -> Iterator[Finding]:
    """Runs ``checks`` (all of them by default), one after the other; whatever a check raises is a finding."""
    for check in CHECKS if checks is None else checks:
        try:
            found = check.run(subject)
        except Exception as error:  # an own model may raise anything
            found = f"raised {type(error).__name__}: {error}"
        yield Finding(check=check, found=found)


def probe_waves() -> list[Wave]:
    """Noise of the test lengths, always the same."""
    generator = torch.Generator().manual_seed(0)
    return [0.1 * torch.randn(n, generator=generator) for n in LENGTHS]


def _declares_itself(subject: Subject) -> str | None:
    upstream, system = subject.upstream, subject.upstream.system()
    n_parameters = size_of(upstream.written_down())
    for wrong, found in (
        (not re.fullmatch(r"[0-9a-f]{64}", upstream.identity), f"identity {upstream.identity!r}, expected a sha256"),
        (
            (system.name, system.identity) != (upstream.name, upstream.identity),
            f"system() says {system.name!r} with identity {system.identity[:8]!r}, "
            f"the upstream {upstream.name!r} with {upstream.identity[:8]!r}",
        ),
        (not system.title, "no title"),
        (
            not system.n_hidden_states == upstream.n_hidden_states == len(set(upstream.layer_names)),
            f"{upstream.n_hidden_states} hidden states, {system.n_hidden_states} in system(), "
            f"{len(set(upstream.layer_names))} different layer names",
        ),
        (system.n_parameters != n_parameters, f"{system.n_parameters} parameters in system(), {n_parameters} in fact"),
        (upstream.sample_rate_hz != SAMPLE_RATE_HZ, f"{upstream.sample_rate_hz} Hz, expected {SAMPLE_RATE_HZ}"),
    ):
        if wrong:
            return found
    return None


def _shapes(subject: Subject) -> str | None:
    upstream, waves = subject.upstream, probe_waves()
    states = upstream.hidden_states(waves)
    if len(states) != len(waves):
        return f"{counted(len(states), 'result')} for {counted(len(waves), 'utterance')}"
    for wave, utterance in zip(waves, states, strict=True):
        n_frames = utterance.shape[1] if utterance.ndim == 3 else -1
        if utterance.shape != (upstream.n_hidden_states, n_frames, upstream.dim):
            expected = f"({upstream.n_hidden_states}, frames, {upstream.dim})"
            return f"{tuple(utterance.shape)} for {len(wave)} samples, expected {expected}"
        if utterance.dtype != torch.float32:
            return f"{utterance.dtype}, expected torch.float32"
        if not bool(utterance.isfinite().all()):
            return f"values that are not finite for {len(wave)} samples of noise"
        if abs(n_frames - round(len(wave) / upstream.downsample_rate)) >= S3PRL_TOLERANCE_FRAMES:
            given = f"{counted(n_frames, 'frame')} for {len(wave)} samples"
            return f"{given} at a downsample rate of {upstream.downsample_rate}"
    return None


def _s3prl_interface(subject: Subject) -> str | None:
    upstream, waves = subject.upstream, probe_waves()
    result = upstream(waves)
    hidden = result.get("hidden_states") if isinstance(result, dict) else None
    if not isinstance(hidden, list) or len(hidden) != upstream.n_hidden_states:
        return f"a {type(result).__name__} without a list of {upstream.n_hidden_states} hidden_states"
    if {tuple(layer.shape) for layer in hidden} != {(len(waves), hidden[0].shape[1], upstream.dim)}:
        return f"hidden states of shapes {sorted({tuple(layer.shape) for layer in hidden})}"
    if not torch.equal(result["last_hidden_state"], hidden[-1]):
        return "last_hidden_state is not the last of hidden_states"
    if upstream.get_downsample_rates("hidden_states") != upstream.downsample_rate:
        return f"get_downsample_rates gives {upstream.get_downsample_rates('hidden_states')}"
    for index, exact in enumerate(upstream.hidden_states(waves)):
        n_frames = exact.shape[1]
        for layer, expected in zip(hidden, exact, strict=True):
            if not torch.equal(layer[index, :n_frames], expected):
                return f"forward and hidden_states differ on utterance {index}"
            if bool(layer[index, n_frames:].any()):
                return f"frames after the end of utterance {index} are not zero"
    return None


def _is_frozen(subject: Subject) -> str | None:
    upstream = subject.upstream
    if trainable := [name for name, parameter in upstream.named_parameters() if parameter.requires_grad]:
        n = counted(len(trainable), "parameter that requires", "parameters that require")
        return f"{n} a gradient, such as {trainable[0]}"
    wave = probe_waves()[1].requires_grad_(True)
    result = upstream.train()([wave])
    if training := [name or "the upstream itself" for name, module in upstream.named_modules() if module.training]:
        return f"after .train(): {training[0]} is in training mode"
    tensors = [*result["hidden_states"], result["last_hidden_state"], *upstream.hidden_states([wave])]
    return "features that carry a gradient" if any(tensor.requires_grad for tensor in tensors) else None


def _is_trainable(subject: Subject) -> str | None:
    upstream = load_folder(subject.folder, subject.ckpt).train()
    parameters = dict(upstream.named_parameters())
    if not parameters:
        return None
    if fixed := [name for name, parameter in parameters.items() if not parameter.requires_grad]:
        return f"{len(fixed)} of {len(parameters)} parameters cannot learn, such as {fixed[0]}"
    hidden = upstream(probe_waves())["hidden_states"]
    if not any(layer.requires_grad for layer in hidden):
        return "features without a gradient"
    loss = torch.stack([layer.square().mean() for layer in hidden]).sum()
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    reached = [gradient for gradient in gradients if gradient is not None]
    if any(bool(gradient.any()) for gradient in reached):
        return None
    return f"a gradient that reaches {len(reached)} of {len(parameters)} parameters, and is 0 there"


def _batch_independence(subject: Subject) -> str | None:
    upstream, waves = subject.upstream, probe_waves()
    together = upstream.hidden_states(waves)
    reversed_order = upstream.hidden_states(waves[::-1])[::-1]
    for index, (wave, *in_batches) in enumerate(zip(waves, together, reversed_order, strict=True)):
        (alone,) = upstream.hidden_states([wave])
        for batched in in_batches:
            if batched.shape != alone.shape:
                return f"utterance {index}: {batched.shape[1]} frames in a batch, {alone.shape[1]} alone"
            if alone.numel() and (gap := float((batched - alone).abs().max())) >= BATCH_TOLERANCE:
                return f"utterance {index} ({len(wave)} samples): features differ by {gap:.2g} in a batch and alone"
    return None


def _determinism(subject: Subject) -> str | None:
    upstream, waves = subject.upstream, probe_waves()[:2]
    state = torch.get_rng_state()
    first = upstream.hidden_states(waves)
    if not torch.equal(torch.get_rng_state(), state):
        return "it draws from torch's random numbers"
    with torch.random.fork_rng(devices=[]):
        torch.rand(3)
        second = upstream.hidden_states(waves)
    same = all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    return None if same else "the same utterances gave other features the second time"


def _degenerate_speech(subject: Subject) -> str | None:
    for name, level in (("silence", 0.0), ("a constant", 0.5), ("1e-8", 1e-8)):
        for n_samples in (800, 16000):
            (states,) = subject.upstream.hidden_states([torch.full((n_samples,), level)])
            if not states.shape[1]:
                return f"no frames for {n_samples} samples"
            if not bool(states.isfinite().all()):
                return f"values that are not finite for {n_samples} samples of {name}"
    return None


def _short_utterances(subject: Subject) -> str | None:
    upstream, wave = subject.upstream, probe_waves()[0]
    for n_samples in (1, 399):
        short, whole = upstream.hidden_states([wave[:n_samples], wave])
        if short.shape != (upstream.n_hidden_states, short.shape[1], upstream.dim) or not whole.shape[1]:
            return f"{tuple(short.shape)} for {n_samples} samples beside {tuple(whole.shape)} for {len(wave)}"
        upstream([wave[:n_samples]])
    return None


def _same_identity_elsewhere(subject: Subject) -> str | None:
    (elsewhere,) = identities_in_another_process({subject.folder: subject.ckpt}).values()
    return (
        None
        if elsewhere == subject.upstream.identity
        else (f"identity {subject.upstream.identity[:8]} here, {elsewhere[:8]} in another process")
    )


def identities_in_another_process(requests: Mapping[Path, Path | None]) -> dict[Path, str]:
    """By folder, the identity of each upstream as a fresh Python sees it.

    Raises:
        SkillBenchError: that process failed; with the end of what it said.
    """
    code = (
        "import json, sys; from pathlib import Path; from skill_bench.upstream.load import load_folder; "
        "print(json.dumps([load_folder(Path(f), c).identity for f, c in json.loads(sys.argv[1])]))"
    )
    arguments = json.dumps([(str(folder), None if ckpt is None else str(ckpt)) for folder, ckpt in requests.items()])
    done = subprocess.run([sys.executable, "-P", "-c", code, arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SkillBenchError(f"another process could not load it: {done.stderr.strip()[-500:]}")
    return dict(zip(requests, json.loads(done.stdout.splitlines()[-1]), strict=True))


def _folder_works_elsewhere(subject: Subject) -> str | None:
    folder, name = subject.folder, subject.folder.name
    try:
        hubconf = (folder / "hubconf.py").read_text(encoding="utf-8")
    except OSError:
        return "no hubconf.py"
    if "from .expert import" not in hubconf or f"def {name}(" not in hubconf:
        return f"hubconf.py does not define {name}() with what it imports from .expert"
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "copied" / name
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
        elsewhere = load_folder(copy, subject.ckpt, refresh=False, model_config=None)
    same = elsewhere.identity == subject.upstream.identity
    return None if same else "a copy of the folder has another identity"


CHECKS: tuple[Check, ...] = (
    Check(
        name="declares itself",
        why="Records and tables print name, title and parameters; the feature cache is keyed by the identity.",
        remedy="Give Upstream.__init__ a complete System: identity a sha256 over weights and code, counts as they are.",
        run=_declares_itself,
    ),
    Check(
        name="shapes",
        why="Heads weigh (layers, frames, dim) and need as many frames as the downsample rate says.",
        remedy="Return float32 (layers, frames, dim) an utterance; leave out states of another width or frame rate.",
        run=_shapes,
    ),
    Check(
        name="s3prl's interface",
        why="s3prl's downstream code calls forward and get_downsample_rates, and pads with zeros.",
        remedy="Implement hidden_states only and inherit forward and get_downsample_rates from Upstream.",
        run=_s3prl_interface,
    ),
    Check(
        name="frozen in skill-bench",
        why="Dropout, layer drop or a gradient would change features while a head is trained.",
        remedy="Keep Upstream's freeze() and train(), and compute hidden_states within self.gradients().",
        run=_is_frozen,
    ),
    Check(
        name="trainable in s3prl",
        why="s3prl freezes an upstream itself, and fine-tunes it where it is asked to (-f).",
        remedy="Leave parameters as they are (no requires_grad_(False), no torch.no_grad() around the model).",
        run=_is_trainable,
    ),
    Check(
        name="independent of the batch",
        why="A norm over time or a mask of wrong length lets padding leak in: scores then depend on the batch size.",
        remedy="Run utterances one by one (ModuleUpstream does), batch equal lengths only, or mask exactly.",
        run=_batch_independence,
    ),
    Check(
        name="deterministic",
        why="Features are computed once and cached; a second run must give the same numbers.",
        remedy="Remove sampling, noise and masking from the forward pass.",
        run=_determinism,
    ),
    Check(
        name="silence and constants",
        why="Corpora hold silent files; one NaN ruins a head's training.",
        remedy="Add an epsilon where the waveform or its frames are normalised.",
        run=_degenerate_speech,
    ),
    Check(
        name="short utterances",
        why="Keyword corpora hold files shorter than a frame; they must not end a run of hours.",
        remedy="Return 0 frames, (layers, 0, dim), for what is shorter than the receptive field.",
        run=_short_utterances,
    ),
    Check(
        name="same identity in another process",
        why="The cache and the table know the model by its identity; it must not depend on time, place or hash seed.",
        remedy="Hash names, shapes and values of the weights in sorted order, and nothing else that changes.",
        run=_same_identity_elsewhere,
    ),
    Check(
        name="folder works elsewhere",
        why="s3prl's way to add an upstream is to copy its folder into s3prl/upstream/.",
        remedy="Import relatively (`from .expert import`), find weights beside expert.py, define NAME() in hubconf.py.",
        run=_folder_works_elsewhere,
    ),
)
