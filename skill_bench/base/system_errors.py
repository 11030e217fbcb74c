"""What the system refuses (disk, memory, terminal, database), in words for whoever has to do something about it."""

from __future__ import annotations

import os


def explained(error: BaseException) -> str | None:
    """What was refused, and what to do; None for an error of another kind."""
    if isinstance(error, OSError):
        return _refused(error)
    if isinstance(error, UnicodeEncodeError):
        character = ascii(error.object[error.start : error.end])
        return (
            f"{character} cannot be written in {error.encoding}. Set LC_ALL to a UTF-8 locale such as C.UTF-8, or "
            "PYTHONUTF8=1."
        )
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
