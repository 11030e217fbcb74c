"""Reading s3prl's own experiment checkpoints (``states-*.ckpt``, ``dev-best.ckpt``) without running code from them.

Since torch 2.6 ``torch.load`` refuses anything but tensors and plain containers. s3prl's checkpoints hold these plus
the ``argparse.Namespace`` of the command line, so ``-e``, ``-a``, ``-i`` and ``-m evaluate`` failed. The usual way out,
``weights_only=False``, would run whatever a downloaded checkpoint asks for. Instead that one class is declared safe:
a Namespace only holds attributes, it cannot call anything.
"""

from __future__ import annotations

from argparse import Namespace

import torch


def install() -> None:
    """Let ``torch.load`` (still with ``weights_only=True``) build an ``argparse.Namespace``."""
    torch.serialization.add_safe_globals([Namespace])
