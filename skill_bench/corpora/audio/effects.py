"""What a protocol does to audio before an upstream hears it: s3prl lowers it for some tasks, and cuts its silence."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from skill_bench.base.errors import AudioError
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.audio.sox_silence import silence
from skill_bench.corpora.data import Effects

# The largest value of sox's 32-bit sample, as a float: gain clips there.
_FULL_SCALE = 1.0 - 2.0**-31
# s3prl 0.4.18 downstream/sv_voxceleb1/dataset.py: 0.1 s, 0.1 % of full scale, everywhere in the file.
_SILENCE = ("1", "0.1", "0.1%", "-1", "0.1", "0.1%")


def gain(waves: Float[Tensor, "*channels samples"], decibels: float) -> Float[Tensor, "*channels samples"]:
    """Multiplied by ``10 ** (decibels / 20)`` and clipped at full scale."""
    lowered: Tensor = (waves * 10.0 ** (decibels / 20.0)).clamp(-1.0, _FULL_SCALE)
    return lowered


def apply_effects(
    waveform: Float[Tensor, " samples"], effects: Effects, *, min_samples: int, place: str
) -> Float[Tensor, " changed"]:
    """The gain, then the cut of silence.

    Args:
        waveform: At 16 kHz.
        effects: Which.
        min_samples: What must be left.
        place: The file and its manifest line, for messages.

    Raises:
        AudioError: less than ``min_samples`` are left.
    """
    changed = gain(waveform, effects.gain_db)
    if effects.trim_silence:
        changed = silence(changed[None], SAMPLE_RATE_HZ, *_SILENCE)[0][0]
        if len(changed) < min_samples:
            raise AudioError(
                f"{place}: {len(changed)} of {len(waveform)} samples are left without silence; at least {min_samples} "
                "(25 ms) are needed. Remove the line from the manifest."
            )
    return changed
