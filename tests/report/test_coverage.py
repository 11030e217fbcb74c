"""Intervals hold the truth as often as they say, at the sizes of our suites; the models are in `simulated_suites`.

Of 600 experiments an interval of exactly 95 % is right in 570 +- 5.3. The bounds are 93 and 97 % and two such standard
errors (1.8 points) beyond them: what is allowed is the band, what is seen is a sample.
"""

from __future__ import annotations

from typing import Any

import made_samples as made
import numpy as np
import pytest
from simulated_suites import Case, cases, coverage, rates, search, verification

from skill_bench.report.statistics.interval import interval_of, too_few

N, SLACK = 600, 0.018


@pytest.mark.parametrize("case", [case for case in cases() if case.metric not in ("eer", "mtwv")], ids=lambda c: c.name)
def test_coverage(case: Case, make_record: Any) -> None:
    assert 0.93 - SLACK <= coverage(case, make_record(), n=N, n_draws=1000) <= 0.97 + SLACK


@pytest.mark.parametrize("case", [case for case in cases() if case.metric in ("eer", "mtwv")], ids=lambda c: c.name)
def test_coverage_of_metrics_of_pairs(case: Case, make_record: Any) -> None:
    """Fewer experiments, which take longer: the standard error is 1.8 points, nearly two of them are allowed."""
    assert 0.93 - 0.03 <= coverage(case, make_record(), n=150, n_draws=200) <= 0.97 + 0.03


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
