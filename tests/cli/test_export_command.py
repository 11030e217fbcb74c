"""``skill-bench export``: every format, back through ``checkpoint.load``, and the card."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import noise
from typer.testing import CliRunner

from skill_bench.base import catalog
from skill_bench.base.errors import CheckpointError, SkillBenchError, UnknownName, UsageError
from skill_bench.cli.main import app
from skill_bench.models import checkpoint, onnx_file
from skill_bench.models.architecture import LayerShape
from skill_bench.models.encoder import Encoder
from skill_bench.models.export import FORMATS
from skill_bench.models.export.huggingface import why_not_transformers
from skill_bench.models.factories import WAVLM_POSITION, architecture
from skill_bench.records.record import Record
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import Collection, collect
from skill_bench.report.table.entry import FoundRecord
from skill_bench.report.table.quantities import RETENTION
from skill_bench.upstream.load import load_upstream

METADATA = {
    "recipe": '{"name":"skill","seed":3}',
    "teacher_sha256": "ab" * 32,
    "teacher_n_parameters": "100000",
    "training_hours": "2.5",
    "sparsity": "0.75",
}
WHOLE = architecture(
    channels=12, dim=32, n_layers=2, n_heads=4, ffn_dim=20, position_kernel=16, position_groups=4,
    relative_position=WAVLM_POSITION,
)  # fmt: skip
PRUNED = replace(
    WHOLE, layers=(LayerShape(heads=(), ffn_dim=7), LayerShape(heads=(1, 3), ffn_dim=5)), channel_scale=True
)
OUT = {"safetensors": "m.safetensors", "dphubert": "m.pth", "huggingface": "folder"}


@pytest.fixture
def student(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    encoder = Encoder(PRUNED).requires_grad_(False)
    assert encoder.front_end.channel_scale is not None
    encoder.front_end.channel_scale.uniform_(0.5, 1.0)
    path = tmp_path / "student.safetensors"
    checkpoint.save(encoder, path, metadata=METADATA)
    return path


def run(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, ["export", *map(str, arguments)])
    if isinstance(done.exception, SkillBenchError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "onnx"])
def test_every_format_comes_back_with_the_same_hidden_states(name: str, student: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / OUT[name]
    run(student, "--format", name, "--out", out, "--licence", "MIT")
    before, after = checkpoint.load(student), checkpoint.load(out)
    assert after.metadata == METADATA | {"licence": "MIT"}
    waves = torch.randn(2, 5000)
    pairs = list(zip(before.encoder(waves)[0], after.encoder(waves)[0], strict=True))
    assert len(pairs) == 3
    assert all(torch.equal(a, b) for a, b in pairs)
    if name != "dphubert":  # there one head more carries the position bias
        assert after.sha256 == before.sha256


@pytest.mark.parametrize("options", [[], ["--quantise", "int8"], ["--quantise", "int8-static"]])
def test_a_graph_is_written_with_its_parity(options: list[str], student: Path, tmp_path: Path) -> None:
    precision = options[-1] if options else "float32"
    if precision == "int8-static":
        options = [*options, "--calibrate", str(noise(tmp_path / "speech", 2)[0].path.parent)]
    output = run(student, "--format", "onnx", "--out", tmp_path / "m.onnx", "--licence", "MIT", *options)
    found = onnx_file.read(tmp_path / "m.onnx")
    assert found.stated.precision == precision
    assert found.stated.checkpoint == METADATA | {"licence": "MIT"}
    assert found.stated.checkpoint_sha256 == checkpoint.load(student).sha256
    assert "ONNX opset 20, checked" in output
    on = "held-out speech" if precision == "int8-static" else "noise"
    for name in found.stated.parity:
        assert f"{name} graph and torch, largest difference on {on}: " in output
    assert output.count("(10 s)") == len(found.stated.parity)


def test_the_graph_of_a_bundled_student_is_a_student_of_its_teacher(
    tmp_path: Path, make_record: Callable[..., Record]
) -> None:
    """Who the teacher is need not be said: upstream.toml does, and the graph's row is held against that teacher's."""
    run("skill", "--format", "onnx", "--out", tmp_path / "m.onnx")
    graph = load_upstream("skill", tmp_path / "m.onnx").system()
    assert (graph.title, graph.kind, graph.teacher, graph.licence) == (
        "SKILL student (ONNX float32)", "student", "teacher", "MIT",
    )  # fmt: skip
    of = load_upstream("teacher").system()
    records = make_record(graph.name, "ks", 60, system=graph), make_record("teacher", "ks", 80, system=of)
    found = build([Collection(origin="run", entries=tuple(FoundRecord(record=r, origin="run") for r in records))], ())
    kept = {row.system: row.value(RETENTION) for section in found.sections for row in section.rows}
    assert kept == {graph.name: 75, "teacher": None}


def test_half_precision_is_half_as_large(student: Path, tmp_path: Path) -> None:
    run(student, "--out", tmp_path / "half.safetensors", "--half")
    run(student, "--out", tmp_path / "full.safetensors")
    sizes = {name: (tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "full")}
    assert sizes["half"] < 0.7 * sizes["full"]


def test_card_says_what_is_known_and_what_is_not(student: Path, tmp_path: Path) -> None:
    output = run(student, "--format", "huggingface", "--out", tmp_path / "m", "--title", "Small")
    assert "transformers cannot, because its layers keep different attention heads" in output
    card = (tmp_path / "m" / "README.md").read_text()
    n_parameters = sum(p.numel() for p in checkpoint.load(student).encoder.parameters())
    for expected in (
        "# Small\n",
        f"{n_parameters:,}, {1 - n_parameters / 100_000:.2%} fewer than its teacher's 100,000",
        "sha256 `abab",
        "2.5 hours of speech",
        'license_name: "not stated"',
        '"seed": 3',
        "No records of this model were given.",
    ):
        assert expected in card, expected
    assert json.loads((tmp_path / "m" / "config.json").read_text())["model_type"] == "skill-bench"
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == [
        "README.md", "config.json", "model.safetensors", "modeling_skill_bench.py", "preprocessor_config.json",
    ]  # fmt: skip


def test_card_shows_the_scores_of_this_model_alone(tmp_path: Path) -> None:
    """From shipped records: the student's scores are in its card, those of its graphs and of other models are not."""
    bundled = catalog.folder("upstreams") / "skill" / "skill.safetensors"
    sha256 = checkpoint.load(bundled).sha256
    records = catalog.folder("leaderboard") / "deployed"
    own = [record for record in collect(records).records if record.system.checkpoint_sha256 == sha256]
    of_weights = [
        value
        for record in own
        if (value := record.metrics[record.metric].value) is not None
        and record.key.task == "ks"
        and "graph_precision" not in record.system.details
    ]
    assert len(own) > len(of_weights) > 0
    run(bundled, "--format", "huggingface", "--out", tmp_path / "m", "--results", records)
    card = (tmp_path / "m" / "README.md").read_text()
    scores = card.partition("## Scores")[2].partition("## Recipe")[0]
    assert f"{np.mean(of_weights):.2f}" in scores
    rows = [line.split("|")[1].strip() for line in scores.splitlines() if line.startswith("| ")]
    assert rows[1:] == ["SKILL student"]
    assert "ONNX" not in scores


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (WHOLE, None),
        (replace(WHOLE, channel_scale=True), None),
        (PRUNED, "different attention heads"),
        (WHOLE.with_layers((WHOLE.layers[0], replace(WHOLE.layers[1], ffn_dim=3))), "different feed-forward widths"),
        (replace(WHOLE, relative_position=None, head_dim=4), "do not make up its width"),
    ],
)
def test_what_transformers_cannot_hold_is_named(changed: object, reason: str | None) -> None:
    found = why_not_transformers(Encoder(changed))  # type: ignore[arg-type]
    assert found is None if reason is None else reason in (found or "")


def test_factors_behind_the_front_end_keep_a_model_out_of_transformers() -> None:
    encoder = Encoder(replace(WHOLE, channel_scale=True)).requires_grad_(False)
    assert encoder.front_end.channel_scale is not None
    encoder.front_end.channel_scale[0] = 0.9
    assert "channels by factors" in (why_not_transformers(encoder) or "")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--format", "tflite", "--out", "m"], UnknownName, r"unknown format 'tflite'.*huggingface, onnx, safetensors"),
        (["--format", "onnx", "--out", "m.pth"], CheckpointError, r"a graph ends in \.onnx"),
        (["--format", "onnx", "--out", "m.onnx", "--half"], UsageError, "--half belongs to --format safetensors"),
        (["--format", "onnx", "--out", "m.onnx", "--quantise", "int4"], UnknownName, "unknown precision 'int4'"),
        (
            ["--format", "onnx", "--out", "m.onnx", "--quantise", "int8-static"],
            UsageError,
            "int8-static learns its ranges from speech. Name some: --calibrate FOLDER",
        ),
        (["--quantise", "int8", "--out", "m.safetensors"], UsageError, "--quantise belongs to --format onnx"),
        (["--calibrate", ".", "--out", "m.safetensors"], UsageError, "--calibrate belongs to --format onnx"),
        (["--format", "huggingface", "--out", "m.onnx"], UsageError, "expected a folder"),
        (["--format", "dphubert", "--out", "m.pt"], CheckpointError, r"DPHuBERT's format ends in \.pth"),
        (["--format", "dphubert", "--out", "m.pth", "--half"], UsageError, "--half belongs to"),
        (["--format", "huggingface", "--out", "m.pth"], UsageError, "expected a folder"),
        (["--out", "m.pth"], CheckpointError, r"ends in \.safetensors"),
    ],
)
def test_what_cannot_be_written(student: Path, arguments: list[str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        run(student, *arguments)
