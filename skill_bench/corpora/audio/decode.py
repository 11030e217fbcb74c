"""Reads audio files with every check that keeps a broken one out, and scans whole lists of them. No torch here."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from skill_bench.base.errors import AudioError
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from skill_bench.corpora.data import Utterance

MIN_SAMPLES = 400  # 25 ms at 16 kHz: one frame of the convolutional front ends
_UNKNOWN_SIZES = (0, 0x7FFFFFFF, 0xFFFFFFFF)  # what a writer into a pipe leaves in a WAV header


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Samples as stored: ``frames x channels``, float32 in [-1, 1] for integer formats."""

    samples: NDArray[np.float32]
    rate_hz: int


@dataclass(frozen=True, kw_only=True)
class ScanSummary:
    """What a scan without errors found."""

    n_files: int
    seconds: float
    n_resampled: int
    n_multichannel: int
    lengths: Mapping[Path, tuple[int, int]]
    """Frames and rate in Hz of each file."""

    def notes(self) -> tuple[str, ...]:
        """Sentences for the record; none when every file is 16 kHz mono."""
        found = []
        if self.n_resampled:
            found.append(f"{self.n_resampled} of {self.n_files} files were resampled to {SAMPLE_RATE_HZ} Hz")
        if self.n_multichannel:
            found.append(f"the channels of {self.n_multichannel} of {self.n_files} files were averaged")
        return tuple(found)


def decode(path: Path, *, source: str, start_frame: int | None = None, n_frames: int | None = None) -> Decoded:
    """Decodes a file, or ``n_frames`` of it from ``start_frame`` (both in its own rate).

    Raises:
        AudioError: missing, unreadable, truncated, empty, too short, or holding NaN or infinity; names file and source.
    """
    with _open(path, source) as file:
        _check_length(file, path, source)
        expected = file.frames if n_frames is None else n_frames
        try:
            if start_frame:
                file.seek(start_frame)
            samples = file.read(expected, dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise _truncated(path, source, f"{error}".strip()) from error
        rate_hz = int(file.samplerate)
    if len(samples) < expected:
        raise _truncated(path, source, f"{len(samples)} of {expected} frames can be decoded")
    _check_finite(samples, path, source)
    return Decoded(samples=samples, rate_hz=rate_hz)


def length(path: Path, *, source: str) -> tuple[int, int]:
    """``(frames, rate in Hz)`` of a file, from its header.

    Raises:
        AudioError: missing, unreadable, empty or too short.
    """
    with _open(path, source) as file:
        _check_length(file, path, source)
        return int(file.frames), int(file.samplerate)


def scan(
    utterances: Iterable[Utterance],
    *,
    threads: int | None = None,
    whole: bool = False,
    advance: Callable[[int], None] | None = None,
) -> ScanSummary:
    """Opens every file once, in parallel, and reports all the bad ones together.

    Cheap: headers, and one seek to the last frame, which fails where a file was cut. Only floating-point files, the
    ones that can hold NaN, are decoded in full. Damage inside a file is left to `decode`.

    Args:
        whole: decodes every file in full, so that damage inside is found too.
        advance: told when so many more files are done.

    Raises:
        AudioError: lists every bad file with its manifest line.
    """
    first: dict[Path, tuple[str, int]] = {}
    for utterance in utterances:
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
    return ScanSummary(
        n_files=len(good),
        seconds=sum(frames / rate for frames, rate, _ in good),
        n_resampled=sum(rate != SAMPLE_RATE_HZ for _, rate, _ in good),
        n_multichannel=sum(channels > 1 for _, _, channels in good),
        lengths={path: (frames, rate) for path, (frames, rate, _) in zip(first, good, strict=True)},
    )


def _probe(path: Path, source: str, end_frame: int, *, whole: bool) -> tuple[int, int, int] | AudioError:
    try:
        with _open(path, source) as file:
            _check_length(file, path, source)
            facts = int(file.frames), int(file.samplerate), int(file.channels)
            if end_frame > file.frames:
                return AudioError(
                    f"{path} ({source}): has {file.frames} frames, but a segment ending at frame {end_frame} is asked "
                    "for. Correct the manifest."
                )
            try:
                file.seek(file.frames - 1)
                last = file.read(1, dtype="float32", always_2d=True)
            except (soundfile.SoundFileError, RuntimeError) as error:
                return _truncated(path, source, f"{error}".strip())
            if len(last) < 1:
                return _truncated(path, source, f"the header states {file.frames} frames; the last cannot be decoded")
            floating = file.subtype in ("FLOAT", "DOUBLE")
        if floating or whole:
            decode(path, source=source)
    except AudioError as error:
        return error
    return facts


def _open(path: Path, source: str) -> Any:
    if not path.is_file():
        raise AudioError(f"{path} ({source}): no such file. Check the path in the manifest and the audio root.")
    if path.stat().st_size == 0:
        raise AudioError(f"{path} ({source}): the file is empty (0 bytes). Copy it again.")
    _check_wav_size(path, source)
    try:
        return soundfile.SoundFile(path)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise AudioError(
            f"{path} ({source}): not readable as audio ({error}). Expected WAV, FLAC, OGG or another format of "
            "libsndfile; convert the file or copy it again."
        ) from error


def _check_length(file: Any, path: Path, source: str) -> None:
    if file.frames == 0:
        raise AudioError(f"{path} ({source}): holds no samples. Remove it or copy it again.")
    at_16_khz = file.frames * SAMPLE_RATE_HZ / file.samplerate
    if at_16_khz < MIN_SAMPLES:
        raise AudioError(
            f"{path} ({source}): {1000 * file.frames / file.samplerate:.1f} ms of audio; at least "
            f"{1000 * MIN_SAMPLES / SAMPLE_RATE_HZ:.0f} ms ({MIN_SAMPLES} samples at 16 kHz) are needed. "
            "Remove it, or its line from the manifest."
        )


def _check_finite(samples: NDArray[np.float32], path: Path, source: str) -> None:
    finite = np.isfinite(samples)
    if not finite.all():
        frame = int(np.argmin(finite.all(axis=1)))
        raise AudioError(
            f"{path} ({source}): {int((~finite).sum())} samples are NaN or infinite, the first at frame {frame}. "
            "Export the file again."
        )


def _check_wav_size(path: Path, source: str) -> None:
    # libsndfile quietly shortens a WAV whose data chunk is cut, so its header is read here.
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return
        size = path.stat().st_size
        while len(chunk := file.read(8)) == 8:
            name, n_bytes = struct.unpack("<4sI", chunk)
            if name == b"data":
                available = size - file.tell()
                if n_bytes not in _UNKNOWN_SIZES and n_bytes > available:
                    raise _truncated(path, source, f"the header states {n_bytes} bytes of samples, {available} follow")
                return
            file.seek(n_bytes + n_bytes % 2, os.SEEK_CUR)


def _truncated(path: Path, source: str, why: str) -> AudioError:
    return AudioError(f"{path} ({source}): truncated or damaged: {why}. Copy or download the file again.")
