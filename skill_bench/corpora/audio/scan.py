"""Opens whole lists of audio files, and reports all the bad ones together. No torch here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from skill_bench.base.counted import counted
from skill_bench.base.errors import AudioError
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.audio.decode import (
    Length,
    OpenAudio,
    check_finite,
    check_length,
    open_audio,
    truncated,
)
from skill_bench.corpora.data import Utterance

_ROUNDED_SECONDS = 0.1  # lists round


@dataclass(frozen=True, kw_only=True)
class ScanSummary:
    """What a scan without errors found.

    Attributes:
        n_resampled, n_multichannel: Files of another rate than 16 kHz; of several channels.
        lengths: Of each file.
        unread: Files with bytes behind those that their header counts, and how many; these are not read.
        misstated: Files of another length than a list says, and what it says.
    """

    n_resampled: int
    n_multichannel: int
    lengths: Mapping[Path, Length]
    unread: Mapping[Path, int]
    misstated: Mapping[Path, float]

    @property
    def n_files(self) -> int:
        return len(self.lengths)

    @property
    def seconds(self) -> float:
        return sum(length.seconds for length in self.lengths.values())

    def notes(self) -> tuple[str, ...]:
        """Sentences for the record; none when every file is 16 kHz mono and as long as it says."""
        found, of = [], f"of {self.n_files} files"
        if self.n_resampled:
            found.append(f"{counted(self.n_resampled, f'{of} was', f'{of} were')} resampled to {SAMPLE_RATE_HZ} Hz")
        if self.n_multichannel:
            found.append(f"the channels of {self.n_multichannel} {of} were averaged")
        decoded = [path for path, length in self.lengths.items() if length.known == "decoded"]
        if decoded:
            found.append(
                f"{counted(len(decoded), f'{of} does not state its', f'{of} do not state their')} length, so that a "
                f"missing end would not show; decoded as far as it goes (the first: {decoded[0].name})"
            )
        if self.unread:
            path, n_bytes = next(iter(self.unread.items()))
            more = counted(
                len(self.unread), f"{of} holds more than its header counts", f"{of} hold more than their headers count"
            )
            found.append(f"{more}, which is not read (the first: {path.name}, {n_bytes} bytes)")
        if self.misstated:
            path, seconds = next(iter(self.misstated.items()))
            more = counted(len(self.misstated), f"{of} has", f"{of} have")
            found.append(
                f"{more} another length than the list says, which counts where durations choose or order (the first: "
                f"{path.name}, {seconds:g} s there, {self.lengths[path].seconds:g} s here)"
            )
        return tuple(found)


def scan(
    utterances: Iterable[Utterance],
    *,
    threads: int | None = None,
    whole: bool = False,
    advance: Callable[[int], None] | None = None,
) -> ScanSummary:
    """Opens every file once, in parallel, and reports all the bad ones together.

    Cheap: headers, compared with the file's size, and one seek to the last frame, which fails where a file was cut.
    Only floating-point files, the ones that can hold NaN, and those whose header states no length that can be trusted
    are decoded in full. Damage inside a file is left to `skill_bench.corpora.audio.decode.decode`.

    Args:
        whole: decodes every file in full, so that damage inside is found too.
        advance: told when so many more files are done.

    Raises:
        AudioError: lists every bad file with its manifest line.
    """
    first: dict[Path, tuple[str, int]] = {}
    said: dict[Path, float] = {}
    for utterance in utterances:
        if utterance.seconds is not None and utterance.start_frame is None:
            said.setdefault(utterance.path, utterance.seconds)
        end = 0 if utterance.start_frame is None else utterance.start_frame + (utterance.n_frames or 0)
        source, known_end = first.get(utterance.path, (utterance.source, 0))
        first[utterance.path] = (source, max(known_end, end))
    with ThreadPoolExecutor(threads or min(8, (os.cpu_count() or 1) * 2)) as pool:
        results = []
        for result in pool.map(lambda item: _probe(item[0], *item[1], whole=whole), first.items()):
            results.append(result)
            if advance is not None:
                advance(1)
    errors = [result for result in results if isinstance(result, AudioError)]
    if errors:
        if len(errors) == 1:
            raise errors[0]
        listed = "\n".join(f"  - {error}" for error in errors)
        raise AudioError(f"{len(errors)} of {len(first)} audio files cannot be used:\n{listed}")
    good = [result for result in results if not isinstance(result, AudioError)]
    lengths = {path: found.length for path, found in zip(first, good, strict=True)}
    return ScanSummary(
        n_resampled=sum(found.length.rate_hz != SAMPLE_RATE_HZ for found in good),
        n_multichannel=sum(found.channels > 1 for found in good),
        lengths=lengths,
        unread={path: found.unread_bytes for path, found in zip(first, good, strict=True) if found.unread_bytes},
        misstated={
            path: seconds for path, seconds in said.items() if abs(seconds - lengths[path].seconds) > _ROUNDED_SECONDS
        },
    )


@dataclass(frozen=True, kw_only=True)
class _Found:
    length: Length
    channels: int
    unread_bytes: int


def _probe(path: Path, source: str, end_frame: int, *, whole: bool) -> _Found | AudioError:
    place = f"{path} ({source})"
    try:
        with open_audio(path, source=source) as audio:
            length = _length(audio, place, whole=whole or audio.subtype in ("FLOAT", "DOUBLE"))
            if end_frame > length.frames:
                raise AudioError(
                    f"{place}: has {length.frames} frames, but a segment ending at frame {end_frame} is asked "
                    "for. Correct the manifest."
                )
            return _Found(length=length, channels=audio.channels, unread_bytes=audio.extent.unread_bytes)
    except AudioError as error:
        return error


def _length(audio: OpenAudio, place: str, *, whole: bool) -> Length:
    stated = audio.stated_frames
    if stated is not None:
        check_length(stated, audio.rate_hz, place)
        if not whole:
            reached = audio.reaches(stated - 1)
            if reached is False:
                raise truncated(place, f"the header states {stated} frames; the last cannot be decoded")
            whole = reached is None
    frames = stated or 0
    if whole or stated is None:
        frames = 0
        for block in audio.blocks():
            check_finite(block, place, first_frame=frames)
            frames += len(block)
        if stated is not None and frames < stated:
            raise truncated(place, f"{frames} of {stated} frames can be decoded")
        check_length(frames, audio.rate_hz, place)
    return Length(frames=frames, rate_hz=audio.rate_hz, known="decoded" if stated is None else "stated")
