"""A pytest fixture for projects that guard a model: ``def test_student(skill_check): skill_check("baseline")``.

Installed with the package; nothing heavy is imported before the fixture is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from skill_bench.base.places import Names
    from skill_bench.guard.findings import CheckReport
    from skill_bench.guard.rerun import Load


class SkillCheck:
    """What the fixture gives: a function that runs the check and fails the test if it does not pass."""

    def __call__(
        self,
        against: str | Path,
        *,
        upstream: str | None = None,
        tasks: Names | None = None,
        level: float = 0.05,
        margin: float | None = None,
        throughput_loss: float = 0.3,
        ckpt: str | Path | None = None,
        data_root: str | Path | None = None,
        suite_file: str | Path | None = None,
        cache_dir: str | Path | None = None,
        device: str = "cpu",
        timed: bool = True,
        load: Load | None = None,
    ) -> CheckReport:
        """Checks a model against the baseline folder ``against``; the options are those of ``skill-bench check``.

        Args:
            tasks: One, or several.
            load: Loads the upstream; for callers that have their own.
        """
        __tracebackhide__ = True
        from skill_bench.base.places import cache_folder, names
        from skill_bench.evaluation.evaluate import load_request
        from skill_bench.guard import rerun
        from skill_bench.guard.findings import to_markdown
        from skill_bench.guard.judge import Rules

        report = rerun.compare(
            Path(against),
            place=rerun.RerunOptions(
                cache_dir=cache_folder(_path(cache_dir)),
                ckpt=_path(ckpt),
                data_root=_path(data_root),
                suite_file=_path(suite_file),
                device=device,
                timed=timed,
                load=load or load_request,
            ),
            rules=Rules(level=level, margin_points=margin, throughput_loss=throughput_loss),
            upstream=upstream,
            tasks=None if tasks is None else tuple(names(tasks)),
        )
        if not report.passed:
            pytest.fail(to_markdown(report), pytrace=False)
        return report


@pytest.fixture
def skill_check() -> SkillCheck:
    """A function that checks a model against a baseline folder, see :meth:`SkillCheck.__call__`."""
    return SkillCheck()


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)
