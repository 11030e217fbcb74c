"""Reference diarizations: RTTM files, one ``SPEAKER`` line a turn.

The format: NIST, "2009 (RT-09) Rich Transcription Meeting Recognition Evaluation Plan", appendix A. Times are seconds.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from skill_bench.base.errors import ManifestError
from skill_bench.base.text import is_file, number, read_lines
from skill_bench.corpora.data import Segment

# Annotations are rounded to a hundredth of a second or a frame; more than this beyond the audio is another file's.
_SLACK_SECONDS = 0.05
# What else the format knows: passed over, and counted.
_OTHER_TYPES = frozenset(
    ("SEGMENT", "NOSCORE", "NO_RT_METADATA", "LEXEME", "NON-LEX", "NON-SPEECH", "FILLER", "EDIT", "IP", "SU", "CB",
     "A/P", "SPKR-INFO")
)  # fmt: skip


def read_rttm(
    path: Path, *, recording: str | None = None, seconds: float, passed_over: Counter[str] | None = None
) -> tuple[Segment, ...]:
    """The turns of one recording, by start.

    Args:
        path: The file.
        recording: Which one, where the file holds several; None takes the only one.
        seconds: The audio's length, which no turn may leave (an overhang of 0.05 s is cut).
        passed_over: Counts the lines of other types than SPEAKER, by type.

    Raises:
        ManifestError: no such file, a line that is no RTTM, a turn of no length or outside the audio, no turn at all;
            names file and line.
    """
    if not is_file(path):
        raise ManifestError(f"{path}: no such RTTM file. Expected lines 'SPEAKER recording 1 start duration ...'.")
    found: dict[str, list[Segment]] = {}
    for line in read_lines(path, error=ManifestError):
        fields, where = line.fields(), f"{path}:{line.number}"
        if fields[0].startswith(";"):
            continue
        if fields[0] in _OTHER_TYPES:
            if passed_over is not None:
                passed_over[fields[0]] += 1
            continue
        if fields[0] != "SPEAKER":
            raise ManifestError(f"{where}: a line of type {fields[0]!r}; expected SPEAKER, as RTTM names it.")
        if len(fields) < 8:
            raise ManifestError(f"{where}: {len(fields)} fields; a SPEAKER line has at least 8.")
        if len(fields) > 10:
            raise ManifestError(f"{where}: {len(fields)} fields; a SPEAKER line has at most 10. Names hold no blanks.")
        if recording is None or fields[1] == recording:
            turns = found.setdefault(fields[1], [])
            turns.append(_segment(fields[7], fields[3], fields[4], seconds=seconds, where=where))
    if not found:
        raise ManifestError(f"{path}: no SPEAKER line{f' of recording {recording!r}' if recording else ''}.")
    if len(found) > 1:
        raise ManifestError(f"{path}: holds {len(found)} recordings ({', '.join(sorted(found))}); one was expected.")
    (turns,) = found.values()
    return tuple(sorted(turns, key=lambda turn: (turn.start_seconds, turn.end_seconds, turn.speaker)))


def _segment(speaker: str, start_text: str, duration_text: str, *, seconds: float, where: str) -> Segment:
    start, duration = number(start_text), number(duration_text)
    if not start >= 0 or duration != duration:
        raise ManifestError(f"{where}: start {start_text!r}, duration {duration_text!r}; expected seconds.")
    if duration <= 0:
        raise ManifestError(f"{where}: a turn of {duration_text} s. Remove the line, or correct its duration.")
    if start + duration > seconds + _SLACK_SECONDS:
        raise ManifestError(
            f"{where}: the turn ends at {start + duration:.2f} s, but the audio has {seconds:.2f} s. Check that the "
            "reference belongs to this recording."
        )
    return Segment(speaker=speaker, start_seconds=start, end_seconds=min(start + duration, seconds))
