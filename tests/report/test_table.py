"""One row a system; comparable rows together, all others apart."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from skill_bench.records.profile import Profile
from skill_bench.records.record import Metric, Record, System
from skill_bench.report.render.frame import to_frame
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import Collection
from skill_bench.report.table.columns import published_column
from skill_bench.report.table.entry import FoundRecord
from skill_bench.report.table.published import PublishedRow
from skill_bench.report.table.quantities import ANCHORS
from skill_bench.report.table.table import Table


def table(*records: Record, profiles: tuple[Profile, ...] = (), published: tuple[PublishedRow, ...] = ()) -> Table:
    return build([collection(*records, profiles=profiles)], published)


def collection(*records: Record, profiles: tuple[Profile, ...] = (), origin: str = "run") -> Collection:
    entries = tuple(FoundRecord(record=record, origin=origin) for record in records)
    return Collection(origin=origin, entries=entries, profiles=profiles)


def section_labels(found: Table) -> list[str]:
    return [section.label for section in found.sections]


def row(found: Table, **where: str) -> dict[Any, Any]:
    frame = to_frame(found)
    for column, value in where.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1, frame
    return {name: None if pd.isna(value) else value for name, value in frame.iloc[0].to_dict().items()}


def test_a_row_a_system_with_units_in_the_names(make_record: Any, make_profile: Any) -> None:
    found = row(table(make_record(numerator=80), make_record(task="pr", numerator=30), profiles=(make_profile(),)))
    assert found["ks_accuracy_percent"] == 80
    assert found["pr_per_percent"] == 30
    assert found["source"] == "measured"
    assert found["parameters_millions"] == 2.5
    assert (found["macs_giga"], found["macs_superb_giga"]) == (3, 4)
    assert found["throughput_audio_seconds_per_second"] == 50
    assert found["peak_memory_mebibytes"] == 2
    assert found["mean_points"] == (80 + 70) / 2
    assert found["rank"] == 1


def test_without_a_profile_the_records_own_count_stands(make_record: Any, make_profile: Any) -> None:
    other = make_profile(identity="another checkpoint")
    found = row(table(make_record(), profiles=(other,)))
    assert found["parameters_millions"] == 0.0015
    assert found["macs_giga"] is None


def test_what_the_compression_took_stands_with_its_machine(make_record: Any) -> None:
    said = {"compression_hours": "1.5", "compressed_on": "4 x A100", "training_hours": "960.0"}
    system = System(name="s", title="S", identity="s", teacher="t", details=dict(said))
    found = row(table(make_record("s", system=system)), system="s")
    assert found["compression_hours"] == 1.5
    assert found["compressed_on"] == "4 x A100"
    assert found["compression_speech_hours"] == 960
    unknown = system.model_copy(update={"details": said | {"compression_hours": "soon"}})
    assert row(table(make_record("s", system=unknown)), system="s")["compression_hours"] is None


def test_seeds_give_mean_and_spread(make_record: Any) -> None:
    found = row(table(*(make_record(numerator=n, seed=s) for s, n in enumerate((70, 80, 90)))))
    assert found["ks_accuracy_percent"] == 80
    assert found["ks_accuracy_percent_std"] == pytest.approx(10)
    assert found["ks_accuracy_percent_n_seeds"] == 3


def test_one_seed_has_no_spread(make_record: Any) -> None:
    found = row(table(make_record()))
    assert found.get("ks_accuracy_percent_std") is None
    assert found["ks_accuracy_percent_n_seeds"] == 1


def test_a_mean_and_a_rank_only_for_complete_rows(make_record: Any) -> None:
    found = table(
        make_record("a", "ks", 99),
        make_record("b", "ks", 80),
        make_record("b", "pr", 30),
        make_record("c", "ks", 80),
        make_record("c", "pr", 20),
    )
    assert list(to_frame(found)["system"]) == ["c", "b", "a"]
    assert to_frame(found)["rank"].tolist()[:2] == [1, 2]
    assert to_frame(found)["rank"].isna().tolist() == [False, False, True]
    assert to_frame(found)["mean_points"].isna().tolist() == [False, False, True]


def test_equal_scores_share_a_rank(make_record: Any) -> None:
    found = table(make_record("a"), make_record("b"), make_record("c", numerator=10))
    assert to_frame(found)["rank"].tolist() == [1, 1, 3]


def test_a_failed_cell_is_absent_and_says_why(make_record: Any) -> None:
    found = row(table(make_record("a", "ks", 80), make_record("a", "pr", None), make_record("b", "pr", 30)), system="a")
    assert found["notes"] == "pr seed 0 failed: AudioError: a.wav: empty"
    assert found["pr_per_percent"] is None
    assert found["rank"] is None


def test_a_task_that_failed_everywhere_leaves_no_mean(make_record: Any) -> None:
    found = row(table(make_record("a", "ks", 80), make_record("a", "pr", None)))
    assert found["ks_accuracy_percent"] == 80
    assert found["mean_points"] is None


def test_a_metric_without_a_value_is_absent_and_says_why(make_record: Any) -> None:
    nothing = make_record(metrics={"accuracy": Metric.percent(0, 0, higher_is_better=True)})
    found = row(table(nothing, make_record("b")), system="skill")
    assert found["notes"] == "ks seed 0 has no accuracy: nothing to score: the denominator is zero"
    assert found["ks_accuracy_percent"] is None


@pytest.mark.parametrize(
    ("difference", "labels"),
    [
        (
            {"suite": "local"},
            {"demo (recorded speech), protocol strict", "local (recorded speech), protocol strict"},
        ),
        (
            {"protocol": "s3prl"},
            {"demo (recorded speech), protocol strict", "demo (recorded speech), protocol s3prl"},
        ),
    ],
)
def test_suites_and_protocols_never_mix(make_record: Any, difference: dict[str, Any], labels: set[str]) -> None:
    found = table(make_record("a"), make_record("b", **difference))
    assert set(section_labels(found)) == labels
    assert to_frame(found)["rank"].tolist() == [1, 1]


@pytest.mark.parametrize(
    "difference",
    [{"version": 1}, {"fingerprint": "e" * 64}, {"task_spec": {"protocol": {"steps": 10}}}],
    ids=["task version", "data", "settings"],
)
def test_variants_of_a_task_never_mix(make_record: Any, difference: dict[str, Any]) -> None:
    found = table(make_record("a"), make_record("b", **difference))
    assert len(section_labels(found)) == 2
    assert all("ks version" in label for label in section_labels(found))
    assert to_frame(found)["rank"].tolist() == [1, 1]


def test_a_title_may_change_without_a_new_block(make_record: Any) -> None:
    found = table(make_record("a"), make_record("b", task_spec={"title": "Keyword spotting"}))
    assert len(section_labels(found)) == 1


def test_a_system_without_the_disputed_task_stands_in_every_block_it_fits(make_record: Any) -> None:
    found = table(
        make_record("a", "ks", version=1),
        make_record("a", "pr", 30),
        make_record("b", "ks"),
        make_record("b", "pr", 20),
        make_record("c", "pr", 10),
    )
    by_block = to_frame(found).groupby("section")["system"].apply(sorted).tolist()
    assert by_block == [["a", "c"], ["b", "c"]]


def test_two_checkpoints_of_one_upstream_are_two_rows(make_record: Any) -> None:
    found = table(make_record(identity="one"), make_record(identity="two", seed=1))
    assert to_frame(found)["identity"].tolist() == ["one", "two"]


def test_the_same_system_run_now_and_shipped_is_two_rows(make_record: Any) -> None:
    found = build(
        [
            collection(make_record(), origin="run"),
            collection(make_record(), origin="shipped"),
        ]
    )
    assert sorted(to_frame(found)["origin"]) == ["run", "shipped"]


def test_published_rows_stand_apart(make_record: Any) -> None:
    one = PublishedRow(
        suite="demo",
        system="Paper",
        teacher=None,
        distillation_data=None,
        citation="a paper",
        values={"ks_accuracy_percent": 99.0, "superb_score_published": None},
    )
    found = table(make_record(protocol="s3prl"), published=(one,))
    assert to_frame(found)["source"].tolist() == ["measured", "published"]
    assert len(section_labels(found)) == 2
    paper = row(found, system="Paper")
    assert paper["origin"] == "a paper"
    assert paper["ks_accuracy_percent"] == 99
    assert paper["rank"] is None


def test_only_the_judged_metric_counts_for_the_mean(make_record: Any) -> None:
    metrics = {
        "accuracy": Metric.percent(80, 100, higher_is_better=True),
        "accuracy_pooled": Metric.percent(10, 100, higher_is_better=True),
    }
    found = table(make_record(metrics=metrics))
    assert row(found)["mean_points"] == 80
    assert row(found)["ks_accuracy_pooled_percent"] == 10


def test_no_records_give_an_empty_table() -> None:
    assert section_labels(table()) == []


def student(make_record: Any, numerator: float, *, teacher_sha256: str | None = None, **more: Any) -> Record:
    record: Record = make_record("student", "ks", numerator, **more)
    details = {"teacher_sha256": teacher_sha256} if teacher_sha256 else {}
    system = record.system.model_copy(update={"teacher": "teacher", "details": details})
    return record.model_copy(update={"system": system})


def test_retention_is_relative_to_the_rows_own_teacher(make_record: Any) -> None:
    found = row(
        table(student(make_record, 60), make_record("teacher", numerator=80), make_record("best", numerator=99)),
        system="student",
    )
    assert found["ks_accuracy_percent_retention_percent"] == 75
    assert found["retention_percent"] == 75


def test_a_teacher_of_another_checkpoint_is_not_the_rows_own(make_record: Any) -> None:
    teacher = make_record("teacher", numerator=80)
    teacher = teacher.model_copy(update={"system": teacher.system.model_copy(update={"checkpoint_sha256": "abc"})})
    assert row(table(student(make_record, 60, teacher_sha256="abc"), teacher), system="student")[
        "retention_percent"
    ] == pytest.approx(75)
    other = row(table(student(make_record, 60, teacher_sha256="def"), teacher), system="student")
    assert other["retention_percent"] is None


def test_error_rates_are_retained_as_points(make_record: Any) -> None:
    one = make_record("student", "pr", 40)
    one = one.model_copy(update={"system": one.system.model_copy(update={"teacher": "teacher"})})
    found = row(table(one, make_record("teacher", "pr", 20)), system="student")
    assert found["pr_per_percent_retention_percent"] == 75


def test_what_enters_no_mean_is_not_kept_in_per_cent(make_record: Any) -> None:
    ours, its = ({"accuracy": Metric(value=v, unit="nats", higher_is_better=True)} for v in (60.0, 80.0))
    found = row(table(student(make_record, 60, metrics=ours), make_record("teacher", metrics=its)), system="student")
    assert found["ks_accuracy_nats"] == 60
    assert found.get("ks_accuracy_nats_retention_percent") is None


def test_every_task_has_its_own_rank(make_record: Any) -> None:
    found = table(
        make_record("a", "ks", 90), make_record("a", "pr", 50), make_record("b", "ks", 80), make_record("b", "pr", 10)
    )
    ranks = {
        r["system"]: (r["ks_accuracy_percent_rank"], r["pr_per_percent_rank"]) for _, r in to_frame(found).iterrows()
    }
    assert ranks == {"a": (1, 2), "b": (2, 1)}


def test_models_under_one_title_are_told_apart_and_named(make_record: Any) -> None:
    found = table(make_record(identity="one" * 20), make_record(identity="two" * 20, seed=1))
    assert sorted(to_frame(found)["title"]) == ["Skill [oneoneon]", "Skill [twotwotw]"]
    assert len(found.problems) == 1
    assert "2 different models are called 'Skill'" in found.problems[0]


def test_superb_scores_only_on_superbs_own_corpora(make_record: Any) -> None:
    def scored(suite: str) -> Table:
        records = []
        for name in ANCHORS:
            column = published_column(name)
            assert column is not None
            metric = Metric(value=50, unit=column.unit, higher_is_better=column.higher_is_better)
            found = {"metric": column.metric, "metrics": {column.metric: metric}}
            records.append(make_record(task=column.task, suite=suite, synthetic=False, **found))
        slots = [record for record in records if record.key.task == "sf"]
        both = slots[0].model_copy(update={"metrics": slots[0].metrics | slots[1].metrics})
        return table(*(record for record in records if record.key.task != "sf"), both)

    assert row(scored("superb"))["overall_score"] == pytest.approx(50)
    assert row(scored("superb"))["superb_score"] is not None
    assert row(scored("local"))["overall_score"] is None
    assert row(scored("local"))["superb_score"] is None
    assert row(scored("local"))["mean_points"] == 50


@pytest.mark.parametrize(("of_teacher", "kept"), [(2, 150.0), (1, 300.0), (0.99, None), (0.5, None)])
def test_what_a_teacher_of_less_than_a_point_leaves_says_nothing(
    of_teacher: float, kept: float | None, make_record: Any
) -> None:
    found = row(table(student(make_record, 3), make_record("teacher", numerator=of_teacher)), system="student")
    for name in ("ks_accuracy_percent_retention_percent", "retention_percent"):
        assert found.get(name) == kept, name
