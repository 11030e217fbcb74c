"""Lists beside a manifest: reference diarizations as RTTM files, and verification trials.

RTTM, one ``SPEAKER`` line a turn, times in seconds: NIST, "2009 (RT-09) Rich Transcription Meeting Recognition
Evaluation Plan", appendix A. Trials are drawn with a seed over a set of utterances, or read from a list in VoxCeleb's
form.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from skill_bench.base.counted import counted
from skill_bench.base.errors import ManifestError
from skill_bench.base.hashed import digest
from skill_bench.base.text import is_file, number, read_lines
from skill_bench.corpora.data import Segment, Trial, Utterance
from skill_bench.corpora.described.tables import Trials

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
            raise ManifestError(f"{where}: {counted(len(fields), 'field')}; a SPEAKER line has at least 8.")
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


def drawn_trials(
    utterances: Sequence[Utterance], spec: Trials, *, attribute: Callable[[Utterance], str], where: str
) -> tuple[Trial, ...]:
    """Trials over ``utterances``, by a hash of the seed and both ids: the same in any order, on any machine.

    Each speaker enrols for ``same_per_speaker`` trials with himself and ``different_per_speaker`` with others whose
    ``attribute`` is the same. No pair comes twice.

    Raises:
        ManifestError: no speaker with two utterances, or none with another of the same attribute.
    """
    by_speaker: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        by_speaker[utterance.target].append(utterance)
    chosen: dict[tuple[str, str], bool] = {}
    for speaker, own in sorted(by_speaker.items()):
        others = [u for u in utterances if u.target != speaker and attribute(u) == attribute(own[0])]
        same = [(a, b) for i, a in enumerate(own) for b in own[i + 1 :]]
        different = [(a, b) for a in own for b in others]
        for pairs, count, label in (
            (same, spec.same_per_speaker, True),
            (different, spec.different_per_speaker, False),
        ):
            ranked = sorted(pairs, key=lambda pair: digest(f"{spec.seed}:{pair[0].id}:{pair[1].id}"))
            for first, second in ranked[:count]:
                if (second.id, first.id) not in chosen:
                    chosen[first.id, second.id] = label
    if len(set(chosen.values())) < 2:
        missing = "no speaker has two utterances" if True not in chosen.values() else "there is nobody else to compare"
        raise ManifestError(f"{where}: {missing}, so there are no trials of both kinds. Check the target and match.")
    return tuple(Trial(same=same, enrolment=a, test=b) for (a, b), same in chosen.items())


def read_trials(path: Path, ids: Mapping[str, str]) -> tuple[Trial, ...]:
    """The trials of a list with lines ``1 first second`` (same speaker) or ``0 first second``.

    Args:
        path: The list.
        ids: Utterance id by the name that the list uses.

    Raises:
        ManifestError: no such list, a line of another form, or names that are not among ``ids``; all of them counted.
    """
    if not is_file(path):
        raise ManifestError(f"{path}: no such trial list. Expected lines '1 first.wav second.wav'.")
    trials: list[Trial] = []
    absent: dict[str, int] = {}
    said: dict[frozenset[str], tuple[str, int]] = {}
    for line in read_lines(path, error=ManifestError):
        fields, number = line.fields(), line.number
        if len(fields) != 3 or fields[0] not in ("0", "1"):
            raise ManifestError(f"{path}:{number}: found {line.text!r}; expected '1 first second' or '0 first second'.")
        before, first = said.setdefault(frozenset(fields[1:]), (fields[0], number))
        if before != fields[0]:
            raise ManifestError(f"{path}:{number}: says {fields[0]} of a pair of which line {first} says {before}.")
        for name in fields[1:]:
            if name not in ids:
                absent.setdefault(name, number)
        if not absent:
            trials.append(Trial(same=fields[0] == "1", enrolment=ids[fields[1]], test=ids[fields[2]]))
    if absent:
        shown = ", ".join(f"{name} (line {number})" for name, number in list(absent.items())[:5])
        raise ManifestError(
            f"{path}: {counted(len(absent), 'file is named that is', 'files are named that are')} not there: {shown}. "
            "Complete the corpus, or use the list that belongs to it."
        )
    if not trials:
        raise ManifestError(f"{path}: holds no trial.")
    return tuple(trials)
