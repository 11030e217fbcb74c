"""Exported pruned models where skill-bench cannot be imported: AutoModel gives the same hidden states.

By SKILL_BENCH_HUB_PYTHON, an interpreter with torch and transformers alone (tox -e hub); else by this one, with
skill-bench hidden from it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from skill_bench.base import catalog
from skill_bench.models import checkpoint
from skill_bench.models.architecture import Architecture, ConvShape, LayerShape
from skill_bench.models.encoder import Encoder
from skill_bench.models.export import huggingface
from skill_bench.models.factories import WAVLM_POSITION, architecture

MISSING_BLOCKS = (
    LayerShape(heads=(), ffn_dim=7),
    LayerShape(heads=(3, 1), ffn_dim=0),
    LayerShape(heads=(), ffn_dim=0),
    LayerShape(heads=(2,), ffn_dim=9),
)
WIDTHS = (12, 7, 12, 9, 11, 12, 5)


def pruned(*, wavlm: bool, large: bool) -> Architecture:
    """Heads, feed-forward widths and convolution widths differ from layer to layer."""
    whole = architecture(
        channels=12, dim=32, n_layers=4, n_heads=4, ffn_dim=20, large=large, position_kernel=16, position_groups=4,
        relative_position=WAVLM_POSITION if wavlm else None, conv_bias=large,
    )  # fmt: skip
    convs = tuple(
        ConvShape(channels=width, kernel=conv.kernel, stride=conv.stride)
        for width, conv in zip(WIDTHS, whole.convs, strict=True)
    )
    return replace(whole, convs=convs, layers=MISSING_BLOCKS, channel_scale=True)


HUBERT = pruned(wavlm=False, large=False)
SHAPES = {
    "hubert_base": HUBERT,
    "hubert_large": pruned(wavlm=False, large=True),
    "wavlm_base": pruned(wavlm=True, large=False),
    "wavlm_large": pruned(wavlm=True, large=True),
    "distilhubert": replace(HUBERT, projection_norm=False, channel_scale=False),
    "batch_norm": replace(HUBERT, position_norm="batch_norm"),
    "data2vec": replace(
        pruned(wavlm=False, large=True), position_norm="layer_norm", position_kernel=5, position_depth=3
    ),
    "odd_kernel": replace(HUBERT, position_kernel=15, head_dim=6),
}  # fmt: skip
HIDDEN = """
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "skill_bench":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Without())
"""
FRESH = """
import pathlib, torch, transformers

try:
    import skill_bench
except ModuleNotFoundError:
    print("not installed")

root = pathlib.Path(sys.argv[1])
waves, mask = torch.load(root / "waves.pt"), torch.load(root / "mask.pt")
found = {}
for folder in sorted(path for path in root.iterdir() if path.is_dir()):
    model, info = transformers.AutoModel.from_pretrained(
        folder, trust_remote_code=True, output_loading_info=True
    )
    assert not any(info.values()), info
    assert not model.training and type(model).__name__ == "SkillBenchModel", type(model)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    padded = [wave[: int(own.sum())].numpy() for wave, own in zip(waves, mask)]
    heard = extractor(padded, sampling_rate=16000, padding=True, return_tensors="pt")
    with torch.no_grad():
        whole, short = model(waves, output_hidden_states=True), model(**heard, output_hidden_states=True)
        assert model(waves).hidden_states is None
        assert torch.equal(model(waves, return_dict=False)[0], whole.last_hidden_state)
    assert torch.equal(whole.last_hidden_state, whole.hidden_states[-1])
    found[folder.name] = (whole.hidden_states, short.hidden_states)
torch.save(found, root / "found.pt")
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder a shape, the bundled student, and what a fresh process makes of all of them."""
    root = tmp_path_factory.mktemp("hub")
    for name, shape in SHAPES.items():
        torch.manual_seed(0)
        encoder = Encoder(shape).requires_grad_(False)
        _randomise(encoder)
        huggingface.write(encoder, root / name, metadata={"title": name}, card="# x\n")
    bundled = checkpoint.load(catalog.entry("upstreams", "skill") / "skill.safetensors")
    huggingface.write(bundled.encoder, root / "skill", metadata=bundled.metadata, card="# x\n")
    generator = torch.Generator().manual_seed(2)
    waves = torch.randn(2, 11234, generator=generator) * torch.tensor([[0.1], [0.6]]) + 0.05
    mask = torch.ones(2, 11234, dtype=torch.long)
    mask[1, 7000:] = 0
    torch.save(waves, root / "waves.pt")
    torch.save(mask, root / "mask.pt")
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    other = os.environ.get("SKILL_BENCH_HUB_PYTHON")
    script = f"import sys\n{'' if other else HIDDEN}{FRESH}"
    done = subprocess.run(
        [other or sys.executable, "-P", "-c", script, str(root)],
        env=clean | {"HF_HOME": str(root / "found_cache"), "HF_HUB_OFFLINE": "1"},
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "not installed\n", "skill_bench was imported"
    return root


def _randomise(model: nn.Module) -> None:
    """No parameter at its neutral value: a norm that is left out, or a factor of one, would not be seen."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in model.state_dict().items():
        spread = torch.rand(tensor.shape, generator=generator)
        if name.endswith(("running_var", "channel_scale", "original0")):
            tensor.copy_(0.5 + spread)
        elif tensor.ndim == 1:
            tensor.copy_(tensor + 0.4 * (spread - 0.5))


@pytest.mark.parametrize("name", [*SHAPES, "skill"])
def test_a_fresh_environment_gives_the_same_states(name: str, written: Path) -> None:
    loaded = checkpoint.load(written / name)
    waves, mask = torch.load(written / "waves.pt"), torch.load(written / "mask.pt")
    whole, short = torch.load(written / "found.pt")[name]
    with torch.no_grad():
        ours, _ = loaded.encoder(waves)
        alone = [loaded.encoder(wave[None, :n])[0] for wave, n in zip(waves, mask.sum(1).tolist(), strict=True)]
    assert len(ours) == len(loaded.encoder.architecture.layers) + 1
    assert all(torch.equal(a, b) for a, b in zip(ours, whole, strict=True)), "the same operations in the same order"
    for index, (first, second, padded) in enumerate(zip(*alone, short, strict=True)):
        assert torch.equal(padded[0], first[0]), index
        assert torch.equal(padded[1, : second.shape[1]], second[0]), index
        assert second.shape[1] < padded.shape[1]
        assert not padded[1, second.shape[1] :].any(), index


@pytest.mark.parametrize("name", SHAPES)
def test_skill_bench_reads_the_folder_too_and_its_file_alone(name: str, written: Path) -> None:
    for path in (written / name, written / name / "model.safetensors"):
        loaded = checkpoint.load(path)
        assert (loaded.format, loaded.metadata) == ("skill-bench", {"title": name})
        assert loaded.encoder.architecture == SHAPES[name]


def test_the_file_says_what_transformers_4_asks_for(written: Path, tmp_path: Path) -> None:
    """It reads files of format ``pt`` alone. A folder that was written before says skill-bench there, and is read."""
    with safe_open(written / "hubert_base" / "model.safetensors", framework="pt") as file:
        assert file.metadata()["format"] == "pt"
    loaded = checkpoint.load(written / "hubert_base")
    checkpoint.save(loaded.encoder, tmp_path / "model.safetensors", metadata=loaded.metadata)
    (tmp_path / "config.json").write_text('{"model_type": "skill-bench", "architecture": {}}')
    assert checkpoint.load(tmp_path).sha256 == loaded.sha256


def test_the_module_beside_the_weights_is_the_packages(written: Path) -> None:
    assert (written / "skill" / huggingface.CODE.name).read_bytes() == huggingface.CODE.read_bytes()
    assert "skill_bench" not in {line.split(".")[0] for line in _imported(huggingface.CODE.read_text())}


def _imported(source: str) -> list[str]:
    return [line.split()[1] for line in source.splitlines() if line.startswith(("import ", "from "))]


def test_the_code_learns(randomise: Callable[[nn.Module], None]) -> None:
    """Loaded elsewhere it may be fine-tuned: every parameter of a pruned WavLM has a gradient."""
    from skill_bench.models.export.modeling_skill_bench import SkillBenchConfig, SkillBenchModel

    model = SkillBenchModel(SkillBenchConfig(architecture=SHAPES["wavlm_base"].to_dict()))
    randomise(model)
    states: tuple[Tensor, ...] = model(torch.randn(1, 4000), output_hidden_states=True).hidden_states
    torch.stack([state.square().sum() for state in states]).sum().backward()  # type: ignore[no-untyped-call]
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
