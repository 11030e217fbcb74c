"""Parameters, throughput, memory, and the profile that holds them."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from skill_bench.base.errors import CheckpointError, RecordError
from skill_bench.measure.memory import measure_memory
from skill_bench.measure.parameters import count_parameters
from skill_bench.measure.profile import profile
from skill_bench.measure.throughput import measure_throughput
from skill_bench.records.profile import Profile
from skill_bench.records.record import System

SYSTEM = System(name="tiny", title="Tiny", identity="t" * 64)
LENGTHS = tuple(range(1600, 2400, 100))


class Tiny(nn.Module):
    """An upstream of one convolution and one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Conv1d(1, 4, 400, stride=320, bias=False)
        self.back = nn.Linear(4, 6)
        self.register_buffer("table", torch.zeros(5))

    def hidden_states(self, waves: list[Tensor]) -> list[Tensor]:
        return [self.back(self.front(wave[None, None]).transpose(1, 2)) for wave in waves]


def test_parameters() -> None:
    model = Tiny()
    model.front.requires_grad_(False)
    found = count_parameters(model)
    assert found.total == 1600 + 30
    assert found.trainable == 30
    assert found.buffers == 5
    assert found.n_bytes == 4 * (1630 + 5)
    assert found.by_component == {"front": 1600, "back": 30}


def test_a_shared_parameter_counts_once() -> None:
    model = nn.ModuleDict({"a": nn.Linear(3, 3, bias=False), "b": nn.Linear(3, 3, bias=False)})
    model["b"].weight = model["a"].weight
    assert count_parameters(model).total == 9
    assert count_parameters(model).by_component == {"a": 9}


def test_a_wrapper_is_looked_through() -> None:
    assert count_parameters(nn.Sequential(Tiny())).by_component == {"front": 1600, "back": 30}


def test_parameters_of_its_own() -> None:
    model = Tiny()
    model.mask = nn.Parameter(torch.zeros(7))
    assert count_parameters(model).by_component == {"(own)": 7, "front": 1600, "back": 30}


def test_throughput_counts_audio_and_leaves_the_warm_up_out() -> None:
    ticks = itertools.accumulate([0, 50, 2, 50, 1, 50, 4])
    calls: list[list[int]] = []
    found = measure_throughput(
        lambda waves: calls.append([len(wave) for wave in waves]),
        batch_size=2,
        utterance_seconds=0.5,
        n_warmup=1,
        n_repeats=3,
        clock=lambda: float(next(ticks)),
    )
    assert calls == [[8000, 8000]] * 4
    assert found.batch_seconds == (2, 1, 4)
    assert (found.minimum, found.median, found.maximum) == (0.25, 0.5, 1.0)
    assert (found.dtype, found.device, found.n_threads) == ("float32", "cpu", 1)


def test_peak_memory_is_what_is_alive_at_one_time() -> None:
    def one_after_the_other(waves: list[Tensor]) -> None:
        for _ in range(5):
            torch.empty(25_000)

    def together(waves: list[Tensor]) -> object:
        return [torch.empty(25_000) for _ in range(5)]

    model = Tiny()
    assert measure_memory(model, one_after_the_other, utterance_seconds=0.1).peak_bytes == 100_000
    assert measure_memory(model, together, utterance_seconds=0.1).peak_bytes == 500_000


def test_waveforms_and_weights_are_not_part_of_the_peak() -> None:
    model = Tiny()
    found = measure_memory(model, lambda waves: [wave.clone() for wave in waves], batch_size=3, utterance_seconds=0.5)
    assert found.peak_bytes == 3 * 8000 * 4
    assert found.weight_bytes == 4 * 1635


def test_memory_says_nothing_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    measure_memory(Tiny(), Tiny().hidden_states, utterance_seconds=0.1)
    assert capfd.readouterr().err == ""


def test_a_profile_holds_everything_and_survives_a_round_trip(tmp_path: Path) -> None:
    model = Tiny().train()
    found = profile(model, system=SYSTEM, utterance_seconds=0.2, n_repeats=2, lengths_samples=LENGTHS)
    assert found.reasons == {}
    assert found.parameters is not None
    assert found.parameters.total == 1630
    assert found.macs is not None
    frames = sum((n - 400) // 320 + 1 for n in LENGTHS)
    assert found.macs.total == frames * (1600 + 24)
    assert found.throughput is not None
    assert found.throughput.n_warmup == 1
    assert model.training
    path = found.write(found.path(tmp_path))
    assert path == tmp_path / "profile" / "tiny" / "profile.json"
    assert Profile.read(path) == found
    assert found.path(tmp_path, "demo") == tmp_path / "demo" / "tiny" / "profile.json"


def test_without_times() -> None:
    found = profile(Tiny(), system=SYSTEM, timed=False, lengths_samples=LENGTHS)
    assert (found.throughput, found.memory) == (None, None)
    assert found.reasons == {"throughput": "not asked for", "memory": "not asked for"}


def test_a_part_that_cannot_be_measured_is_absent_with_the_reason() -> None:
    def refuse(waves: list[Tensor]) -> object:
        raise CheckpointError("no")

    found = profile(Tiny(), encode=refuse, system=SYSTEM, lengths_samples=LENGTHS)
    assert found.parameters is not None
    assert found.reasons == dict.fromkeys(("macs", "throughput", "memory"), "CheckpointError: no")


def test_absence_needs_a_reason() -> None:
    found = profile(Tiny(), system=SYSTEM, timed=False, lengths_samples=LENGTHS)
    with pytest.raises(ValidationError, match=r"reasons explain \[\], absent are \['memory', 'throughput'\]"):
        Profile(**(dict(found) | {"reasons": {}}))


def test_a_record_is_not_a_profile(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"schema_version": 1, "kind": "record"}')
    with pytest.raises(RecordError, match="holds a 'record', expected a 'profile'"):
        Profile.read(path)


def test_a_module_without_hidden_states_needs_encode() -> None:
    with pytest.raises(TypeError, match="Linear has no hidden_states"):
        profile(nn.Linear(1, 1), system=SYSTEM)
