"""One battery for every upstream there is: s3prl's interface and our invariants."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from skill_bench import catalog
from skill_bench.features.plugin import load_folder
from skill_bench.features.spec import read_spec
from skill_bench.features.upstream import Upstream, load_upstream
from skill_bench.models import checkpoint
from skill_bench.models.architecture import LayerShape
from skill_bench.models.encoder import Encoder
from skill_bench.models.factories import WAVLM_POSITION, architecture

NAMES = catalog.names("upstreams")
LENGTHS = (16000, 800, 7777, 16000, 401)
# Float32 over a few layers: sums in another order, nothing more.
BATCH_TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small pruned checkpoint, for upstreams whose bundled weights are not in this checkout."""
    whole = architecture(
        channels=16, dim=32, n_layers=3, n_heads=4, ffn_dim=20, relative_position=WAVLM_POSITION,
        position_kernel=16, position_groups=4,
    )  # fmt: skip
    shape = whole.with_layers(
        (LayerShape(heads=(1, 3), ffn_dim=5), LayerShape(heads=(), ffn_dim=9), LayerShape(heads=(2,), ffn_dim=0))
    )
    path = tmp_path_factory.mktemp("ckpt") / "small.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        checkpoint.save(Encoder(shape), path, metadata={"recipe": "none"})
    return path


@pytest.fixture(scope="module", params=NAMES)
def upstream(request: pytest.FixtureRequest, stand_in: Path) -> Upstream:
    return load_upstream(request.param, checkpoint_for(request.param, stand_in))


def checkpoint_for(name: str, stand_in: Path) -> Path | None:
    folder = catalog.entry("upstreams", name)
    spec = read_spec(folder)
    return None if spec.weights is None or (folder / spec.weights).is_file() else stand_in


@pytest.fixture(scope="module")
def waves() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [0.1 * torch.randn(n, generator=generator) for n in LENGTHS]


def test_declares_itself(upstream: Upstream) -> None:
    system = upstream.system()
    assert (system.name, system.identity) == (upstream.name, upstream.identity)
    assert (
        system.n_hidden_states
        == upstream.n_hidden_states
        == len(upstream.layer_names)
        == len(set(upstream.layer_names))
    )
    assert system.n_parameters == sum(parameter.numel() for parameter in upstream.parameters())
    assert upstream.sample_rate_hz == 16000
    assert len(upstream.identity) == 64
    assert system.title


def test_hidden_states_have_exact_lengths(upstream: Upstream, waves: list[Tensor]) -> None:
    states = upstream.hidden_states(waves)
    assert len(states) == len(waves)
    for wave, utterance in zip(waves, states, strict=True):
        # All front ends see 25 ms and do not look beyond the ends.
        n_frames = (len(wave) - 400) // upstream.downsample_rate + 1
        assert utterance.shape == (upstream.n_hidden_states, n_frames, upstream.dim)
        assert utterance.dtype == torch.float32
        assert bool(utterance.isfinite().all())


def test_s3prl_interface(upstream: Upstream, waves: list[Tensor]) -> None:
    result = upstream(waves)
    hidden = result["hidden_states"]
    assert isinstance(hidden, list)
    assert len(hidden) == upstream.n_hidden_states >= 1
    assert {tuple(layer.shape) for layer in hidden} == {(len(waves), hidden[0].shape[1], upstream.dim)}
    assert torch.equal(result["last_hidden_state"], hidden[-1])
    assert upstream.get_downsample_rates("hidden_states") == upstream.downsample_rate
    # What s3prl's Featurizer tolerates between frames and samples.
    assert abs(hidden[0].shape[1] - round(max(LENGTHS) / upstream.downsample_rate)) < 5
    for index, exact in enumerate(upstream.hidden_states(waves)):
        n_frames = exact.shape[1]
        for layer, expected in zip(hidden, exact, strict=True):
            assert torch.equal(layer[index, :n_frames], expected)
            assert not layer[index, n_frames:].any()


def test_is_frozen(upstream: Upstream, waves: list[Tensor]) -> None:
    assert not any(parameter.requires_grad for parameter in upstream.parameters())
    wave = waves[1].clone().requires_grad_(True)
    result = upstream.train()([wave])
    assert not upstream.training
    assert not any(module.training for module in upstream.modules())
    tensors = [*result["hidden_states"], result["last_hidden_state"], *upstream.hidden_states([wave])]
    assert not any(tensor.requires_grad for tensor in tensors)


def test_an_utterance_does_not_depend_on_its_batch(upstream: Upstream, waves: list[Tensor]) -> None:
    together = upstream.hidden_states(waves)
    reversed_order = upstream.hidden_states(waves[::-1])[::-1]
    compared = 0
    for wave, first, second in zip(waves, together, reversed_order, strict=True):
        alone = upstream.hidden_states([wave])[0]
        assert (first - alone).abs().max() < BATCH_TOLERANCE
        assert (second - alone).abs().max() < BATCH_TOLERANCE
        compared += 1
    assert compared == len(LENGTHS)


def test_same_input_same_output_whatever_the_random_state(upstream: Upstream, waves: list[Tensor]) -> None:
    state = torch.get_rng_state()
    first = upstream.hidden_states(waves[:2])
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    for a, b in zip(first, upstream.hidden_states(waves[:2]), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    "make",
    [torch.zeros, lambda n: torch.full((n,), 0.5), lambda n: torch.ones(n) * 1e-8],
    ids=["silence", "constant", "tiny"],
)
def test_degenerate_speech_gives_finite_features(upstream: Upstream, make: Callable[[int], Tensor]) -> None:
    for seconds in (0.05, 1.0):
        (states,) = upstream.hidden_states([make(int(16000 * seconds))])
        assert states.shape[1] > 0
        assert bool(states.isfinite().all())


def test_shorter_than_a_frame_has_no_frames(upstream: Upstream, waves: list[Tensor]) -> None:
    empty, whole = upstream.hidden_states([waves[0][:399], waves[0]])
    assert empty.shape == (upstream.n_hidden_states, 0, upstream.dim)
    assert whole.shape[1] > 0
    assert upstream([waves[0][:399]])["hidden_states"][0].shape == (1, 0, upstream.dim)


def test_identity_is_the_same_in_another_process(stand_in: Path) -> None:
    code = (
        "import json, sys; from skill_bench.features.upstream import load_upstream; "
        "print(json.dumps({n: load_upstream(n, c).identity for n, c in json.loads(sys.argv[1]).items()}))"
    )
    checkpoints = {name: checkpoint_for(name, stand_in) for name in NAMES}
    arguments = json.dumps({name: None if path is None else str(path) for name, path in checkpoints.items()})
    output = subprocess.run(
        [sys.executable, "-c", code, arguments], capture_output=True, text=True, check=True, timeout=300
    )
    expected = {name: load_upstream(name, path).identity for name, path in checkpoints.items()}
    assert json.loads(output.stdout.splitlines()[-1]) == expected


def test_identities_differ(stand_in: Path) -> None:
    upstreams = [load_upstream(name, checkpoint_for(name, stand_in)) for name in NAMES]
    bundled = [u.identity for u in upstreams if u.system().checkpoint_sha256 != _hash(stand_in)]
    assert len(set(bundled)) == len(bundled)


def _hash(path: Path) -> str:
    return checkpoint.load(path).sha256


@pytest.mark.parametrize("name", NAMES)
def test_folder_is_complete_and_works_elsewhere(name: str, stand_in: Path, tmp_path: Path) -> None:
    """s3prl's way: the folder is copied into a package and imported relatively."""
    folder = catalog.entry("upstreams", name)
    copy = tmp_path / "copied" / name
    copy.mkdir(parents=True)
    for path in folder.iterdir():
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
    ckpt = checkpoint_for(name, stand_in)
    elsewhere = load_folder(copy, ckpt, refresh=False, model_config=None)
    assert elsewhere.identity == load_upstream(name, ckpt).identity
    hubconf = (folder / "hubconf.py").read_text(encoding="utf-8")
    assert "from .expert import" in hubconf
    assert f"def {name}(" in hubconf
