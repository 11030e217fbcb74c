"""Damaged audio of every container: finite samples or a named refusal; no traceback, no hang, bounded memory."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpora_helpers import utterance
from mutations import generators, mutated_audio

from skill_bench.base.errors import SkillBenchError
from skill_bench.corpora.audio.audio import load_audio
from skill_bench.corpora.audio.scan import scan

CONTAINERS = [
    ("WAV", "PCM_16"), ("WAV", "GSM610"), ("WAV", "IMA_ADPCM"), ("WAV", "FLOAT"), ("WAVEX", "PCM_24"),
    ("RF64", "PCM_16"), ("W64", "DOUBLE"), ("AIFF", "PCM_16"), ("AU", "ULAW"), ("CAF", "PCM_16"), ("CAF", "ALAC_16"),
    ("NIST", "PCM_16"),
    ("SVX", "PCM_16"), ("VOC", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
]  # fmt: skip
_MUTANTS = 35  # a container
_MOST_KIB = 2 << 20


@pytest.mark.parametrize(("form", "subtype"), CONTAINERS)
def test_damaged_audio_is_read_or_refused(form: str, subtype: str, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # of all that ran in this process so far
    path = tmp_path / "whole"
    samples = 0.3 * np.sin(np.arange(6000) / 6) + 0.01 * np.random.default_rng(0).standard_normal(6000)
    soundfile.write(path, samples, 16_000, format=form, subtype=subtype)
    data, damaged = path.read_bytes(), tmp_path / "damaged"
    n_read, refused = 0, []
    for rng in generators(f"{form} {subtype}", _MUTANTS):
        damaged.write_bytes(mutated_audio(rng, data))
        try:
            summary = scan([utterance(damaged)], threads=1, whole=True)
            audio = load_audio(damaged, source="m:2")
        except SkillBenchError as error:
            refused.append(str(error))
        else:
            assert bool(audio.waveform.isfinite().all())
            found = summary.lengths[damaged]
            # What the scan measured is what is loaded; resampling rounds.
            assert abs(len(audio.waveform) - found.seconds * 16_000) <= 1
            n_read += 1
    assert refused
    assert all(message.startswith(f"{damaged} (m") for message in refused)
    assert n_read > 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss <= max(before, _MOST_KIB)
