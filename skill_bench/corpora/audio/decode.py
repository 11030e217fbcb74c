"""Reads audio files with every check that keeps a broken one out. No torch here."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

from skill_bench.base.errors import AudioError
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.audio.container import View, extent_of
from skill_bench.corpora.audio.extent import Extent

MIN_SAMPLES = 400  # 25 ms at 16 kHz: one frame of the convolutional front ends
_RATES_HZ = (1000, 768_000)
# Resampling takes a filter of this many values: their product with the window's width has to fit into memory.
_LARGEST_FILTER = 1 << 25
_BLOCK_VALUES = 1 << 20  # what a header states is never asked for at once


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Samples as stored: ``frames x channels``, float32 in [-1, 1] for integer formats."""

    samples: NDArray[np.float32]
    rate_hz: int


@dataclass(frozen=True, kw_only=True)
class Length:
    """How long a file is.

    Attributes:
        frames: In the file's own rate.
        rate_hz: That rate.
        known: ``stated`` by the header, in agreement with the file's size; else ``decoded``, to the end. What
            libsndfile estimates is no length.
    """

    frames: int
    rate_hz: int
    known: Literal["stated", "decoded"] = "stated"

    @property
    def seconds(self) -> float:
        return self.frames / self.rate_hz


class OpenAudio:
    """A file that libsndfile reads, from the start to the end: samples in blocks, and the length that it states.

    Attributes:
        extent: How far its samples reach.
        channels, rate_hz, subtype: As libsndfile names them.
    """

    def __init__(self, file: Any, extent: Extent, place: str) -> None:
        self._file, self.extent, self._place = file, extent, place
        self.channels, self.rate_hz, self.subtype = int(file.channels), int(file.samplerate), str(file.subtype)

    @property
    def stated_frames(self) -> int | None:
        """None where the file must be decoded to know."""
        return int(self._file.frames) if self.extent.stated else None

    def blocks(self, start: int = 0, count: int | None = None) -> Iterator[NDArray[np.float32]]:
        """``(frames, channels)`` each, from a frame on, to the end or to ``count`` frames.

        Raises:
            AudioError: damaged.
        """
        size = max(1, _BLOCK_VALUES // self.channels)
        left = math.inf if count is None else count
        skipped = start if start and not self._seek(start) else 0
        while skipped + left > 0:
            block = self._read(int(min(size, skipped + left)))
            if not len(block):
                return
            kept = block[min(skipped, len(block)) :]
            skipped, left = max(0, skipped - len(block)), left - len(kept)
            if len(kept):
                yield kept

    def reaches(self, frame: int) -> bool | None:
        """Whether a frame can be decoded, by a seek; None where the file cannot seek.

        Raises:
            AudioError: damaged.
        """
        return len(self._read(1)) == 1 if self._seek(frame) else None

    def _seek(self, frame: int) -> bool:
        if not self._file.can_seek or self.stated_frames is None:
            return False
        try:
            self._file.seek(frame)
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise truncated(self._place, f"{error}".strip()) from error
        return True

    def _read(self, n: int) -> NDArray[np.float32]:
        try:
            block: NDArray[np.float32] = self._file.read(n, dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise truncated(self._place, f"{error}".strip()) from error
        return block


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]
    """Read without a seek after each block, which soundfile adds and which some files do not allow."""

    @property
    def can_seek(self) -> bool:
        return bool(super().seekable())

    def seekable(self) -> bool:
        return False


@contextmanager
def open_audio(path: Path, *, source: str) -> Iterator[OpenAudio]:
    """A file, open to be read once.

    Raises:
        AudioError: missing, empty, cut, of a rate that speech does not have, or not readable; a name that is no text.
    """
    place = f"{path} ({source})"
    try:
        str(path).encode()
    except UnicodeEncodeError as error:  # of bytes that are no UTF-8; libsndfile takes text, and so do records
        raise AudioError(
            f"{place}: the name is not UTF-8. Rename the file, or the folder that is called so."
        ) from error
    try:
        if not path.is_file():
            raise AudioError(f"{place}: no such file. Check the path in the manifest and the audio root.")
        if path.stat().st_size == 0:
            raise AudioError(f"{place}: the file is empty (0 bytes). Copy it again.")
        extent = extent_of(path)
    except (OSError, ValueError) as error:
        raise AudioError(f"{place}: cannot be read ({error}). Check the path in the manifest.") from error
    if extent.cut is not None:
        raise truncated(place, extent.cut)
    if extent.chained:
        raise AudioError(
            f"{place}: holds several streams one after another, of which only the first would be read. Make one of "
            "them (ffmpeg -i IN OUT)."
        )
    view = View(path, extent) if extent.patch is not None or extent.stretch > 1 else None
    try:
        file = _Sequential(path if view is None else view)
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise AudioError(
            f"{place}: not readable as audio ({error}). Expected WAV, FLAC, OGG or another format of "
            "libsndfile; convert the file or copy it again."
        ) from error
    with file:
        check_rate(int(file.samplerate), place)
        yield OpenAudio(file, extent, place)


def decode(path: Path, *, source: str, start_frame: int | None = None, n_frames: int | None = None) -> Decoded:
    """Decodes a file, or ``n_frames`` of it from ``start_frame`` (both in its own rate).

    Raises:
        AudioError: missing, unreadable, truncated, empty, too short, or holding NaN or infinity; names file and source.
    """
    place = f"{path} ({source})"
    with open_audio(path, source=source) as audio:
        stated = audio.stated_frames
        if stated is not None:
            check_length(stated, audio.rate_hz, place)
        expected = stated if n_frames is None else n_frames
        blocks = list(audio.blocks(start_frame or 0, expected))
        samples = (
            blocks[0] if len(blocks) == 1 else np.concatenate([np.zeros((0, audio.channels), np.float32), *blocks])
        )
        rate_hz = audio.rate_hz
    if expected is None:
        check_length(len(samples), rate_hz, place)
    elif len(samples) < expected:
        raise truncated(place, f"{len(samples)} of {expected} frames can be decoded")
    check_finite(samples, place)
    return Decoded(samples=samples, rate_hz=rate_hz)


def length(path: Path, *, source: str) -> Length:
    """The length of a file: as its header states, where that can be trusted, else decoded to the end.

    Raises:
        AudioError: missing, unreadable, cut, damaged, empty or too short.
    """
    place = f"{path} ({source})"
    with open_audio(path, source=source) as audio:
        stated = audio.stated_frames
        frames = sum(map(len, audio.blocks())) if stated is None else stated
        check_length(frames, audio.rate_hz, place)
        return Length(frames=frames, rate_hz=audio.rate_hz, known="decoded" if stated is None else "stated")


def check_rate(rate_hz: int, place: str) -> None:
    """A rate that recordings have and that resampling can take.

    Raises:
        AudioError: it is not.
    """
    divisor = math.gcd(rate_hz, SAMPLE_RATE_HZ)
    taps = SAMPLE_RATE_HZ // divisor * (rate_hz // divisor) if rate_hz != SAMPLE_RATE_HZ else 0
    if not _RATES_HZ[0] <= rate_hz <= _RATES_HZ[1] or taps > _LARGEST_FILTER:
        raise AudioError(
            f"{place}: the header states a rate of {rate_hz} Hz; expected {_RATES_HZ[0]} to {_RATES_HZ[1]} Hz, with a "
            f"common divisor with {SAMPLE_RATE_HZ} Hz. If it is right, resample the file (sox IN -r {SAMPLE_RATE_HZ} "
            "OUT); else copy it again."
        )


def check_length(frames: int, rate_hz: int, place: str) -> None:
    """Enough samples for one frame of features.

    Raises:
        AudioError: none, or too few.
    """
    if frames == 0:
        raise AudioError(f"{place}: holds no samples. Remove it or copy it again.")
    if frames * SAMPLE_RATE_HZ / rate_hz < MIN_SAMPLES:
        raise AudioError(
            f"{place}: {1000 * frames / rate_hz:.1f} ms of audio; at least "
            f"{1000 * MIN_SAMPLES / SAMPLE_RATE_HZ:.0f} ms ({MIN_SAMPLES} samples at 16 kHz) are needed. "
            "Remove it, or its line from the manifest."
        )


def check_finite(samples: NDArray[np.float32], place: str, *, first_frame: int = 0) -> None:
    """No NaN and no infinity in ``(frames, channels)``.

    Raises:
        AudioError: how many, and the first frame with one.
    """
    finite = np.isfinite(samples)
    if not finite.all():
        frame = first_frame + int(np.argmin(finite.all(axis=1)))
        raise AudioError(
            f"{place}: {int((~finite).sum())} samples are NaN or infinite, the first at frame {frame}. "
            "Export the file again."
        )


def truncated(place: str, why: str) -> AudioError:
    """The error of a file that ends early or is damaged inside."""
    return AudioError(f"{place}: truncated or damaged: {why}. Copy or download the file again.")
