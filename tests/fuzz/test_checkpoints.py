"""Damaged checkpoints of every format: each is refused with a message, or loads to finite weights and features.

Damaged .onnx files: each is refused with a message, or is another model that runs.
"""

from __future__ import annotations

import copy
import json
import random
import resource
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from checkpoint_files import FAMILIES, Parts, write
from mutations import generators, mutated_bytes, mutated_tree, n_mutants
from small_encoders import properties, small_graph
from torch import Tensor

from skill_bench.base.errors import CheckpointError
from skill_bench.models import checkpoint
from skill_bench.upstream.graph import from_file

DEFAULT = 70  # of each of nine families
MAX_BYTES = 2 << 30
TENSORS: tuple[Callable[[Tensor], Any], ...] = (
    lambda t: t.to(torch.int64),
    lambda t: t.to(torch.int8),
    lambda t: t.to(torch.complex64),
    lambda t: t.to(torch.float64) * 1e300,
    lambda t: t.to(torch.float16),
    lambda t: t.to(torch.bfloat16),
    lambda t: torch.full_like(t, float("nan")),
    lambda t: torch.full_like(t, float("inf")),
    lambda t: t.flatten()[:0],
    lambda t: t.flatten(),
    lambda t: t[None],
    lambda t: t.repeat(*[2] * max(t.ndim, 1)),
    lambda t: torch.zeros(()).expand(120_000, 120_000),  # 57 GB, of which 4 bytes are stored
    lambda t: torch.zeros(1).expand(t.shape),
    lambda t: t.to("meta"),
    lambda t: t.to_sparse(),
    lambda t: t.tolist(),
    lambda t: {"weight": t},
    lambda t: None,
)
OF_GRAPHS = 60  # of each kind of damage


def mutate(rng: random.Random, parts: Parts) -> tuple[Parts, str]:
    """One configuration value or one tensor changed."""
    tensors = [
        (holder, key)
        for content in parts.values()
        for holder in (content, *(value for value in content.values() if isinstance(value, dict)))
        for key, value in holder.items()
        if isinstance(value, Tensor)
    ]
    if rng.random() < 0.35:
        holder, key = rng.choice(tensors)
        which = rng.randrange(len(TENSORS) + 1)
        if which == len(TENSORS):
            prefix = rng.choice(("module.", "model.wav2vec2.", "student.", "\0"))
            for name in list(holder):
                holder[f"{prefix}{name}"] = holder.pop(name)
            return parts, f"prefix {prefix!r}"
        holder[key] = TENSORS[which](holder[key])
        return parts, f"tensor {key}, change {which}"
    name = rng.choice(list(parts))
    changed, what = mutated_tree(rng, parts[name])
    return {**parts, name: changed}, f"{name}: {what}"


def outcome(path: Path) -> str:
    """``refused`` or ``loaded``; anything else is an error of the reader."""
    try:
        loaded = checkpoint.load(path)
    except CheckpointError as error:
        return "refused" if 20 < len(str(error)) < 5000 else f"an error of {len(str(error))} characters"
    model = loaded.encoder
    assert all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values()), "weights that are not finite"
    shortest = model.architecture.receptive_field_samples
    if shortest < 20_000:
        states, _ = model(0.1 * torch.randn(1, shortest + model.architecture.hop_samples))
        assert all(bool(state.isfinite().all()) for state in states), "features that are not finite"
    return "loaded"


def damaged(family: str, folder: Path) -> Iterator[tuple[Path, str]]:
    whole = FAMILIES[family]()
    for number, rng in enumerate(generators(f"checkpoint {family}", DEFAULT)):
        found = None
        for attempt in range(20):
            found = found or _damaged(rng, copy.deepcopy(whole), folder / f"{number}-{attempt}")
        assert found is not None
        yield found
        shutil.rmtree(folder)


def _damaged(rng: random.Random, parts: Parts, folder: Path) -> tuple[Path, str] | None:
    """None: torch, json or safetensors cannot write such a thing, so nobody has such a file."""
    if rng.random() < 0.2:
        path = write(parts, folder)
        file = folder / rng.choice(list(parts))
        data, what = mutated_bytes(rng, file.read_bytes())
        file.write_bytes(data)
        return path, f"{file.name}: {what}"
    parts, what = mutate(rng, parts)
    try:
        return write(parts, folder), what
    except Exception:
        return None


@pytest.mark.parametrize("family", FAMILIES)
def test_undamaged_checkpoints_load(family: str, tmp_path: Path) -> None:
    assert outcome(write(FAMILIES[family](), tmp_path / "m")) == "loaded"


@pytest.mark.parametrize("family", FAMILIES)
def test_damaged_checkpoints(family: str, tmp_path: Path) -> None:
    before = _peak_bytes()
    outcomes, faults = {"refused": 0, "loaded": 0}, []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about what is in the file
        for path, what in damaged(family, tmp_path):
            try:
                found = outcome(path)
                outcomes[found] = outcomes.get(found, 0) + 1
            except Exception as error:
                faults.append(f"{what}: {type(error).__name__}: {str(error)[:200]}")
    assert not faults, "\n".join(faults)
    assert set(outcomes) == {"refused", "loaded"}
    assert _peak_bytes() - before < MAX_BYTES
    n = sum(outcomes.values())
    assert n == n_mutants(DEFAULT)
    assert outcomes["refused"] > n // 4, "damage that no reader notices is no damage"


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return small_graph(tmp_path_factory.mktemp("graph") / "small.onnx", "int8").read_bytes()


def damaged_file(rng: random.Random, whole: bytes) -> tuple[bytes, str]:
    return mutated_bytes(rng, whole)


def damaged_description(rng: random.Random, whole: bytes) -> tuple[bytes, str]:
    """One value of one entry, the others and the graph whole."""
    model = onnx.load_model_from_string(whole)
    said = properties(model)
    name = rng.choice(sorted(said))
    try:
        value, what = mutated_tree(rng, {"it": json.loads(said[name])})
    except json.JSONDecodeError:
        value, what = mutated_tree(rng, {"it": said[name]})
    text = value.get("it") if isinstance(value, dict) else value
    text = text if isinstance(text, str) else json.dumps(text, default=str)
    onnx.helper.set_model_props(model, said | {name: text.encode("utf-8", "replace").decode()})
    return model.SerializeToString(), f"{name}: {what}"


@pytest.mark.parametrize("damage", [damaged_file, damaged_description])
def test_damaged_graphs(damage: Callable[..., tuple[bytes, str]], whole: bytes, tmp_path: Path) -> None:
    path, outcomes, faults = tmp_path / "m.onnx", Counter[str](), []
    for rng in generators(damage.__name__, OF_GRAPHS):
        data, what = damage(rng, whole)
        path.write_bytes(data)
        try:
            from_file(path, name="skill")
        except CheckpointError as error:
            outcomes["refused" if 20 < len(str(error)) < 5000 else f"{what}: an error of {len(str(error))}"] += 1
        except Exception as error:
            faults.append(f"{what}: {type(error).__name__}: {str(error)[:200]}")
        else:
            outcomes["loaded"] += 1
    assert not faults, "\n".join(faults)
    assert set(outcomes) <= {"refused", "loaded"}
    assert outcomes.total() == n_mutants(OF_GRAPHS)
    assert outcomes["refused"] > n_mutants(OF_GRAPHS) // 4
