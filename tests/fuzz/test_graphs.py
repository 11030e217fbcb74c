"""Damaged .onnx files: each is refused with a message, or is another model that runs."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from mutations import generators, mutated_bytes, mutated_tree, n_mutants
from small_encoders import properties, small_graph

from skill_bench.base.errors import CheckpointError
from skill_bench.upstream.graph import from_file

DEFAULT = 60  # of each kind of damage


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
    for rng in generators(damage.__name__, DEFAULT):
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
    assert outcomes.total() == n_mutants(DEFAULT)
    assert outcomes["refused"] > n_mutants(DEFAULT) // 4
