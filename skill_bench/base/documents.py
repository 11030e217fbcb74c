"""Typed JSON files that are whole or absent: one step to write, refused when damaged, never NaN.

JSON is read by one strict reader: finite numbers of a machine's size, no name twice, no endless nesting.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any, NoReturn, Self

from pydantic import JsonValue, ValidationError

from skill_bench.base.archive import read_bytes
from skill_bench.base.errors import RecordError, first_few
from skill_bench.base.specs import Frozen
from skill_bench.base.unfinished import unfinished_file

DEEPEST = 100
"""Levels of lists and objects; what we write has fewer than ten, and deeper ones end Python's stack."""
LARGEST_INTEGER = 2**63
SCHEMA_VERSION = 1
_DIGEST = "content_sha256"

JsonObject = dict[str, JsonValue]
"""A JSON object of any form."""


def parse_json(text: str) -> Any:
    """The value that ``text`` holds.

    Raises:
        ValueError: not JSON, or more than a file of ours may hold: NaN, an infinity, an integer beyond 64 bits, a name
            that an object has twice, or more than `DEEPEST` levels.
    """
    try:
        content = _DECODER.decode(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if text.count("[") + text.count("{") > DEEPEST:
        _refuse_depth(content)
    return content


_TOO_DEEP = f"lists and objects of more than {DEEPEST} levels"


def _refuse_depth(content: Any) -> None:
    level = [content]
    for _ in range(DEEPEST):
        holders = [value for value in level if isinstance(value, dict | list)]
        level = [inner for one in holders for inner in (one.values() if isinstance(one, dict) else one)]
    if any(isinstance(value, dict | list) for value in level):
        raise ValueError(_TOO_DEEP)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a value a record may hold")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is larger than any number")
    return value


def _integer(text: str) -> int:
    if len(text) > 20 or not -LARGEST_INTEGER <= int(text) < LARGEST_INTEGER:
        raise ValueError(f"an integer of {len(text)} characters, expected at most 64 bits")
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return found


_DECODER = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_float=_finite, parse_int=_integer, object_pairs_hook=_object
)


class Document(Frozen):
    """A value with a file of its own; subclasses set ``kind`` to a literal.

    The file holds ``schema_version``, ``kind`` and ``content_sha256`` (over the rest in canonical form), so that a
    file of another version, another kind, or one edited after it was written is recognised.
    """

    schema_version: int = SCHEMA_VERSION
    kind: str

    def to_json(self) -> str:
        """Strict JSON text, ending in a newline.

        Raises:
            RecordError: a value that JSON cannot hold, for example NaN, or that `parse_json` would refuse.
        """
        try:
            content = parse_json(json.dumps(self.model_dump(mode="json"), allow_nan=False))
        except (ValueError, TypeError) as error:
            raise RecordError(f"{self.kind} cannot be stored: {error}. Use None and a reason instead.") from error
        return json.dumps({**content, _DIGEST: _digest(content)}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def write(self, path: Path) -> Path:
        """Writes the file in one step; whoever reads sees the old one or the whole new one."""
        return write_atomic(path, self.to_json().encode())

    @classmethod
    def read(cls, path: Path) -> Self:
        """The document in ``path``.

        Raises:
            RecordError: missing, damaged, edited, or of another version or kind; names the file and what to do.
        """
        return cls.parse(read_object(path), source=str(path))

    @classmethod
    def parse(cls, content: dict[str, Any], *, source: str) -> Self:
        """The document in ``content``, the object of a file named ``source``.

        Raises:
            RecordError: as :meth:`read`.
        """
        found = content.get("schema_version")
        if found != SCHEMA_VERSION:
            raise RecordError(
                f"{source}: schema_version is {found!r}, this skill-bench reads {SCHEMA_VERSION}. "
                "Read it with the skill-bench that wrote it, or delete it and run that cell again."
            )
        expected = cls.model_fields["kind"].default
        if content.get("kind") != expected:
            raise RecordError(f"{source}: holds a {content.get('kind')!r}, expected a {expected!r}. Check the path.")
        body = {key: value for key, value in content.items() if key != _DIGEST}
        try:
            document = cls.model_validate_json(json.dumps(body), strict=True)
        except ValidationError as error:
            _damaged(source, _first_problems(error))
        check_digest(content, source=source)
        return document


def check_digest(content: dict[str, Any], *, source: str) -> None:
    """Of a document of any kind, read from the file named ``source``.

    Raises:
        RecordError: it is not what was written.
    """
    if content.get(_DIGEST) != _digest({key: value for key, value in content.items() if key != _DIGEST}):
        _damaged(source, f"its contents do not fit its {_DIGEST}, so it was changed after it was written")


def write_atomic(path: Path, data: bytes | memoryview) -> Path:
    """Writes ``data`` to ``path`` through a temporary file of the same folder, made durable before it is renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = unfinished_file(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # of a disk that is full, for one
            error.filename = str(path)
        raise
    return path


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``, a file or one in an archive; NaN and infinities are refused.

    Raises:
        RecordError: missing, not JSON, or not an object.
    """
    try:
        content = parse_json(read_bytes(path).decode())
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror}). Check the path.") from error
    except ValueError as error:
        _damaged(str(path), f"not valid JSON ({error})")
    if not isinstance(content, dict):
        _damaged(str(path), f"holds a {type(content).__name__}, expected an object")
    return content


def _damaged(source: str, problem: str) -> NoReturn:
    raise RecordError(
        f"{source}: {problem}. Restore it from a backup or version control, or delete it and run that cell again."
    ) from None


def _digest(content: dict[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def _first_problems(error: ValidationError) -> str:
    problems = [f"{'.'.join(map(str, p['loc'])) or 'record'}: {p['msg']}" for p in error.errors()]
    return first_few(problems, most=3, separator="; ", more=", and {} more")
