"""A pytest fixture for projects that guard a model: ``def test_student(skill_check): skill_check("baseline")``.

Installed with the package; nothing heavy is imported before the fixture is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from skill_bench.guard.findings import CheckReport


class SkillCheck(Protocol):
    """What the fixture gives: a function that runs the check and fails the test if it does not pass."""

    def __call__(
        self,
        against: str | Path,
        *,
        upstream: str | None = None,
        ckpt: str | Path | None = None,
        tasks: tuple[str, ...] | None = None,
        level: float = 0.05,
        margin: float | None = None,
        throughput_loss: float = 0.3,
        **place: Any,
    ) -> CheckReport: ...


@pytest.fixture
def skill_check() -> SkillCheck:
    """Checks a model against the baseline folder ``against``; the options are those of ``skill-bench check``.

    Further keywords are those of `skill_bench.guard.rerun.RerunOptions`: ``data_root``, ``suite_file``, ``cache_dir``,
    ``device``, ``timed``, ``load``.
    """
    return _check


def _check(
    against: str | Path,
    *,
    upstream: str | None = None,
    ckpt: str | Path | None = None,
    tasks: tuple[str, ...] | None = None,
    level: float = 0.05,
    margin: float | None = None,
    throughput_loss: float = 0.3,
    **place: Any,
) -> CheckReport:
    __tracebackhide__ = True
    from skill_bench.base.places import cache_folder
    from skill_bench.guard import rerun
    from skill_bench.guard.findings import to_markdown
    from skill_bench.guard.judge import Rules

    report = rerun.compare(
        Path(against),
        place=rerun.RerunOptions(
            cache_dir=cache_folder(place.pop("cache_dir", None)),
            ckpt=None if ckpt is None else Path(ckpt),
            **place,
        ),
        rules=Rules(level=level, margin_points=margin, throughput_loss=throughput_loss),
        upstream=upstream,
        tasks=tasks,
    )
    if not report.passed:
        pytest.fail(to_markdown(report), pytrace=False)
    return report
