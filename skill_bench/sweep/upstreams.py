"""The systems of a grid as upstreams: its teacher, its students, and what stands beside them; jobs get it as a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from skill_bench.evaluation.evaluate import load_request
from skill_bench.evaluation.plan import UpstreamRequest
from skill_bench.models import checkpoint
from skill_bench.records.record import System
from skill_bench.sweep.grid import Job
from skill_bench.upstream.encoder import EncoderUpstream
from skill_bench.upstream.interface import Upstream

TEACHER = "teacher"


@dataclass(frozen=True, kw_only=True)
class Upstreams:
    """Loads them by name.

    Attributes:
        teacher: Its checkpoint.
        students: By name, with their checkpoints.
    """

    teacher: Path
    students: Mapping[str, tuple[Job, Path]]

    def __call__(self, request: UpstreamRequest) -> Upstream:
        """The upstream, frozen, on the CPU; what is neither teacher nor student is loaded as for `skill-bench run`."""
        if request.name == TEACHER:
            loaded = checkpoint.load(self.teacher)
            title = loaded.metadata.get("title", "Teacher")
            system = System(name=TEACHER, title=title, kind="teacher", identity="")
            return EncoderUpstream(loaded=loaded, system=system).freeze()
        if request.name not in self.students:
            return load_request(request)
        job, path = self.students[request.name]
        return EncoderUpstream(
            loaded=checkpoint.load(path),
            system=System(
                name=job.name,
                title=title_of(job),
                kind="student",
                identity="",
                teacher=TEACHER,
                details={"evidence_row": job.row.name, "distillation_seed": job.seed},
            ),
        ).freeze()


def title_of(job: Job) -> str:
    """Of a student."""
    return f"{job.row.title or job.row.name}, seed {job.seed}"
