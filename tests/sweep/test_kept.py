"""What students keep of their teacher, from made-up documents: which of them count, differences, choices, gaps."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import made_records
import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from skill_bench.cli.main import app
from skill_bench.records.fidelity import Fidelity
from skill_bench.records.record import Record, System
from skill_bench.report.comparison import p_text
from skill_bench.report.table.collect import Collection
from skill_bench.sweep.failed import Failed, Step
from skill_bench.sweep.report.gaps import missing
from skill_bench.sweep.report.groups import Wanted
from skill_bench.sweep.report.kept import kept
from skill_bench.sweep.report.page import write_up
from skill_bench.sweep.report.readings import Part, difference, parts_of

ROOT = Path(__file__).parents[2]


def part_of(documents: Sequence[Fidelity], records: Sequence[Record] = ()) -> Part:
    (found,) = parts_of(documents, records)
    return found


def cells(text: str, start: str) -> list[str]:
    """Of the first row of a table that begins so."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {start} "))
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_what_is_kept_is_over_seeds_speakers_and_corpora() -> None:
    scores = {"skill": (0.50, 0.52), "uniform": (0.60, 0.62), "once": (0.55,)}
    documents = [
        made_records.fidelity(
            f"{name}-s{seed}", value + shift, corpus, (value - 0.03, value, value + 0.03 * (name == "skill"))
        )
        for name, values in scores.items()
        for seed, value in enumerate(values)
        for corpus, shift in (("a", 0.0), ("b", 0.1))
    ]
    rows = part_of(documents).rows
    skill = rows["skill"].whitened(["a", "b"])
    assert skill is not None
    assert skill.values == pytest.approx((0.55, 0.57))
    found = difference(rows["skill"], rows["uniform"], rows=rows, corpora=["a", "b"])
    assert found.difference == pytest.approx(0.10)
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (0.10 - found.half_width, 0.10 + found.half_width)
    )
    # Seeds: 0.02 ** 2 / 2 in each row that has two; speakers: the jackknife of the paired difference on each corpus.
    seeds = 0.02**2 / 2
    without = np.array([0.1, 0.1, 0.1 - 0.03])
    jackknife = 2 / 3 * ((without - without.mean()) ** 2).sum()
    terms = [(seeds * (1 / 2 + 1 / 2), 2), (jackknife / 4, 2), (jackknife / 4, 2)]
    variance = sum(term for term, _ in terms)
    df = variance**2 / sum(term**2 / own for term, own in terms)
    assert found.half_width == pytest.approx(stats.t.ppf(0.975, df) * variance**0.5)
    assert found.p_value == pytest.approx(2 * stats.t.sf(0.10 / variance**0.5, df))
    single = [made_records.fidelity(f"{name}-s0", 0.5, "a", (0.4, 0.5, 0.6)) for name in ("skill", "other")]
    assert "nobody knows what another seed would change" in "\n".join(kept([part_of(single)]))
    unknown = part_of(single).rows
    assert difference(unknown["skill"], unknown["other"], rows=unknown, corpora=["a"]).p_value is None
    alone = difference(rows["skill"], rows["once"], rows=rows, corpora=["a", "b"])
    assert alone.half_width > found.half_width, "one seed says less, with the spread that the others have"
    text = "\n".join(kept([part_of(documents)]))
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert [line.split("|")[1].strip() for line in lines[1:4]] == ["UNIFORM", "ONCE", "SKILL"], "best first"
    assert "0.660 [" in lines[1]
    assert "+0.100 [" in lines[1]
    assert "a (1 min, 3 speakers), b (1 min, 3 speakers)" in text
    assert kept([]) == []


def test_a_student_that_was_not_measured_on_a_corpus_has_no_mean() -> None:
    three = (0.1, 0.2, 0.3)
    documents = [made_records.fidelity("skill-s0", 0.5, "a", three), made_records.fidelity("skill-s0", 0.6, "b", three)]
    text = "\n".join(kept([part_of([*documents, made_records.fidelity("other-s0", 0.7, "a", three)])]))
    assert cells(text, "OTHER") == ["OTHER", "–", "–", "0.700", "–", "0 of 1", "0.81", "–", "–", "–"]
    by_layer = text.partition("### By layer of the teacher")[2]
    assert cells(by_layer, "OTHER") == ["OTHER", "–", "–"]


def test_value_interval_and_layers_are_of_the_seeds_with_all_corpora() -> None:
    """A third seed that lacks a corpus, far from the others, changes none of them."""
    whole = [
        made_records.fidelity(f"{name}-s{seed}", value + 0.01 * seed, corpus, (value, value, value + 0.01))
        for name, value in (("skill", 0.5), ("uniform", 0.6))
        for seed in (0, 1)
        for corpus in ("a", "b")
    ]
    partly = made_records.fidelity("uniform-s2", 0.1, "a", (0.0, 0.9, 0.0))
    before, after = part_of(whole), part_of([*whole, partly])
    assert after.rows["uniform"].whitened(after.corpora, 1) == before.rows["uniform"].whitened(before.corpora, 1)
    assert after.against("skill", "uniform") == before.against("skill", "uniform")
    text = "\n".join(kept([after]))
    assert [cells(text, name)[5] for name in ("SKILL", "UNIFORM")] == ["2", "2 of 3"]


@pytest.mark.parametrize("newest_first", [True, False])
def test_the_newest_student_of_a_row_and_seed_counts_alone(newest_first: bool) -> None:
    old = [made_records.fidelity("skill-s0", 0.4, corpus, identity="old", at="2026-01-01") for corpus in ("a", "b")]
    new = [made_records.fidelity("skill-s0", 0.6, "a", identity="new", at="2026-02-01")]
    part = part_of([*new, *old] if newest_first else [*old, *new])
    assert list(part.rows["skill"].readings[0]) == ["a"], "the older student's other corpus is not mixed in"
    assert part.rows["skill"].readings[0]["a"].whitened.value == 0.6
    text = "\n".join(kept([part]))
    assert "- skill-s0 on b, 2026-01-01: another student of its row and seed was measured since" in text


def test_two_versions_of_a_corpus_are_not_mixed() -> None:
    documents = [
        made_records.fidelity("skill-s0", 0.4, "a", fingerprint="first", at="2026-01-01"),
        made_records.fidelity("skill-s1", 0.6, "a", fingerprint="second", at="2026-02-01"),
    ]
    part = part_of(documents)
    assert list(part.rows["skill"].readings) == [1]
    assert part.left_out == [
        "skill-s0 on a, 2026-01-01: the newest of this corpus is of other speech, or was measured with other settings"
    ]


def test_a_document_without_a_seed_is_known_by_its_weights_or_gives_way() -> None:
    """Bundled students are called by their recipe; their records of tasks say which training they are."""
    bundled = made_records.fidelity("skill-s0", 0.4, "a", details={}, at="2026-01-01")
    bundled = bundled.model_copy(
        update={"student": bundled.student.model_copy(update={"name": "skill", "checkpoint_sha256": "c" * 64})}
    )
    assert list(part_of([bundled]).rows["skill"].readings) == [None], "nobody says which seed it is"
    trained = made_records.record("skill-s3").model_copy(
        update={
            "system": System(
                name="skill-s3", title="SKILL, seed 3", identity="i", checkpoint_sha256="c" * 64,
                details={"evidence_row": "skill", "distillation_seed": 3},
            )
        }
    )  # fmt: skip
    assert list(part_of([bundled], [trained]).rows["skill"].readings) == [3]
    new = made_records.fidelity("skill-s0", 0.6, "a", at="2026-02-01")
    part = part_of([bundled, new])
    assert list(part.rows["skill"].readings) == [0]
    assert part.left_out == ["skill on a, 2026-01-01: it does not say its distillation seed, others of its row do"]


def test_teachers_have_parts_of_their_own() -> None:
    one = made_records.fidelity("skill-s0", 0.4, "a")
    other = one.model_copy(update={"teacher": System(name="teacher", title="Another", identity="u")})
    text = "\n".join(kept(parts_of([one, other])))
    assert "## What students keep of their teacher Teacher" in text
    assert "## What students keep of their teacher Another" in text


SKILL = {
    "name": "skill",
    "groups": {"method": "similarity", "n_groups": 4, "include_input": True},
    "sparsity": {"target": 0.75},
}
UNIFORM = {**SKILL, "name": "uniform_groups", "groups": {"method": "uniform", "n_groups": 4, "include_input": True}}
RANDOM = {
    **SKILL,
    "name": "random_groups",
    "groups": {"method": "random", "n_groups": 4, "include_input": True, "seed": 0, "contiguous": False},
}


def changed(recipe: Mapping[str, Any], table: str, **options: Any) -> dict[str, Any]:
    return {**recipe, table: {**recipe[table], **options}}


def grid_of_choices() -> list[Fidelity]:
    """Speakers move all students alike but for a thousandth, so that two hundredths are decided and one is not."""
    dphubert = {**SKILL, "name": "dphubert", "groups": {"method": "fixed"}}
    rows: dict[str, tuple[Mapping[str, Any], Sequence[float]]] = {
        "skill": (SKILL, (0.50, 0.50)),
        "uniform_groups": (UNIFORM, (0.55, 0.55)),
        "random_groups": (RANDOM, (0.507, 0.507)),
        "dphubert": (dphubert, (0.53, 0.53)),
        "skill-k2": (changed(SKILL, "groups", n_groups=2), (0.48,)),
        "uniform-k2": (changed(UNIFORM, "groups", n_groups=2), (0.40,)),
        "random-runs-k2": (changed(RANDOM, "groups", n_groups=2, contiguous=True), (0.48,)),
        "random-runs-k4": (changed(RANDOM, "groups", contiguous=True), (0.52,)),
        "uniform-k6": (changed(UNIFORM, "groups", n_groups=6), (0.57,)),
        "every-layer": (changed(UNIFORM, "groups", n_groups=13), (0.60,)),
        "skill-90": (changed(SKILL, "sparsity", target=0.9), (0.45,)),
        "dphubert-90": (changed(dphubert, "sparsity", target=0.9), (0.41,)),
        "skill-cosine": (changed(SKILL, "groups", measure="cosine"), (0.51,)),
    }
    return [
        made_records.fidelity(
            f"{name}-s{seed}",
            value,
            "a",
            tuple(value + 0.001 * np.sin(np.arange(9) * (number + 1))),
            recipe=recipe,
            layers=[0.0] * 13,
        )
        for number, (name, (recipe, values)) in enumerate(rows.items())
        for seed, value in enumerate(values)
    ]


def test_groups_are_compared_at_equal_numbers() -> None:
    part = part_of(grid_of_choices())
    table = "\n".join(kept([part])).partition("### By number of groups")[2].partition("###")[0]
    assert cells(table, "number of groups") == [
        "number of groups", "SKILL ↑", "random runs ↑", "uniform groups ↑",
        "random runs to SKILL", "uniform groups to SKILL",
    ]  # fmt: skip
    two, four, six = (cells(table, n) for n in "246")
    assert two[1:4] == ["0.480", "0.480", "0.400"]
    assert four[1:4] == ["0.500 [0.500, 0.500]", "0.520", "0.550 [0.550, 0.550]"]
    assert six[1:] == ["–", "–", "0.570", "–", "–"]
    assert two[5].startswith("-0.080 [-0.08"), "against the row with two groups, not against the one with four"
    at_two = part.against("skill-k2", "uniform-k2")
    assert at_two is not None
    assert f"[{at_two.interval.low:+.3f}, {at_two.interval.high:+.3f}]" in two[5]
    assert "- SKILL beside random runs: keeps less at 4; not decided at 2." in table
    assert "- SKILL beside uniform groups: keeps more at 2; keeps less at 4." in table
    assert "| 13 " not in table, "so many groups are nobody's choice"
    (each,) = (line for line in table.splitlines() if line.startswith("- Every layer"))
    assert re.fullmatch(r"- Every layer for itself, 13 groups: 0.600, to SKILL's 4 \+0.100 \[.*\]: keeps more\.", each)


def test_recipes_are_compared_at_equal_sparsity() -> None:
    table = "\n".join(kept([part_of(grid_of_choices())])).partition("### By sparsity")[2].partition("###")[0]
    assert cells(table, "sparsity") == ["sparsity", "SKILL ↑", "DPHUBERT ↑", "DPHUBERT to SKILL"]
    assert cells(table, "0.9")[1:3] == ["0.450", "0.410"]
    assert cells(table, "0.9")[3].startswith("-0.040 [")
    assert "- SKILL beside DPHUBERT: keeps more at 0.9; keeps less at 0.75." in table


def test_variants_are_held_against_their_own_recipe_and_do_not_count_for_holm() -> None:
    part = part_of(grid_of_choices())
    text = "\n".join(kept([part]))
    recipes, _, variants = text.partition("### Variants of a recipe")
    variants = variants.partition("###")[0]
    assert all(cells(recipes, name) for name in ("SKILL", "UNIFORM_GROUPS", "RANDOM_GROUPS", "DPHUBERT"))
    assert "SKILL-K2" not in recipes
    cosine, six = cells(variants, "SKILL-COSINE"), cells(variants, "UNIFORM-K6")
    assert cosine[-3].startswith("+0.010 [")
    assert cosine[-2:] == ["SKILL", "groups.measure null → cosine"]
    assert six[-3].startswith("+0.020 [")
    assert six[-2:] == ["UNIFORM_GROUPS", "groups.n_groups 4 → 6"]
    alone = part.against("skill", "random_groups")
    assert alone is not None
    assert alone.p_value is not None
    assert 0.01 < alone.p_value < 0.3
    assert cells(recipes, "RANDOM_GROUPS")[-1] == p_text(alone.p_value), "the last of three, however many variants"


def test_what_the_test_says_stands_in_words() -> None:
    values = {"skill": (0.500, 0.502, 0.504), "same": (0.501, 0.502, 0.503), "less": (0.400, 0.402, 0.404)}
    documents = [
        made_records.fidelity(f"{name}-s{n}", v, "a") for name, own in values.items() for n, v in enumerate(own)
    ]
    text = "\n".join(kept([part_of(documents)]))
    assert "- LESS keeps less than SKILL by 0.100 (p < 0.001)." in text
    (said,) = (line for line in text.splitlines() if line.startswith("- no difference shown: SAME"))
    p = cells(text, "SAME")[-1]
    low, high = (abs(float(end)) for end in cells(text, "SAME")[-2].partition("[")[2].strip("]").split(", "))
    assert said == f"- no difference shown: SAME may keep {low:.3f} less to {high:.3f} more (p {p})."


def test_a_row_varies_over_seeds_as_its_own_recipe_does() -> None:
    """Random groups are drawn anew for each seed: their spread is theirs, and that of a random row with one seed."""
    values = {
        "skill": (SKILL, (0.500, 0.501, 0.502)),
        "random_groups": (RANDOM, (0.45, 0.50, 0.55)),
        "uniform_groups": (UNIFORM, (0.510, 0.511, 0.512)),
        "random-k2": (changed(RANDOM, "groups", n_groups=2), (0.6,)),
        "uniform-k2": (changed(UNIFORM, "groups", n_groups=2), (0.6,)),
    }
    documents = [
        made_records.fidelity(f"{name}-s{seed}", value, "a", (0.1, 0.1, 0.1), recipe=recipe)
        for name, (recipe, own) in values.items()
        for seed, value in enumerate(own)
    ]
    part = part_of(documents)
    found = {name: one for name in values if (one := part.against("skill", name)) is not None}
    assert found["random_groups"].half_width > 20 * found["uniform_groups"].half_width
    assert found["random-k2"].half_width > 20 * found["uniform-k2"].half_width
    # Welch: spreads of .001, three seeds each.
    assert found["uniform_groups"].half_width == pytest.approx(stats.t.ppf(0.975, 4) * 0.001 * (2 / 3) ** 0.5)


def test_which_keeps_most_and_whom_a_test_tells_from_it() -> None:
    values = {"skill": (0.500, 0.502, 0.504), "same": (0.501, 0.502, 0.503), "less": (0.400, 0.402, 0.404)}
    documents = [
        made_records.fidelity(f"{name}-s{n}", v, "a") for name, own in values.items() for n, v in enumerate(own)
    ]
    assert "- Of the recipes, most is kept by SAME: told apart from it: LESS; not told apart: SKILL." in "\n".join(
        kept([part_of(documents)])
    )


def test_variants_with_several_seeds_are_told_from_their_recipe_after_holm_for_their_number() -> None:
    """Either of two would pass alone."""
    rows: dict[str, tuple[Mapping[str, Any], Sequence[float]]] = {
        "skill": (SKILL, (0.500, 0.501, 0.502)),
        "skill-k2": (changed(SKILL, "groups", n_groups=2), (0.5025, 0.5035, 0.5045)),
        "skill-k3": (changed(SKILL, "groups", n_groups=3), (0.5025, 0.5035, 0.5045)),
        "skill-k8": (changed(SKILL, "groups", n_groups=8), (0.7,)),
    }

    def said(names: Sequence[str]) -> list[str]:
        documents = [
            made_records.fidelity(f"{name}-s{seed}", value, "a", recipe=rows[name][0])
            for name in names
            for seed, value in enumerate(rows[name][1])
        ]
        text = "\n".join(kept([part_of(documents)])).partition("### Variants of a recipe")[2].partition("###")[0]
        return [line for line in text.splitlines() if line.startswith("- ")]

    assert said(["skill", "skill-k2", "skill-k8"]) == ["- SKILL-K2 keeps more than SKILL by 0.002 (p 0.038)."]
    assert said([*rows]) == [
        f"- no difference shown: SKILL-{name} and SKILL are too close to call (p 0.075)." for name in ("K2", "K3")
    ]


def test_layers_on_which_more_is_kept() -> None:
    shapes = {"skill": (0.2, 0.0, 0.0), "uniform": (0.0, 0.0, 0.1)}
    documents = [
        made_records.fidelity(f"{name}-s{seed}", 0.5 + 0.001 * seed, "a", layers=layers)
        for name, layers in shapes.items()
        for seed in range(3)
    ]
    text = "\n".join(kept([part_of(documents)])).partition("### By layer of the teacher")[2]
    assert cells(text, "SKILL") == ["SKILL", "0.701", "0.501", "0.501"]
    against = cells(text.partition("Minus SKILL:")[2], "UNIFORM")
    assert [one.partition(" ")[0] for one in against] == ["UNIFORM", "-0.200", "+0.000", "+0.100"]
    assert "- SKILL beside UNIFORM: keeps more at h0; keeps less at h2." in text
    content = [one.model_dump() for one in documents]
    for layer in content[0]["readings"][0]["layers"]:
        layer["whitened_without"] = ()
    earlier = [Fidelity.model_validate(content[0]), *documents[1:]]
    assert "Minus SKILL:" not in "\n".join(kept([part_of(earlier)])), "nobody knows what other speakers would change"


def test_the_layers_of_a_shallow_student_are_told() -> None:
    documents = [
        made_records.fidelity("skill-s0", 0.5, "a"),
        made_records.fidelity("distilhubert-s0", 0.4, "a", mapping="recipe"),
    ]
    text = "\n".join(kept([part_of(documents)]))
    assert "DISTILHUBERT has not as many layers: each of the teacher's is predicted from its layer 2." in text
    assert "SKILL has fewer" not in text


def test_groups_that_students_learnt_from() -> None:
    groups = ("[[0, 1], [2], [3, 4, 5]]", "[[0, 1], [2], [3, 4, 5]]", "[[0, 2], [1, 3, 4, 5]]", None)
    documents = [
        made_records.fidelity(
            f"skill-s{seed}", 0.5, "a",
            details={"evidence_row": "skill", "distillation_seed": seed} | ({"layer_groups": own} if own else {}),
        )
        for seed, own in enumerate(groups)
    ]  # fmt: skip
    text = "\n".join(kept([part_of(documents)])).partition("### Groups of the teacher's hidden states")[2]
    rows = [line for line in text.splitlines() if line.startswith("| SKILL")]
    assert [[cell.strip() for cell in row.split("|")[2:-1]] for row in rows] == [
        ["0-1 / 2 / 3-5", "0, 1"],
        ["0, 2 / 1, 3, 4, 5", "2"],
    ]


def test_what_the_gates_learnt_is_shown() -> None:
    documents = [
        made_records.fidelity(
            f"skill-s{seed}", 0.5, "a",
            details={"evidence_row": "skill", "distillation_seed": seed, "learnt_sparsity": learnt},
        )
        for seed, learnt in enumerate(("0.748312", "0.752"))
    ]  # fmt: skip
    text = "\n".join(kept([part_of(documents)]))
    assert cells(text, "student")[-4:-2] == ["params M", "learnt sparsity"]
    assert cells(text, "SKILL")[-4:-2] == ["0.81", "0.748–0.752"]


def test_fidelity_is_missed_by_row_seed_and_corpus() -> None:
    measured = (("skill-s0", "a"), ("skill-s0", "b"), ("skill-s1", "a"))
    parts = parts_of([made_records.fidelity(name, 0.5, corpus) for name, corpus in measured])
    expected = {
        "skill": Wanted(seeds=(0, 1, 2), tasks=(), corpora=("a", "b", "c")),
        "fidelity-alone": Wanted(seeds=(0,), tasks=(), corpora=("a",)),
        "nothing-asked": Wanted(seeds=(0,), tasks=(), corpora=()),
    }
    assert missing([], expected, parts=parts) == [
        "skill, distillation seed 2: no records",
        "fidelity-alone, distillation seed 0: no records",
        "fidelity on b: no result of skill-s1",
        "fidelity on c: no result of skill-s0, skill-s1",
    ]
    assert missing([], {}, parts=parts) == ["fidelity on b: no result of skill-s1"]


def failure(row: str, reason: str, step: Step = "distillation") -> Failed:
    provenance = made_records.PROVENANCE.model_copy(update={"started_at": "2026-02-01"})
    return Failed(row=row, seed=0, step=step, reason=reason, provenance=provenance)


def test_why_a_student_is_missing_is_said_until_it_is_there() -> None:
    expected = {name: Wanted(seeds=(0,), tasks=(), corpora=("a",)) for name in ("skill", "skill-95")}
    failed = [
        failure("skill-95", "the joint stage ended at .91, its checkpoint is in /home/me/x.work"),
        failure("skill", "no space", step="fidelity"),
    ]
    text = write_up(Collection(origin="run"), similarity=None, command="x", expected=expected, failed=failed)
    gaps = text.partition("## Missing")[2]
    assert "- skill-95, distillation seed 0: was not distilled: the joint stage ended at .91" in gaps
    assert "/home/me" not in gaps, "whoever reads the page has none of these folders"
    assert "- skill, distillation seed 0: was not held against its teacher: no space" in gaps
    assert "no records" not in gaps
    since = Collection(origin="run", fidelity=(made_records.fidelity("skill-s0", 0.5, "a", at="2026-03-01"),))
    gaps = write_up(since, similarity=None, command="x", expected=expected, failed=failed).partition("## Missing")[2]
    assert "- skill," not in gaps, "measured since"
    assert "- skill-95, distillation seed 0: was not distilled" in gaps


def test_a_page_of_fidelity_alone_does_not_say_that_there_are_no_records() -> None:
    found = Collection(origin="run", fidelity=tuple(grid_of_choices()))
    text = write_up(found, similarity=None, command="x")
    assert "Written from 0 records and 17 measurements of fidelity by `x`." in text
    assert "There are no records yet." not in text
    assert "No task has been recorded." in text
    assert "groups.n_groups 4 → 2" in text


def commands_of_pages() -> dict[str, list[str]]:
    """By page, how docs/how-to/distilling.md says that it is written from shipped records."""
    text = (ROOT / "docs" / "how-to" / "distilling.md").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.startswith("skill-bench evidence write --results leaderboard/")]
    split = [shlex.split(line)[1:] for line in lines]
    return {words[words.index("--out") + 1]: words for words in split}


def test_every_archive_of_evidence_has_its_page() -> None:
    used = {word for words in commands_of_pages().values() for word in words if word.endswith(".zip")}
    kept = {path.relative_to(ROOT).as_posix() for path in (ROOT / "leaderboard").glob("*/*.zip")}
    assert used == kept - {"leaderboard/results/demo.zip", "leaderboard/deployed/local.zip"}


@pytest.mark.parametrize("page", commands_of_pages())
def test_a_page_of_evidence_is_what_its_records_give(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    written = tmp_path / Path(page).name
    words = [str(written) if word == page else word for word in commands_of_pages()[page]]
    assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
    assert written.read_text() == (ROOT / page).read_text(), "write it again, see docs/how-to/distilling.md"
