"""What a row of predictions holds, by the metric that judges its task: checked whenever a file of them is read.

Further columns are nobody's business: later versions may add some.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from skill_bench.base.documents import parse_json
from skill_bench.base.errors import RecordError

MOST_FRAMES = 10_000_000
"""Of one recording: two days."""
MOST_SPEAKERS = 100
"""Of one recording; both bound what scoring a row takes of memory."""

_Number = Annotated[float, Field(ge=0, le=2**53)]
_Segment = tuple[
    Annotated[int, Field(ge=0, lt=MOST_SPEAKERS)],
    Annotated[float, Field(ge=0, le=MOST_FRAMES)],
    Annotated[float, Field(ge=0, le=MOST_FRAMES)],
]


class _Row(TypedDict):
    __pydantic_config__ = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)  # type: ignore[misc]
    id: str
    fold: str
    speaker: NotRequired[str]


class _Counted(_Row):
    numerator: _Number
    denominator: _Number


class _Text(_Counted):
    target: str
    prediction: str


class _Turns(_Counted):
    target: list[_Segment]
    prediction: list[_Segment]
    n_frames: Annotated[int, Field(ge=1, le=MOST_FRAMES)]
    frame_seconds: Annotated[float, Field(gt=0)]
    missed: _Number
    false_alarm: _Number
    confused: _Number


class _Trial(_Row):
    enrolment: str
    test: str
    enrolment_speaker: NotRequired[str]
    test_speaker: NotRequired[str]
    target: Literal["same", "different"]
    score: float


class _Pair(_Row):
    query: str
    document: str
    target: Literal["present", "absent"]
    score: float


def _within_frames(row: Any) -> Any:
    for name in ("target", "prediction"):
        # What is said after the last whole frame is said all the same; nothing is found there.
        end = row["n_frames"] if name == "prediction" else MOST_FRAMES
        for segment in row[name]:
            if not segment[1] <= segment[2] <= end:
                raise ValueError(f"{name}: segment {list(segment)} does not lie in {row['n_frames']} frames")
    return row


_TEXT: TypeAdapter[Any] = TypeAdapter(_Text)
_ANY: TypeAdapter[Any] = TypeAdapter(_Row)
FORMS: dict[str, TypeAdapter[Any]] = {
    **dict.fromkeys(("accuracy", "per", "wer", "f1"), _TEXT),
    "der": TypeAdapter(Annotated[_Turns, AfterValidator(_within_frames)]),
    "eer": TypeAdapter(_Trial),
    "mtwv": TypeAdapter(_Pair),
}
"""By the metric that judges a task. Of another metric a row has ``id`` and ``fold`` at least."""


def rows_in(data: bytes, *, metric: str, source: str) -> list[dict[str, Any]]:
    """The rows of a file of predictions, one JSON object a line.

    Raises:
        RecordError: a line is no row of ``metric``; names file, line and what is wrong.
    """
    form, rows = FORMS.get(metric, _ANY), []
    try:
        # Not splitlines(): texts may hold characters that it takes for the end of a line.
        lines = data.decode().removesuffix("\n").split("\n") if data else []
    except UnicodeDecodeError as error:
        raise _refused(source, f"not UTF-8 ({error})", metric) from None
    for number, line in enumerate(lines, start=1):
        try:
            row = parse_json(line)
            form.validate_json(line)
        except ValidationError as error:
            raise _refused(f"{source}:{number}", _first_problem(error), metric) from None
        except ValueError as error:
            raise _refused(f"{source}:{number}", f"not a row of predictions ({error})", metric) from None
        rows.append(row)
    return rows


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    where = ".".join(map(str, problem["loc"]))
    found = "" if problem["type"] == "missing" else f" (found {repr(problem['input'])[:60]})"
    return f"{where or 'the row'}: {problem['msg']}{found}"


def _refused(where: str, problem: str, metric: str) -> RecordError:
    return RecordError(
        f"{where}: {problem}; expected the predictions of a task judged by {metric}. Run that cell again."
    )
