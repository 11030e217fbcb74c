"""Everything that has to be in place before ``import s3prl`` can succeed, in one call."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

import torch

from skill_bench.s3prl import audio_files, ctc_corpora, distribution, huggingface, packages, sox_effects

_applied = False
_FOLDER = str(Path(__file__).parent / "children")


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
    allow_namespaces()
    ctc_corpora.install()
    lead_children_here()
    _applied = True


def allow_namespaces() -> None:
    """Let ``torch.load`` (still with ``weights_only=True``) build an ``argparse.Namespace``.

    Since torch 2.6 it refuses anything but tensors and plain containers. s3prl's own experiment checkpoints
    (``states-*.ckpt``, ``dev-best.ckpt``) hold these plus the Namespace of the command line, so ``-e``, ``-a``, ``-i``
    and ``-m evaluate`` failed. The usual way out, ``weights_only=False``, would run whatever a downloaded checkpoint
    asks for. Instead that one class is declared safe: a Namespace only holds attributes, it cannot call anything.
    """
    torch.serialization.add_safe_globals([Namespace])


def lead_children_here() -> None:
    """Put the folder of ``sitecustomize.py`` first in the PYTHONPATH of children.

    What this process provides for s3prl, its child processes provide too. s3prl's corpora read their lists with joblib,
    whose workers are new processes that import s3prl themselves. They, and all other Python children, inherit the
    environment. A file in site-packages (``.pth``) would reach processes that have nothing to do with s3prl, and no
    checkout.
    """
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != _FOLDER]
    os.environ["PYTHONPATH"] = os.pathsep.join([_FOLDER, *paths])
