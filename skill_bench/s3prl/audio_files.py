"""``torchaudio.load``, ``info`` and ``save`` on soundfile.

torchaudio 2.9 removed ``info`` and the backends, and its ``load`` and ``save`` need torchcodec with FFmpeg.
The signatures and conventions here are those of torchaudio 2.8's soundfile backend
(torchaudio/_backend/soundfile_backend.py).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import soundfile
import torch
import torchaudio
from torch import Tensor

from skill_bench.base.errors import AudioError, UsageError

AudioInput = str | os.PathLike[str] | BinaryIO

_INTEGER_DTYPES = {"PCM_U8": "int16", "PCM_S8": "int16", "PCM_16": "int16", "PCM_24": "int32", "PCM_32": "int32"}
_BITS = {
    "PCM_U8": 8,
    "PCM_S8": 8,
    "PCM_16": 16,
    "PCM_24": 24,
    "PCM_32": 32,
    "FLOAT": 32,
    "DOUBLE": 64,
    "ULAW": 8,
    "ALAW": 8,
}
_SUBTYPE_OF_DTYPE = {
    torch.uint8: "PCM_U8",
    torch.int16: "PCM_16",
    torch.int32: "PCM_32",
    torch.float32: "FLOAT",
    torch.float64: "DOUBLE",
}
_SUBTYPE_OF_BITS = {8: "PCM_U8", 16: "PCM_16", 24: "PCM_24", 32: "PCM_32"}


@dataclass(frozen=True)
class AudioMetaData:
    """What ``torchaudio.info`` returned; ``bits_per_sample`` is 0 where the coding has no fixed size."""

    sample_rate: int
    num_frames: int
    num_channels: int
    bits_per_sample: int
    encoding: str


def load(
    uri: AudioInput,
    frame_offset: int = 0,
    num_frames: int = -1,
    normalize: bool = True,
    channels_first: bool = True,
    format: str | None = None,
    buffer_size: int = 4096,
    backend: str | None = None,
) -> tuple[Tensor, int]:
    """Read audio as ``(channels, samples)`` (or ``(samples, channels)``) and its rate in Hz.

    Args:
        uri: path or open binary file.
        frame_offset: samples to skip.
        num_frames: samples to read; -1 for all.
        normalize: float32 in [-1, 1]; False keeps the integers of an integer file (8 bits as int16, 24 as int32).
        channels_first: False gives ``(samples, channels)``.
        format: ignored, the content tells; buffer_size and backend are ignored too.

    Raises:
        AudioError: no such file, or not audio; names it.
    """
    with _open(uri) as file:
        dtype = "float32" if normalize else _INTEGER_DTYPES.get(file.subtype, "float32")
        file.seek(min(frame_offset, file.frames))
        samples: np.ndarray[Any, Any] = file.read(num_frames, dtype=dtype, always_2d=True)
        rate = int(file.samplerate)
    waves = torch.from_numpy(samples)
    return (waves.t().contiguous() if channels_first else waves), rate


def info(
    uri: AudioInput, format: str | None = None, buffer_size: int = 4096, backend: str | None = None
) -> AudioMetaData:
    """Rate, length, channels and coding from the header, without decoding.

    Raises:
        AudioError: no such file, or not audio; names it.
    """
    with _open(uri) as file:
        encoding = (
            "FLAC"
            if file.format == "FLAC"
            else {"PCM_U8": "PCM_U", "FLOAT": "PCM_F", "DOUBLE": "PCM_F"}.get(
                file.subtype, "PCM_S" if file.subtype.startswith("PCM") else file.subtype
            )
        )
        return AudioMetaData(
            sample_rate=int(file.samplerate),
            num_frames=int(file.frames),
            num_channels=int(file.channels),
            bits_per_sample=_BITS.get(file.subtype, 0),
            encoding=encoding,
        )


def save(
    uri: AudioInput,
    src: Tensor,
    sample_rate: int,
    channels_first: bool = True,
    format: str | None = None,
    encoding: str | None = None,
    bits_per_sample: int | None = None,
    buffer_size: int = 4096,
    backend: str | None = None,
    compression: Any = None,
) -> None:
    """Write a 2-D tensor, ``(channels, samples)`` by default. WAV keeps the tensor's dtype unless told otherwise.

    Raises:
        UsageError: not two dimensions, or a coding that is not offered.
    """
    if src.ndim != 2:
        raise UsageError(f"torchaudio.save expects a tensor with 2 dimensions, found shape {tuple(src.shape)}.")
    name = (
        format or os.path.splitext(os.fspath(uri) if not hasattr(uri, "write") else "")[1].lstrip(".") or "wav"
    ).upper()
    subtype = _subtype(name, src.dtype, encoding=encoding, bits_per_sample=bits_per_sample)
    samples = (src.t() if channels_first else src).detach().cpu().contiguous().numpy()
    if samples.dtype == np.uint8:  # soundfile takes no unsigned bytes; 8-bit WAV is offset binary
        samples = (samples.astype(np.int16) - 128) << 8
    soundfile.write(uri, samples, sample_rate, subtype=subtype, format=name)


def install() -> None:
    """Put ``load``, ``info``, ``save`` and the backend switches (which switch nothing) into ``torchaudio``."""
    for function in (load, info, save):
        setattr(torchaudio, function.__name__, function)
    names: dict[str, Any] = {
        "AudioMetaData": AudioMetaData,
        "set_audio_backend": lambda backend: None,
        "get_audio_backend": lambda: "soundfile",
        "list_audio_backends": lambda: ["soundfile"],
    }
    for name, value in names.items():
        if not hasattr(torchaudio, name):
            setattr(torchaudio, name, value)


def _open(uri: AudioInput) -> soundfile.SoundFile:
    if isinstance(uri, str | os.PathLike) and not os.path.isfile(uri):
        raise AudioError(f"{os.fspath(uri)}: no such audio file.")
    try:
        return soundfile.SoundFile(uri)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{uri}: cannot be read as audio ({error}).") from error


def _subtype(name: str, dtype: torch.dtype, *, encoding: str | None, bits_per_sample: int | None) -> str | None:
    if name == "FLAC":
        return _SUBTYPE_OF_BITS[bits_per_sample or 16]
    if name != "WAV":
        return None
    if encoding in ("ULAW", "ALAW"):
        return encoding
    if encoding == "PCM_F":
        return "DOUBLE" if bits_per_sample == 64 else "FLOAT"
    if encoding is None and bits_per_sample is None:
        return _SUBTYPE_OF_DTYPE[dtype]
    bits = bits_per_sample or 16
    if encoding not in (None, "PCM_S", "PCM_U") or bits not in _SUBTYPE_OF_BITS:
        raise UsageError(f"torchaudio.save offers no WAV with encoding {encoding!r} and {bits_per_sample} bits.")
    return _SUBTYPE_OF_BITS[bits]
