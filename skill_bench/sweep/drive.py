"""Distils and evaluates a grid of students; what is finished is kept, and the same call continues with the rest.

Layout of the output folder::

    students/NAME.safetensors       a finished student; NAME.work beside it holds its checkpoints and logs
    records/<suite>/NAME/...        its records, as `skill-bench run` writes them
    records/fidelity/NAME/...       how much of its teacher it keeps, a document a corpus
    records/failed/NAME-STEP.json   why it could not be made or measured, until it can
    records/similarity.json         the layers of the teacher

Records that were packed are found in ``records/*.zip`` too; new ones lie beside these.
"""

from __future__ import annotations

import functools
import itertools
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch

from skill_bench.base.archive import find
from skill_bench.base.errors import CheckpointError, SkillBenchError, explained
from skill_bench.base.locks import claim
from skill_bench.base.progress import Progress
from skill_bench.base.provenance import collect
from skill_bench.base.unfinished import remove_leftovers
from skill_bench.corpora.data import Utterance
from skill_bench.corpora.listing import content_fingerprint, list_audio, speech_fingerprint
from skill_bench.distillation.distill import distill
from skill_bench.evaluation.cell_record import FailedCell
from skill_bench.evaluation.cells import Outcome
from skill_bench.evaluation.evaluate import Load, evaluate, load_request
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from skill_bench.fidelity.measure import measure as measure_fidelity
from skill_bench.layers.measure import measure
from skill_bench.models import checkpoint
from skill_bench.models.checkpoint import LoadedModel
from skill_bench.records.fidelity import fidelity_path
from skill_bench.records.record import System
from skill_bench.records.similarity import SIMILARITY_FILE, LayerSimilarity
from skill_bench.sweep.failed import Failed, Step, failed_path
from skill_bench.sweep.grid import Grid, Job, by_suite
from skill_bench.sweep.recorded import measured_student, read_recipe, recorded_weights, same_students
from skill_bench.training.engine import Engine, Processes
from skill_bench.upstream.expert import encoder_of
from skill_bench.upstream.interface import Upstream

TEACHER = "teacher"


class Evaluate(Protocol):
    """As `skill_bench.evaluation.evaluate.evaluate`."""

    def __call__(self, plan: Plan, *, progress: Progress, load: Load) -> Outcome: ...


@dataclass(kw_only=True)
class Drive:
    """One run over a grid.

    Args:
        jobs: the students; those of one seed are distilled and evaluated before those of the next.
        teacher: checkpoint of any readable format.
        data: speech for distillation and calibration, as `skill-bench distill --data` takes it.
        data_root: corpora of the grid's suites and of its fidelity.
        out: see the module's text.
        evaluate: how cells are run; here, or in jobs.
        by_first_alone: whether, of processes that distil together, one alone calls it, and the others wait.
        timed: whether throughput and cold start are measured too, once nothing else is left to do.
    """

    grid: Grid
    jobs: Sequence[Job]
    teacher: Path
    data: Sequence[Path]
    data_root: Path | None
    out: Path
    cache_dir: Path
    device: str
    progress: Progress
    evaluate: Evaluate = evaluate
    by_first_alone: bool = False
    timed: bool = False
    failures: list[str] = field(default_factory=list)

    def run(self) -> list[str]:
        """Makes every record that is missing; returns what failed, a line each."""
        _ = self._held_out  # speech that is not there is missed before any work
        remove_leftovers(self.out / "students")
        remove_leftovers(self._records, below=False)
        similarity = self._similarity()
        baselines = [TEACHER, *(name for name in self.grid.upstreams if name != TEACHER)]
        self._evaluate(baselines, self.grid.tasks, {})
        same = same_students(self.jobs, similarity)
        for name, other in same.items():
            self.progress.note(f"{name}: finds the groups of {other.name}, so it is not distilled")
        jobs = [job for job in self.jobs if job.name not in same and not self._is_done(job)]
        students: dict[str, tuple[Job, Path]] = {}
        for _, group in itertools.groupby(jobs, key=lambda job: job.seed):
            made = self._students(list(group))
            self._evaluate_students(made)
            for name in made:
                self._hold_against_teacher(name, made)
            students |= made
        if self.timed:
            self._evaluate(baselines, self.grid.tasks, {}, timed=True)
            self._evaluate_students(students, timed=True)
        return self.failures

    def _evaluate_students(self, students: dict[str, tuple[Job, Path]], *, timed: bool = False) -> None:
        for tasks in dict.fromkeys(job.tasks for job, _ in students.values()):
            names = [name for name, (job, _) in students.items() if job.tasks == tasks]
            self._evaluate(names, tasks, students, timed=timed)

    @functools.cached_property
    def _speech(self) -> list[Utterance]:
        return list_audio(self.data)

    @functools.cached_property
    def _contents(self) -> str:
        return content_fingerprint(self._speech, cache_dir=self.cache_dir)

    @functools.cached_property
    def _processes(self) -> Processes:
        return Engine(device=self.device).launch()

    @functools.cached_property
    def _teacher(self) -> LoadedModel:
        return checkpoint.load(self.teacher)

    @property
    def _records(self) -> Path:
        return self.out / "records"

    def _similarity(self) -> LayerSimilarity:
        """The layers of the teacher, measured now or before."""
        path = find(self._records, SIMILARITY_FILE)
        if path is not None:
            found = LayerSimilarity.read(path)
            if found.checkpoint_sha256 == self._teacher.sha256:
                if not self._is_of_this_data(found.data_fingerprint):
                    raise CheckpointError(
                        f"{path}: was measured on other speech than --data names, from which the students here were "
                        "distilled. Give the same --data, or another --out."
                    )
                return found
        measured = measure(self._teacher, self._speech, name=TEACHER, progress=self.progress)
        measured.write(self._records / SIMILARITY_FILE)
        return measured

    def _is_of_this_data(self, there: str | None) -> bool:
        """Files of earlier versions do not say what they were made from."""
        return there is None or there == speech_fingerprint(self._speech)

    def _is_done(self, job: Job) -> bool:
        """Whether its weights are gone, and nobody needs them any more."""
        if job.recipe is None or self._student_path(job).exists():
            return False
        sha256 = recorded_weights(job, grid=self.grid, records=self._records, teacher_sha256=self._teacher.sha256)
        done = sha256 is not None and all(
            (student := measured_student(find(self._records, self._fidelity_path(job.name, corpus)))) is not None
            and student.checkpoint_sha256 == sha256
            for corpus in self._held_out
        )
        if done:
            self.progress.note(f"{job.name}: all its records are there, so it is not distilled again")
        return done

    def _student_path(self, job: Job) -> Path:
        return self.out / "students" / f"{job.name}.safetensors"

    def _students(self, jobs: Sequence[Job]) -> dict[str, tuple[Job, Path]]:
        """Those that could be made, with their checkpoints; what other processes are at comes last."""
        made = {}
        waiting, wait = jobs, False
        while waiting:
            at, waiting = waiting, []
            for job in at:
                with self._claim(job, wait=wait) as mine:
                    if not mine:
                        waiting.append(job)
                    elif (path := self._student(job)) is not None:
                        made[job.name] = (job, path)
            wait = True
        return {job.name: made[job.name] for job in jobs if job.name in made}

    def _claim(self, job: Job, *, wait: bool) -> AbstractContextManager[bool]:
        """Of a student that has to be distilled; processes that distil one together need no claim."""
        path = self._student_path(job)
        if job.recipe is None or path.exists() or self._processes.part.world_size > 1:
            return nullcontext(True)
        return claim(path.with_suffix(".claim"), wait=wait)

    def _student(self, job: Job) -> Path | None:
        """Its checkpoint, distilled now or before; None where that failed."""
        try:
            path = self._distilled(job)
        except (SkillBenchError, OSError) as error:
            self._failed(job, "distillation", error)
            return None
        self._worked(job, "distillation")
        return path

    def _distilled(self, job: Job) -> Path:
        if job.checkpoint is not None:
            return job.checkpoint
        assert job.recipe is not None
        path = self._student_path(job)
        if path.exists():
            found = checkpoint.load(path).metadata
            same = {
                "recipe": read_recipe(found.get("recipe", "")) == job.recipe,
                "teacher": found.get("teacher_sha256") == self._teacher.sha256,
                "data": self._is_of_this_data(found.get("data_fingerprint"))
                and found.get("content_fingerprint", self._contents) == self._contents,
            }
            if not all(same.values()):
                differing = " and ".join(key for key, value in same.items() if not value)
                raise CheckpointError(
                    f"{path}: not the {differing} that the grid asks for. Give another --out, "
                    "rename the row, or move the file away to have it distilled again."
                )
            return path
        student = distill(
            self._teacher,
            self._speech,
            recipe=job.recipe,
            folder=path.with_suffix(".work"),
            processes=self._processes,
            progress=self.progress,
            title=f"distill {job.name}",
            cache_dir=self.cache_dir,
        )
        metadata = student.metadata | {"title": title_of(job), "teacher": TEACHER}
        checkpoint.save(student.encoder, path, metadata=metadata, dtype=torch.float16)
        self.progress.note(f"{job.name}: {student.metadata['n_parameters']} parameters in {path}")
        return path

    def _evaluate(
        self,
        names: list[str],
        tasks: tuple[str, ...],
        students: dict[str, tuple[Job, Path]],
        *,
        timed: bool = False,
    ) -> None:
        """Runs the missing cells, or, ``timed``, no cell: all have been run."""
        load = self._upstreams(students)
        for suite, own in by_suite(tasks).items():
            plan = Plan(
                upstreams=[UpstreamRequest(name=name) for name in names],
                suite=suite,
                tasks=() if timed else own,
                seeds=self.grid.probe_seeds,
                out_dir=self._records,
                cache_dir=self.cache_dir,
                data_root=self.data_root,
                limit=self.grid.limit,
                device=self.device,
                profile="timed" if timed else "counted",
            )
            # evaluate has shown it
            self.failures += [f"{failure.name}: {failure.error}" for failure in self._run(plan, load)]

    def _run(self, plan: Plan, load: Load) -> list[FailedCell]:
        if not self.by_first_alone:
            return self.evaluate(plan, progress=self.progress, load=load).failures
        processes, name = self._processes, f"{socket.gethostname()}-{os.getpid()}.claim"
        with claim(self.out / name, wait=True) if processes.is_first else nullcontext():
            first = self.out / processes.gather(name)[0]
            found = self.evaluate(plan, progress=self.progress, load=load).failures if processes.is_first else []
        if not processes.is_first:
            with claim(first, wait=True):  # for hours, which a collective call would not
                pass
        return processes.gather(found)[0]

    def _upstreams(self, students: Mapping[str, tuple[Job, Path]]) -> Upstreams:
        return Upstreams(teacher=self.teacher.absolute(), students=students)

    @functools.cached_property
    def _held_out(self) -> dict[str, list[Utterance]]:
        """The speech of the grid's fidelity, by corpus."""
        root = self.data_root or Path()
        return {
            one.corpus: list_audio([root / name for name in one.data], split=None if one.split == "all" else one.split)
            for one in self.grid.fidelity
        }

    def _hold_against_teacher(self, name: str, students: dict[str, tuple[Job, Path]]) -> None:
        """Writes how much of the teacher a student keeps, a document a corpus, where there is none of it yet."""
        if not self.grid.fidelity:
            return
        try:
            teacher = self._teacher_upstream.to(self.device)
            student = self._upstreams(students)(UpstreamRequest(name=name)).to(self.device)
            for corpus, speech in self._held_out.items():
                there = measured_student(find(self._records, self._fidelity_path(name, corpus)))
                if there is None or there.identity != student.system().identity:
                    (found,) = measure_fidelity(teacher, [student], speech, corpus=corpus, progress=self.progress)
                    found.write(found.path(self._records))
            self._worked(students[name][0], "fidelity")
        except (SkillBenchError, OSError) as error:
            self._failed(students[name][0], "fidelity", error)

    def _fidelity_path(self, student: str, corpus: str) -> str:
        fingerprint = speech_fingerprint(self._held_out[corpus])
        return fidelity_path(student, self._teacher_upstream.system(), corpus, fingerprint).as_posix()

    @functools.cached_property
    def _teacher_upstream(self) -> Upstream:
        return self._upstreams({})(UpstreamRequest(name=TEACHER))

    def _failed(self, job: Job, step: Step, error: Exception) -> None:
        """Says that a step failed, here and beside the records."""
        reason = explained(error) or str(error)
        said = f"{job.name} was not distilled: {reason}" if step == "distillation" else f"{job.name}: {step}: {reason}"
        self.failures.append(said)
        self.progress.note(f"failed: {said}")
        failed = Failed(row=job.row.name, seed=job.seed, step=step, reason=reason, provenance=collect())
        with suppress(OSError):  # of a full disk, the reason is told above
            failed.write(failed.path(self._records))

    def _worked(self, job: Job, step: Step) -> None:
        """What was said of it before is over."""
        failed_path(self._records, row=job.row.name, seed=job.seed, step=step).unlink(missing_ok=True)


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
            return encoder_of(loaded, self.teacher, system).freeze()
        if request.name not in self.students:
            return load_request(request)
        job, path = self.students[request.name]
        system = System(
            name=job.name,
            title=title_of(job),
            kind="student",
            identity="",
            teacher=TEACHER,
            details={"evidence_row": job.row.name, "distillation_seed": job.seed},
        )
        return encoder_of(checkpoint.load(path), path, system).freeze()


def title_of(job: Job) -> str:
    """Of a student."""
    return f"{job.row.title or job.row.name}, seed {job.seed}"
