"""``torchaudio.sox_effects`` without libsox: the four effects that SUPERB's downstream tasks apply to audio.

torchaudio 2.9 removed sox. KS, ASV and QbE read every file through ``channels 1``, ``rate 16000`` and ``gain -3.0``,
ASV also through ``silence 1 0.1 0.1% -1 0.1 0.1%``. Compared with SoX 14.4.2's numbers in tests/s3prl/golden/.
sox computes on 32-bit integers, this on float32: they agree to about 1e-7 where no resampling happens.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

import torchaudio
from jaxtyping import Float
from torch import Tensor

from skill_bench.base.errors import UsageError, suggest
from skill_bench.corpora.audio import effects as ours
from skill_bench.corpora.audio.effects import silence
from skill_bench.s3prl.audio_files import load

Effect = Callable[..., tuple[Tensor, int]]


def channels(waves: Float[Tensor, "channels samples"], rate_hz: int, count: str) -> tuple[Tensor, int]:
    """To one channel: the mean of all. To more from one: copies."""
    wanted = int(count)
    if wanted == waves.shape[0]:
        return waves, rate_hz
    if wanted == 1:
        return waves.mean(dim=0, keepdim=True), rate_hz
    if waves.shape[0] == 1:
        return waves.expand(wanted, -1).contiguous(), rate_hz
    raise UsageError(
        f"sox effect 'channels {count}' on {waves.shape[0]} channels is not offered: only to or from one channel."
    )


def rate(waves: Float[Tensor, "channels samples"], rate_hz: int, wanted: str) -> tuple[Tensor, int]:
    """Resample by a Kaiser-windowed sinc, fitted to sox's own filter: 75 dB apart on speech (85 dB downwards)."""
    wanted_hz = round(float(wanted))
    if wanted_hz == rate_hz:
        return waves, rate_hz
    resampled = torchaudio.functional.resample(
        waves,
        rate_hz,
        wanted_hz,
        lowpass_filter_width=96,
        rolloff=0.957,
        resampling_method="sinc_interp_kaiser",
        beta=14.0,
    )
    # torchaudio rounds the length up, sox to the nearest.
    return resampled[:, : (2 * waves.shape[1] * wanted_hz + rate_hz) // (2 * rate_hz)], wanted_hz


def gain(waves: Float[Tensor, "channels samples"], rate_hz: int, decibels: str = "0") -> tuple[Tensor, int]:
    """Multiply by ``10 ** (decibels / 20)`` and clip at full scale."""
    return ours.gain(waves, float(decibels)), rate_hz


_EFFECTS: dict[str, Effect] = {"channels": channels, "rate": rate, "gain": gain, "silence": silence}


def effect_names() -> list[str]:
    """Names of the effects on offer."""
    return sorted(_EFFECTS)


def apply_effects_tensor(
    tensor: Tensor, sample_rate: int, effects: Sequence[Sequence[str]], channels_first: bool = True
) -> tuple[Tensor, int]:
    """Apply a chain such as ``[["rate", "16000"], ["gain", "-3.0"]]`` to ``(channels, samples)`` float32.

    Raises:
        UsageError: an effect that is not offered, or arguments that it does not take.
    """
    waves = tensor if channels_first else tensor.t()
    rate_hz = int(sample_rate)
    for name, *arguments in effects:
        if name not in _EFFECTS:
            raise UsageError(
                f"sox effect {name!r} is not offered without libsox. {suggest(name, _EFFECTS)}"
                f"Offered: {', '.join(effect_names())}."
            )
        try:
            waves, rate_hz = _EFFECTS[name](waves, rate_hz, *arguments)
        except (TypeError, ValueError) as error:
            raise UsageError(f"sox effect {' '.join([name, *arguments])!r}: {error}.") from error
    return (waves if channels_first else waves.t()), rate_hz


def apply_effects_file(
    path: str | os.PathLike[str],
    effects: Sequence[Sequence[str]],
    normalize: bool = True,
    channels_first: bool = True,
    format: str | None = None,
) -> tuple[Tensor, int]:
    """Read a file and apply a chain to it.

    Raises:
        AudioError: no such file, or not audio.
        UsageError: as :func:`apply_effects_tensor`, or ``normalize=False``.
    """
    if not normalize:
        raise UsageError(
            "torchaudio.sox_effects.apply_effects_file(normalize=False) is not offered: samples are float32."
        )
    waves, rate_hz = load(path)
    waves, rate_hz = apply_effects_tensor(waves, rate_hz, effects)
    return (waves if channels_first else waves.t()), rate_hz


def install() -> None:
    """Make ``torchaudio.sox_effects`` importable, unless torchaudio has its own."""
    if hasattr(torchaudio, "sox_effects"):
        return
    module = ModuleType("torchaudio.sox_effects", __doc__)
    for function in (apply_effects_file, apply_effects_tensor, effect_names):
        setattr(module, function.__name__, function)
    module.__dict__.update(init_sox_effects=lambda: None, shutdown_sox_effects=lambda: None)
    sys.modules[module.__name__] = module
    torchaudio.sox_effects = module
