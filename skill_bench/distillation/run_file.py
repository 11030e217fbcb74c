"""``run.json`` of a work folder: what is trained there, so that nothing else is continued by mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from skill_bench.base.documents import Document
from skill_bench.base.errors import UsageError
from skill_bench.distillation.recipe import Recipe
from skill_bench.records.similarity import Groups, Weights

NAME = "run.json"


class RunFile(Document):
    """A distillation: what was asked for, and the layer groups that were found.

    Attributes:
        data_fingerprint: sha256 over ids and durations of the utterances.
        content_fingerprint: sha256 over ids and bytes of their files; None in files of versions that did not look.
        layer_groups: of the teacher.
        student_groups: of the student, one for each of the teacher's.
        layer_weights: in the averages of both; None: all alike.
        similarity: of earlier versions, read and not written: the document beside this file holds it.
    """

    kind: Literal["distillation"] = "distillation"
    recipe: Recipe
    teacher_sha256: str
    data_fingerprint: str
    content_fingerprint: str | None = None
    precision: str
    layer_groups: Groups
    student_groups: Groups
    layer_weights: Weights | None = None
    similarity: tuple[tuple[float, ...], ...] | None = Field(default=None, exclude=True)

    def metadata(self) -> dict[str, str]:
        """What a student's checkpoint holds of it."""
        found = {
            "recipe": self.recipe.model_dump_json(),
            "teacher_sha256": self.teacher_sha256,
            "layer_groups": json.dumps(self.layer_groups),
            "data_fingerprint": self.data_fingerprint,
            "precision": self.precision,
        }
        if self.content_fingerprint is not None:
            found["content_fingerprint"] = self.content_fingerprint
        if self.layer_weights is not None:
            found["layer_weights"] = json.dumps(self.layer_weights)
        return found

    def require_same(
        self,
        path: Path,
        *,
        recipe: Recipe,
        teacher_sha256: str,
        data_fingerprint: str,
        content_fingerprint: str,
        precision: str,
    ) -> None:
        """Checks that the run may go on; its joint stage may become longer until the final one has begun.

        Raises:
            UsageError: names what differs.
        """
        there = self.recipe.model_dump()
        longer = self.recipe.joint and recipe.joint and recipe.joint.n_updates > self.recipe.joint.n_updates
        if longer and not (path.parent / "final.ckpt").exists():
            there["joint"]["n_updates"] = recipe.joint and recipe.joint.n_updates
        differing = _differences(there, recipe.model_dump(), "recipe")
        if self.teacher_sha256 != teacher_sha256:
            differing.append("another teacher")
        if self.data_fingerprint != data_fingerprint:
            differing.append("other utterances")
        elif self.content_fingerprint not in (None, content_fingerprint):
            differing.append("files of the same names and durations with other contents")
        if self.precision != precision:
            differing.append(f"precision {self.precision} there, {precision} now")
        if differing:
            raise UsageError(
                f"{path.parent} holds another run: {'; '.join(differing)}. Choose another --work-dir, or "
                "delete this one."
            )


def _differences(there: Any, now: Any, where: str) -> list[str]:
    if isinstance(there, dict) and isinstance(now, dict):
        keys = dict.fromkeys([*there, *now])
        return [found for key in keys for found in _differences(there.get(key), now.get(key), f"{where}.{key}")]
    return [] if there == now else [f"{where} = {there} there, {now} now"]
