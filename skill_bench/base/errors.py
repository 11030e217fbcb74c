"""What can go wrong, as one tree.

    SkillBenchError               something failed, or what was given is bad   exit code 1
    ├── UsageError                the command cannot be carried out as given   exit code 2
    │   ├── UnknownName           no task / upstream / suite of that name
    │   ├── SpecError             a TOML file says something it must not
    │   └── MissingExtra          an optional package is not installed
    ├── DataError                 the user's data
    │   ├── AudioError            a file that cannot be read as speech
    │   └── ManifestError         a manifest line that cannot be used
    ├── CheckpointError           the user's model
    │   ├── UnknownFormat         no reader recognises the file
    │   ├── KeyMismatch           weights missing or left over
    │   └── UnsafeFile            the file asks to run code
    └── RecordError               a result record that must not be trusted

Every message says what was found, what was expected and what to do.

Exit codes, the same for the same mistake in all commands:

0    done
1    something failed while doing it, or the data, records or checkpoints that were given are damaged or do not fit
2    it cannot be carried out as it was given: a misspelt option, name or key, a path that is not there, an output that
     cannot be written, a package that is missing; found before anything is computed
130  interrupted (143: asked to end); what is finished is kept, and the same command continues

Where several upstreams or cells are run, one that fails does not end the others; the code is 1 if any failed, and 2 if
none could be begun as it was asked for.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable


class SkillBenchError(Exception):
    """Base of every error shown to a user without a traceback."""

    exit_code = 1


class UsageError(SkillBenchError):
    """The command cannot be carried out as it was given."""

    exit_code = 2


class UnknownName(UsageError):
    """A name that is not in the catalog; suggests the nearest known one."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        super().__init__(
            f"unknown {kind} {name!r}. {suggest(name, self.known)}Known: {', '.join(self.known) or 'none'}."
        )


class SpecError(UsageError):
    """A TOML file says something it must not."""


class DataError(SkillBenchError):
    """The user's data cannot be used."""


class AudioError(DataError):
    """A file that cannot be read as speech."""


class ManifestError(DataError):
    """A manifest line that cannot be used."""


class CheckpointError(SkillBenchError):
    """The user's model cannot be used."""


class UnknownFormat(CheckpointError):
    """No reader recognises the file."""


class KeyMismatch(CheckpointError):
    """State-dict keys that do not fit the architecture; lists both sides, and the likely ``cause`` where known."""

    def __init__(
        self, source: str, *, missing: Iterable[str] = (), unexpected: Iterable[str] = (), cause: str | None = None
    ) -> None:
        self.missing, self.unexpected = sorted(missing), sorted(unexpected)
        super().__init__(
            f"{source}: the weights do not fit the architecture. "
            f"Missing ({len(self.missing)}): {some_keys(self.missing)}. "
            f"Unexpected ({len(self.unexpected)}): {some_keys(self.unexpected)}. "
            f"{cause or 'Check that configuration and weights come from the same model.'}"
        )


class UnsafeFile(CheckpointError):
    """The file asks to run code; it was not opened further."""


class MissingExtra(UsageError):
    """An optional dependency that is needed now; ``instead`` is another extra that will do."""

    def __init__(self, package: str, *, extra: str, purpose: str, instead: str | None = None) -> None:
        # No index has this project; a name there would be anybody's.
        super().__init__(
            f"{purpose} needs {package}, which is not installed. Run in a checkout of skill-bench: "
            f"pip install '.[{extra}]'" + (f", or pip install '.[{instead}]'" if instead else "")
        )


class RecordError(SkillBenchError):
    """A result record that must not be trusted."""


def suggest(name: str, known: Iterable[str]) -> str:
    """``"Did you mean 'x'? "`` for the nearest known name, or an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}? " if near else ""


def some_keys(keys: Iterable[str]) -> str:
    """The first keys of a state dict, or "none"."""
    return first_few(keys, most=12, more=", and {} more") or "none"


def explained(error: BaseException) -> str | None:
    """What was refused, and what to do; None for an error of another kind."""
    if isinstance(error, OSError):
        return _refused(error)
    if isinstance(error, UnicodeEncodeError):
        character = ascii(error.object[error.start : error.end])
        advice = "Set LC_ALL to a UTF-8 locale such as C.UTF-8, or PYTHONUTF8=1."
        if error.encoding == "utf-8":  # which writes all characters, but not the bytes of a name that is none
            advice = "It stands for a byte in the name of a file or folder that is not UTF-8: rename that."
        return f"{character} cannot be written in {error.encoding}. {advice}"
    if type(error).__module__ == "sqlite3":
        return (
            f"a database of the cache cannot be used ({error}). Check permissions and space of the cache folder, or "
            "choose another one."
        )
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _is_about_memory(str(error))):
        said = (str(error).splitlines() or [""])[0]
        return (
            f"not enough memory{f' ({said})' if said else ''}. Free some, or give shorter recordings or less at once."
        )
    return None


def _refused(error: OSError) -> str:
    # Of a file that was to be renamed into its place, the place is what the user knows.
    path = error.filename if error.filename2 is None else error.filename2
    said = error.strerror or str(error) or type(error).__name__
    if path is None or isinstance(path, int):
        return (
            f"{said}; the system does not say where. Check the space where output and files go, and this user's limits."
        )
    return f"{os.fsdecode(path)}: {said}. Check the path, its permissions and the space on its disk."


def _is_about_memory(text: str) -> bool:
    """Of torch's allocators."""
    return "can't allocate memory" in text or "CUDA out of memory" in text


def first_few(items: Iterable[object], *, most: int = 5, separator: str = ", ", more: str = " and {} more") -> str:
    """The first ``most`` items as text; where there are others, ``more`` with their number follows."""
    listed = [str(item) for item in items]
    n_left = len(listed) - most
    return separator.join(listed[:most]) + (more.format(n_left) if n_left > 0 else "")
