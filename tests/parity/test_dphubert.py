"""Checkpoints in DPHuBERT's format against hidden states that its own code gave, and its joint stage update by update.

Its hidden state 0 is the feature projection's output, before the positional convolution; ours (and s3prl's) is the
input of layer 1, after it. So golden state 0 is compared with our projection, and states 1..N with ours.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dphubert_updates
import pytest
import torch
from dphubert_updates import N_UPDATES, QUANTITIES, RAMP, Update
from safetensors.torch import load_file
from torch import Tensor

from skill_bench.base.errors import CheckpointError, KeyMismatch
from skill_bench.models import checkpoint
from skill_bench.models.architecture import Architecture, LayerShape
from skill_bench.models.convert.shared.key_names import torchaudio_names
from skill_bench.models.encoder import Encoder
from skill_bench.models.factories import WAVLM_POSITION, architecture


@pytest.fixture
def golden(corpora: Path) -> Path:
    folder = corpora.parent / "golden" / "dphubert_format"
    assert folder.is_dir(), f"{folder} is missing beside the corpora"
    return folder


@pytest.mark.parametrize("name", ["hubert_pruned", "wavlm_pruned"])
def test_golden(name: str, golden: Path, compare: Any) -> None:
    loaded = checkpoint.load(golden / name / "checkpoint.pth")
    stated = json.loads((golden / name / "expected.json").read_text())
    expected = load_file(golden / name / "expected.safetensors")
    encoder = loaded.encoder
    assert loaded.format == "dphubert"
    assert sum(parameter.numel() for parameter in encoder.parameters()) == stated["n_parameters"]
    assert stated["n_parameters"] == {"hubert_pruned": 40_070, "wavlm_pruned": 39_199}[name]

    def triples() -> Iterator[tuple[str, Tensor, Tensor]]:
        for index, n_frames in enumerate(stated["frames"]):
            wave = expected[f"wave_{index}"][None]
            frames, _ = encoder.frames(wave)
            states, counts = encoder(wave)
            assert counts.tolist() == [n_frames]
            assert len(states) == stated["n_hidden_states"]
            yield (
                f"utterance {index}: feature projection",
                encoder.projection(frames)[0],
                expected[f"hidden_{index}_00"],
            )
            for layer, state in enumerate(states[1:], start=1):
                yield f"utterance {index}: h{layer}", state[0], expected[f"hidden_{index}_{layer:02d}"]

    assert compare(triples()) == 10


@pytest.mark.parametrize("name", ["hubert_pruned", "wavlm_pruned"])
def test_golden_in_one_padded_batch(name: str, golden: Path, compare: Any) -> None:
    encoder = checkpoint.load(golden / name / "checkpoint.pth").encoder
    expected = load_file(golden / name / "expected.safetensors")
    lengths = torch.tensor([16000, 23457])
    waves = torch.nn.utils.rnn.pad_sequence([expected["wave_0"], expected["wave_1"]], batch_first=True)
    states, counts = encoder(waves, lengths)
    assert counts.tolist() == [49, 73]
    assert compare(
        (f"utterance {index}: h{layer}", states[layer][index, :n], expected[f"hidden_{index}_{layer:02d}"])
        for index, n in enumerate(counts.tolist())
        for layer in range(1, 5)
    ) == 8  # fmt: skip


def odd_architecture(*, wavlm: bool, large: bool, first_layer: LayerShape) -> Architecture:
    whole = architecture(
        channels=12, dim=32, n_layers=4, n_heads=4, ffn_dim=20, large=large, position_kernel=16, position_groups=4,
        relative_position=WAVLM_POSITION if wavlm else None,
    )  # fmt: skip
    heads = (1, 3) if wavlm else (0, 1)
    return whole.with_layers(
        (
            first_layer,
            LayerShape(heads=(), ffn_dim=9),
            LayerShape(heads=heads, ffn_dim=0),
            LayerShape(heads=(), ffn_dim=0),
        )
    )


def as_dphubert(encoder: Encoder) -> dict[str, Any]:
    """Writes an encoder as DPHuBERT's ``save_final_ckpt.py`` would, with its old names of the weight norm."""
    shape = encoder.architecture
    name = torchaudio_names()
    state = {
        name(key)
        .replace("parametrizations.weight.original0", "weight_g")
        .replace("parametrizations.weight.original1", "weight_v"): tensor
        for key, tensor in encoder.state_dict().items()
    }
    config: dict[str, Any] = {
        "extractor_mode": shape.conv_norm,
        "extractor_conv_layer_config": [[c.channels, c.kernel, c.stride] for c in shape.convs],
        "extractor_conv_bias": shape.conv_bias,
        "encoder_embed_dim": shape.dim,
        "encoder_pos_conv_kernel": shape.position_kernel,
        "encoder_pos_conv_groups": shape.position_groups,
        "encoder_num_layers": len(shape.layers),
        "encoder_use_attention": [bool(layer.heads) for layer in shape.layers],
        "encoder_use_feed_forward": [layer.ffn_dim > 0 for layer in shape.layers],
        # DPHuBERT keeps the old width where a block was switched off as a whole.
        "encoder_ff_interm_features": [layer.ffn_dim or 20 for layer in shape.layers],
        "encoder_layer_norm_first": shape.layer_norm_first,
        "normalize_waveform": shape.normalize_waveform,
        "aux_num_out": None,
    }
    if shape.relative_position is None:
        config |= {"encoder_num_heads": [len(layer.heads) or 4 for layer in shape.layers], "encoder_head_dim": 8}
    else:
        config |= {
            "encoder_total_num_heads": [shape.n_heads] * len(shape.layers),
            "encoder_remaining_heads": [list(layer.heads) for layer in shape.layers],
            "encoder_num_buckets": shape.relative_position.n_buckets,
            "encoder_max_distance": shape.relative_position.max_distance,
        }
    return {"state_dict": state, "config": config, "distill_linear_projs": {"0.weight": torch.zeros(2)}}


@pytest.mark.parametrize("wavlm", [False, True], ids=["hubert", "wavlm"])
@pytest.mark.parametrize("large", [False, True], ids=["base", "large"])
def test_missing_blocks(wavlm: bool, large: bool, tmp_path: Path, waves: Tensor) -> None:
    torch.manual_seed(0)
    encoder = Encoder(odd_architecture(wavlm=wavlm, large=large, first_layer=LayerShape(heads=(0,), ffn_dim=7))).eval()
    torch.save(as_dphubert(encoder), tmp_path / "pruned.pth")
    loaded = checkpoint.load(tmp_path / "pruned.pth")
    assert loaded.encoder.architecture == encoder.architecture
    assert loaded.sha256 == checkpoint.weights_sha256(encoder.architecture, encoder.state_dict())
    with torch.no_grad():
        pairs = list(zip(loaded.encoder(waves)[0], encoder(waves)[0], strict=True))
    assert len(pairs) == 5
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_wavlm_without_its_position_bias_is_explained(tmp_path: Path) -> None:
    shape = odd_architecture(wavlm=True, large=False, first_layer=LayerShape(heads=(), ffn_dim=7))
    content = as_dphubert(Encoder(shape))
    del content["state_dict"]["encoder.transformer.layers.0.attention.rel_attn_embed.weight"]
    torch.save(content, tmp_path / "pruned.pth")
    with pytest.raises(CheckpointError, match=r"position bias is gone.*first layer's attention.*unpruned model"):
        checkpoint.load(tmp_path / "pruned.pth")


def test_wavlm_whose_first_attention_is_there_is_not_said_to_have_lost_it(
    content: dict[str, Any], tmp_path: Path
) -> None:
    del content["state_dict"]["encoder.transformer.layers.0.attention.rel_attn_embed.weight"]
    torch.save(content, tmp_path / "pruned.pth")
    with pytest.raises(
        KeyMismatch, match=r"Missing \(1\): encoder.transformer.layers.0.attention.rel_attn_embed.weight"
    ):
        checkpoint.load(tmp_path / "pruned.pth")


@pytest.fixture
def content() -> dict[str, Any]:
    shape = odd_architecture(wavlm=True, large=False, first_layer=LayerShape(heads=(0,), ffn_dim=7))
    return as_dphubert(Encoder(shape))


def test_gates_that_are_not_pruned_yet(content: dict[str, Any], tmp_path: Path) -> None:
    content["state_dict"]["encoder.transformer.layers.0.attention.hard_concrete_for_heads.log_alpha"] = torch.zeros(4)
    torch.save(content, tmp_path / "m.pth")
    with pytest.raises(CheckpointError, match=r"not pruned yet\. Run DPHuBERT's prune\.py"):
        checkpoint.load(tmp_path / "m.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder_embed_dim": None}, "configuration has no 'encoder_embed_dim'"),
        ({"encoder_num_layers": 3}, "encoder_num_layers = 3, but its lists describe 4, 4, 4, 4 layers"),
        ({"extractor_mode": "batch_norm"}, "extractor_mode = 'batch_norm'"),
        (
            {"encoder_remaining_heads": [[0, 9], [], [1, 3], []]},
            "layer 0: heads .* must be distinct and below n_heads=4",
        ),
        (
            {"encoder_ff_interm_features": [8, 9, 0, 0]},
            r"layers\.0\.feed_forward\..* has shape .* the architecture needs",
        ),
        ({"encoder_use_feed_forward": [True, True]}, "but its lists describe 4, 4, 4, 2 layers"),
    ],
)
def test_configurations_that_cannot_be_used(
    change: dict[str, Any], message: str, content: dict[str, Any], tmp_path: Path
) -> None:
    content["config"] = {k: v for k, v in {**content["config"], **change}.items() if v is not None}
    torch.save(content, tmp_path / "m.pth")
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(tmp_path / "m.pth")


def test_keys_that_do_not_fit(content: dict[str, Any], tmp_path: Path) -> None:
    del content["state_dict"]["encoder.transformer.layer_norm.weight"]
    content["state_dict"]["surplus.weight"] = torch.zeros(2)
    torch.save(content, tmp_path / "m.pth")
    with pytest.raises(KeyMismatch) as caught:
        checkpoint.load(tmp_path / "m.pth")
    assert caught.value.missing == ["encoder.transformer.layer_norm.weight"]
    assert caught.value.unexpected == ["surplus.weight"]


# float64 on both sides. Another order of sums grows over the updates, as Adam divides gradients by their own size.
UPDATES_RTOL = 1e-9


@pytest.fixture(scope="module")
def updates() -> list[Update]:
    return dphubert_updates.ours()


def agrees(a: list[Update], b: list[Update]) -> None:
    assert len(a) == len(b) == N_UPDATES
    for name, difference in dphubert_updates.largest_differences(a, b).items():
        assert difference < UPDATES_RTOL, name


def test_every_update_is_the_stored_one(updates: list[Update]) -> None:
    agrees(updates, dphubert_updates.stored()["theirs"])


def test_what_is_stored_is_a_training() -> None:
    """Every quantity moves: constants would agree as well."""
    found = dphubert_updates.stored()["theirs"]
    for name in QUANTITIES:
        assert len({update[name] for update in found}) >= N_UPDATES - 1, name
    assert found[-1]["sparsity"] > found[0]["sparsity"] + 0.05
    assert abs(found[RAMP]["linear multiplier"]) > 0.1


def test_every_update_is_theirs(updates: list[Update]) -> None:
    root = os.environ.get("SKILL_BENCH_DPHUBERT")
    if not root:
        pytest.skip("SKILL_BENCH_DPHUBERT is not set: no checkout of pyf98/DPHuBERT to compare with")
    theirs = dphubert_updates.theirs(Path(root))
    agrees(updates, theirs)
    agrees(theirs, dphubert_updates.stored()["theirs"])
