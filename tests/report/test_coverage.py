"""Intervals hold the truth as often as docs/statistics.md says; the models are in `simulated_suites`."""

from __future__ import annotations

from typing import Any

import made_samples as made
import numpy as np
import pytest
import simulated_page as page
from simulated_suites import TABLE, Case, cases, coverage, long_cases, rates, search, verification

from skill_bench.report.statistics.interval import interval_of, too_few

SAID = {name: page.percentages(share)[0] / 100 for _, name, share, _ in page.rows(TABLE)}
CASES = list(cases())
OF_PAIRS = ("eer", "mtwv")
OUTSIDE = (" 10 utterances", " 24 utterances", "speakers of 4", "90 % over 7 speakers of 8", "one in ", "138 queries")
"""Of which the page says that they are not covered in 93 to 97 %."""


def test_the_page_has_every_case_in_the_band_or_says_that_it_is_not() -> None:
    table = page.rows(TABLE)
    assert sorted(name for _, name, _, _ in table) == sorted(
        [c.name for c in CASES] + [c.name for c, _ in long_cases()]
    )
    for _, name, share, _ in table:
        assert share == page.marked(page.percentages(share)[0] / 100)
        assert share.startswith("**") <= any(part in name for part in OUTSIDE), name


@pytest.mark.parametrize("case", [case for case in CASES if case.metric not in OF_PAIRS], ids=lambda c: c.name)
def test_coverage(case: Case, make_record: Any) -> None:
    """600 of the page's 2,000 experiments; forty cases: three standard errors of the difference are 2.2 points."""
    assert coverage(case, make_record(), n=600) == pytest.approx(SAID[case.name], abs=0.022)


@pytest.mark.parametrize("case", [case for case in CASES if case.metric in OF_PAIRS], ids=lambda c: c.name)
def test_coverage_of_metrics_of_pairs(case: Case, make_record: Any) -> None:
    """The page's own experiments, which are fewer: the same but for roundings."""
    assert coverage(case, make_record(), n=400) == pytest.approx(SAID[case.name], abs=0.005)


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (rates("der", 10, mean=0.2, tail=0.8, what=""),
         "10 test items are too few to tell how much others would vary; it takes 24"),
        (verification(5, 6, 60, 90, 0.3), "5 speakers are too few to tell how much others would vary; it takes 6"),
        (search(12, 20, 2.5, document=0), "12 queries are too few to tell how much others would vary; it takes 30"),
    ],
    ids=lambda x: x.metric if isinstance(x, Case) else "",
)  # fmt: skip
def test_too_few_is_said(case: Case, said: str, make_record: Any) -> None:
    rows = case.draw(np.random.default_rng(0))
    sample = made.sample(make_record().model_copy(update={"metric": case.metric}), rows)
    assert interval_of([sample]) is None
    assert too_few(sample) == said


def test_the_optimism_of_the_maximum_is_taken_off_the_interval_alone(make_record: Any) -> None:
    """Half of what the best threshold of all queries gains over thresholds chosen without the query that is scored."""
    record = make_record().model_copy(update={"metric": "mtwv"})
    case = search(32, 49, 2.5, document=0.0)
    g = np.random.default_rng(0)
    samples = [made.sample(record, case.draw(g)) for _ in range(100)]
    values = np.array([sample.value for sample in samples])
    unbiased = values - [sample.optimism for sample in samples]
    # The mean of 100 values of standard deviation 5.2 has a standard error of 0.5.
    assert values.mean() - case.truth > 2
    assert abs(unbiased.mean() - case.truth) < 1.7
    found = interval_of(samples[:1])
    assert found is not None
    assert found.low <= values[0] <= found.high
