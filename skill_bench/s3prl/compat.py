"""Everything that has to be in place before ``import s3prl`` can succeed, in one call."""

from __future__ import annotations

from skill_bench.s3prl import (
    audio_files,
    checkpoints,
    child_processes,
    ctc_corpora,
    distribution,
    huggingface,
    packages,
    sox_effects,
)

_applied = False


def apply() -> None:
    """Provide the names that s3prl needs and that newer packages dropped. Safe to call again.

    The replacements are attributes of ``torchaudio`` and ``huggingface_hub`` for the whole process, because s3prl
    reaches them by these names. skill-bench itself uses none of them.

    Raises:
        MissingExtra: s3prl is not installed, neither the original nor the fork.
    """
    global _applied
    if _applied:
        return
    distribution.require(purpose="skill_bench.s3prl")
    audio_files.install()
    sox_effects.install()
    huggingface.install()
    packages.install()
    checkpoints.install()
    ctc_corpora.install()
    child_processes.install()
    _applied = True
