"""Which layer of a student each layer of the teacher is predicted from; never chosen by how well it goes."""

from __future__ import annotations

import json

from skill_bench.records.fidelity import Mapping
from skill_bench.records.record import System

Layers = tuple[int, ...]
"""The student's layer for each of the teacher's, h0 first."""


def mappings(student: System, *, n_student: int, n_teacher: int) -> dict[Mapping, Layers]:
    """One or several mappings by name, the one to show first.

    A student with as many states as the teacher: each layer from the same one (``same``). Of another depth: as its
    checkpoint says that it was taught (``recipe``), and a layer that was not taught like the nearest one that was, the
    deeper of two; else by depth (``proportional``) and, since the last layer of a shallow student often holds most, all
    from that one (``last``).

    Args:
        n_student, n_teacher: Numbers of hidden states, h0 included.
    """
    if n_student == n_teacher:
        return {"same": tuple(range(n_teacher))}
    if (taught := _taught(student, n_student=n_student, n_teacher=n_teacher)) is not None:
        return {"recipe": tuple(taught[min(taught, key=lambda t: (abs(t - layer), -t))] for layer in range(n_teacher))}
    steps = max(1, n_teacher - 1)
    proportional = tuple((2 * layer * (n_student - 1) + steps) // (2 * steps) for layer in range(n_teacher))
    return {"proportional": proportional, "last": (n_student - 1,) * n_teacher}


def _taught(student: System, *, n_student: int, n_teacher: int) -> dict[int, int] | None:
    """The student's layer for each layer that its recipe taught; None where the checkpoint does not say so.

    Of several layers that stood for one target together, the deepest.
    """
    try:
        groups = json.loads(str(student.details["layer_groups"]))
        stood = json.loads(str(student.details["recipe"]))["groups"]["student_layers"]
        found = {int(layer): max(map(int, own)) for group, own in zip(groups, stood, strict=True) for layer in group}
    except (KeyError, TypeError, ValueError):
        return None
    fits = all(0 <= t < n_teacher and 0 <= s < n_student for t, s in found.items())
    return found if found and fits else None
