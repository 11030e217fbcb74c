"""The card of an exported folder, read as the hub reads it: licence, origin, scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import made_samples
import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import ModelCardData
from typer.testing import CliRunner

from skill_bench.base import catalog
from skill_bench.base.errors import SkillBenchError, UsageError
from skill_bench.cli.main import app
from skill_bench.evaluation import kinds
from skill_bench.models import checkpoint
from skill_bench.models.encoder import Encoder
from skill_bench.models.factories import architecture
from skill_bench.records.record import Record, System
from skill_bench.report.table.load import load_collections

SHAPE = architecture(
    channels=8, dim=16, n_layers=2, n_heads=2, ffn_dim=12, position_kernel=8, position_groups=4
)  # fmt: skip
DATASETS = [
    "openslr/librispeech_asr", "mispeech/speechocean762", "arabic-speech-commands", "google/speech_commands",
    "dspspeech-20", "picovoice-speech-to-intent", "picovoice-wake-word", "mycroft-precise-community-data",
    "espeak-ng-synthesised",
]  # fmt: skip


def exported(source: str | Path, out: Path, *options: str) -> tuple[ModelCardData, str]:
    """Header and text of the card; the header is refused if its model-index is not one."""
    arguments = ["export", str(source), "--format", "huggingface", "--out", str(out), *options]
    done = CliRunner().invoke(app, arguments)
    if isinstance(done.exception, SkillBenchError):
        raise done.exception
    assert done.exit_code == 0, done.output
    card = ModelCard.load(out / "README.md", ignore_metadata_errors=False)
    assert isinstance(card.data, ModelCardData)
    return card.data, card.text


@pytest.fixture
def student(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    return saved(tmp_path / "student.safetensors")


def saved(path: Path, **metadata: str) -> Path:
    checkpoint.save(Encoder(SHAPE), path, metadata=metadata)
    return path


def test_a_card_has_the_scores_of_the_evidence_too(tmp_path: Path) -> None:
    data, _ = exported("teacher", tmp_path / "m")
    assert data.eval_results is not None
    suites = {result.dataset_type.removeprefix("skill-bench-") for result in data.eval_results}
    assert suites == {"demo", "local", "dspspeech20"}


def teacher_sha256() -> str:
    return checkpoint.load(catalog.entry("upstreams", "teacher") / "teacher.safetensors").sha256


def test_bundled_student(tmp_path: Path) -> None:
    """From upstream.toml, its teacher's and the shipped records, without any option."""
    data, text = exported("skill", tmp_path / "m")
    assert (data.license, data.license_name, data.base_model) == ("mit", None, "teacher")
    assert (data.datasets, data.language) == (DATASETS, ["en", "ar", "zh", "de", "es", "fr"])
    assert data.library_name == "transformers"
    assert data.tags == ["speech", "wavlm", "skill-bench", "custom_code"]
    assert "| attribution " in text
    assert "Arabic Speech Commands and Google Speech Commands (Warden, 2018), all CC BY 4.0" in text
    assert 'from_pretrained("FOLDER", trust_remote_code=True)' in text

    sha256 = checkpoint.load(tmp_path / "m").sha256
    records = [
        record
        for collection in load_collections()
        for record in collection.records
        if record.system.checkpoint_sha256 == sha256 and "graph_precision" not in record.system.details
    ]
    demo = [record for record in records if record.key.suite == "demo"]
    judged = {(record.key.task, record.metric): record.metrics[record.metric].value for record in demo}
    assert len(judged) == len(demo) == 10
    assert data.eval_results is not None
    assert {result.dataset_type for result in data.eval_results} == {f"skill-bench-{r.key.suite}" for r in records}
    results = [result for result in data.eval_results if result.dataset_type == "skill-bench-demo"]
    found = {(result.dataset_config, result.metric_type): result.metric_value for result in results}
    assert {key: found[key] for key in judged} == pytest.approx(judged, abs=1e-4)
    assert set(found) - set(judged) == {("asr", "cer"), ("sf", "cer")}
    assert data.metrics == sorted({metric for _, metric in found})
    types = {result.dataset_config: result.task_type for result in results}
    assert (types["asr"], types["ks"]) == ("automatic-speech-recognition", "audio-classification")
    assert {result.dataset_name for result in results} == {"demo (synthetic speech), protocol strict"}


def test_bundled_teacher_is_under_the_licence_of_its_upstream(tmp_path: Path) -> None:
    """And not under the sentence about its data that its checkpoint holds."""
    data, text = exported("teacher", tmp_path / "m")
    assert (data.license, data.base_model) == ("mit", None)
    assert "custom_code" not in (data.tags or [])
    assert "Picovoice speech-to-intent and wake-word benchmarks, Apache 2.0" in text


def test_what_is_not_known_is_not_said(student: Path, tmp_path: Path) -> None:
    data, text = exported(student, tmp_path / "m")
    assert (data.license, data.license_name) == ("other", "not stated")
    assert (data.base_model, data.datasets, data.language) == (None, None, None)
    assert (data.eval_results, data.metrics) == (None, None)
    assert "attribution" not in text


def test_the_mean_is_over_the_tasks_that_count_by_all_records_that_are_given(
    student: Path, tmp_path: Path, make_record: Callable[..., Record]
) -> None:
    right = {"mine": (70, 90), "teacher": (80, 60), "random": (30, 58), "logmel": (20, 20)}
    sha256 = checkpoint.load(student).sha256
    for name, own in right.items():
        system = System(
            name=name, title=name, kind="teacher" if name == "teacher" else "other", identity=name,
            checkpoint_sha256=sha256 if name == "mine" else None,
        )  # fmt: skip
        for task, n in zip(("ks", "er"), own, strict=True):
            rows = made_samples.label_rows(np.arange(100) < n)
            make_record(name, task, n, system=system).save(tmp_path / "records", predictions=rows)
    _, text = exported(student, tmp_path / "m", "--records", str(tmp_path / "records"))
    (row,) = [line for line in text.splitlines() if line.startswith("| mine ")]
    assert row.endswith(" 70.0 |"), "KS alone; with ER it would be 80"
    assert "the mean leaves out er. A task counts where" in text
    assert "| teacher " not in text.partition("## Scores")[2]


def test_each_task_is_called_what_its_kind_says(
    student: Path, tmp_path: Path, make_record: Callable[..., Record]
) -> None:
    wanted = {name: kinds.load(name).HUB_TASK for name in kinds.names()} | {"of_another_version": "other"}
    assert wanted["ctc"] != wanted["utterance"]
    system = System(name="mine", title="mine", identity="mine", checkpoint_sha256=checkpoint.load(student).sha256)
    for kind in wanted:
        make_record("mine", f"of_{kind}", 50, system=system, task_spec={"kind": kind}).save(tmp_path / "records")
    data, _ = exported(student, tmp_path / "m", "--records", str(tmp_path / "records"))
    assert data.eval_results is not None
    assert {str(one.dataset_config).removeprefix("of_"): one.task_type for one in data.eval_results} == wanted


def test_what_the_user_says_goes_before_all_else(tmp_path: Path) -> None:
    options = [
        "--licence",
        "CC BY-NC 4.0",
        "--teacher",
        "hf:microsoft/wavlm-base-plus@abc",
        "--title",
        "a: [b] # \u2028",
    ]
    data, _ = exported("skill", tmp_path / "m", *options, "--dataset", "a/b", "--dataset", "c", "--language", "en")
    assert (data.license, data.base_model) == ("cc-by-nc-4.0", "microsoft/wavlm-base-plus")
    assert (data.datasets, data.language, data.model_name) == (["a/b", "c"], ["en"], "a: [b] #  ")


def test_a_title_or_licence_can_be_any_text(student: Path, tmp_path: Path) -> None:
    data, _ = exported(student, tmp_path / "m", "--licence", 'mine: "yes"\x7f\ufffe {')
    assert (data.license, data.license_name) == ("other", 'mine: "yes"\ufffd\ufffd {')


@pytest.mark.parametrize(
    ("named", "hashed", "owed"), [("teacher", True, True), ("teacher", False, False), ("x", True, False)]
)
def test_students_made_elsewhere_owe_what_their_teacher_owes(
    named: str, hashed: bool, owed: bool, tmp_path: Path
) -> None:
    """The teacher is told by name and hash; a licence, or what the student heard, does not follow from it."""
    sha256 = teacher_sha256() if hashed else "ab" * 32
    path = saved(tmp_path / "mine.safetensors", teacher=named, teacher_sha256=sha256)
    data, text = exported(path, tmp_path / "m")
    assert ("LibriSpeech (Panayotov et al., 2015)" in text) == owed
    assert data.license == "other"
    assert data.datasets is data.language is None


def test_attribution_stays_with_the_weights(tmp_path: Path) -> None:
    out = tmp_path / "again.safetensors"
    assert CliRunner().invoke(app, ["export", "skill", "--out", str(out)]).exit_code == 0
    said = checkpoint.load(out).metadata
    assert said["licence"] == "MIT"
    assert said["attribution"].startswith("LibriSpeech")
    data, text = exported(out, tmp_path / "m")
    assert (data.license, data.datasets) == ("mit", DATASETS)
    assert said["attribution"] in text


def test_a_language_is_a_code(student: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--language English: expected a code of ISO 639-1 or 639-3, such as en"):
        exported(student, tmp_path / "m", "--language", "English")
