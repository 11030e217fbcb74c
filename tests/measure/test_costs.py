"""Parameters, throughput, memory, and the profile that holds them."""

from __future__ import annotations

import hashlib
import itertools
import json
import statistics
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from skill_bench.base.errors import CheckpointError, RecordError, SkillBenchError
from skill_bench.measure.macs import count_parameters
from skill_bench.measure.memory import measure_memory
from skill_bench.measure.profile import profile
from skill_bench.measure.throughput import measure_cold_start, measure_throughput
from skill_bench.records.profile import Profile
from skill_bench.records.record import System

SYSTEM = System(name="tiny", title="Tiny", identity="t" * 64)
LENGTHS = tuple(range(1600, 2400, 100))


class Tiny(nn.Module):
    """An upstream of one convolution and one linear layer."""

    disk_bytes: int | None = None

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
    assert found.reasons == dict.fromkeys(("macs", "throughput", "memory"), "no")


def test_what_counts_where_it_is_deployed() -> None:
    model = Tiny()
    model.disk_bytes = 1234
    loads: list[Tiny] = []

    def load() -> Tiny:
        loads.append(Tiny())
        return loads[-1]

    found = profile(model, system=SYSTEM, load=load, n_repeats=2, lengths_samples=LENGTHS)
    assert found.reasons == {}
    assert found.disk_bytes == 1234
    assert found.throughput is not None
    assert found.real_time_factor == pytest.approx(statistics.median(found.throughput.batch_seconds) / 10, rel=0.2)
    assert found.cold_start is not None
    assert len(loads) == len(found.cold_start.seconds) == 3
    again = Profile(**dict(found))
    assert again == found


def test_a_cold_start_is_loading_and_a_first_utterance() -> None:
    events: list[str] = []

    class Loaded(Tiny):
        def hidden_states(self, waves: list[Tensor]) -> list[Tensor]:
            events.append(f"encode {[len(wave) for wave in waves]}")
            return super().hidden_states(waves)

    def load() -> Loaded:
        events.append("load")
        return Loaded()

    ticks = itertools.accumulate([0, 5, 50, 1, 50, 3])
    found = measure_cold_start(load, torch.device("cpu"), clock=lambda: float(next(ticks)))
    assert events == ["load", "encode [16000]"] * 3
    assert (found.seconds, found.median, found.utterance_seconds) == ((5, 1, 3), 3, 1)


@pytest.mark.parametrize(
    ("changed", "factor"),
    [
        ({}, 0.25),
        ({"device": "cuda"}, None),
        ({"n_threads": 2}, None),
        ({"batch_size": 4}, None),
        ({"utterance_seconds": 5.0}, None),
    ],
)
def test_the_real_time_factor_is_one_cpu_threads(changed: dict[str, object], factor: float | None) -> None:
    ticks = itertools.accumulate([0, 50, 2.5])
    speed = measure_throughput(lambda waves: None, n_repeats=1, clock=lambda: float(next(ticks)))
    found = profile(Tiny(), system=SYSTEM, timed=False, lengths_samples=LENGTHS)
    measured = {"throughput": speed.model_copy(update=changed), "reasons": {"memory": "not asked for"}}
    assert Profile(**(dict(found) | measured)).real_time_factor == factor
    assert found.real_time_factor is None


def test_deployment_without_a_file_or_time_says_why() -> None:
    found = profile(Tiny(), system=SYSTEM, load=Tiny, timed=False, lengths_samples=LENGTHS)
    assert (found.disk_bytes, found.cold_start) == (None, None)
    assert found.reasons == dict.fromkeys(("throughput", "memory", "cold_start"), "not asked for") | {
        "disk_bytes": "it has no file of its own"
    }
    with pytest.raises(SkillBenchError, match="measured on a CPU, and the model is on meta"):
        measure_cold_start(Tiny, torch.device("meta"))


def test_what_another_runtime_computes_is_counted_as_torch_would() -> None:
    class Elsewhere(nn.Module):
        disk_bytes = 700

        def written_down(self) -> nn.Module:
            return Tiny()

        def hidden_states(self, waves: list[Tensor]) -> list[Tensor]:
            return [torch.zeros(1, 1, 6) for _ in waves]

    system = SYSTEM.model_copy(update={"details": {"graph_precision": "int8"}})
    found = profile(Elsewhere(), system=system, n_repeats=1, utterance_seconds=0.1, lengths_samples=LENGTHS)
    plain = profile(Tiny(), system=SYSTEM, timed=False, lengths_samples=LENGTHS)
    assert found.macs == plain.macs
    assert found.parameters is not None
    assert (found.parameters.total, found.parameters.n_bytes) == (1630, 700)
    assert found.memory is None
    assert found.throughput is not None
    assert found.throughput.dtype == "int8"
    assert found.reasons == {"memory": "only what torch allocates is seen, and another runtime computes this model"}


def test_a_profile_from_before_deployment_was_measured_can_be_read(tmp_path: Path) -> None:
    found = profile(Tiny(), system=SYSTEM, timed=False, lengths_samples=LENGTHS)
    content = json.loads(found.to_json())
    for name in ("disk_bytes", "cold_start", "content_sha256"):
        content.pop(name)
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    content["content_sha256"] = hashlib.sha256(canonical.encode()).hexdigest()
    (tmp_path / "profile.json").write_text(json.dumps(content))
    assert Profile.read(tmp_path / "profile.json") == found


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


def test_a_reason_for_what_was_measured_is_refused() -> None:
    found = profile(Tiny(), system=SYSTEM, timed=False, lengths_samples=LENGTHS)
    with pytest.raises(ValidationError, match=r"reasons explain \['disk_bytes', 'memory', 'throughput'\], absent are"):
        Profile(**(dict(found) | {"disk_bytes": 7, "reasons": found.reasons | {"disk_bytes": "no"}}))
