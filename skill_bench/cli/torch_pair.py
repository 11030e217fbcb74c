"""torch and torchaudio that do not belong together, in words instead of a loader's traceback."""

from __future__ import annotations

import re
import traceback
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

PAIR = ("torch", "torchaudio")


def explain(error: BaseException) -> str | None:
    """What to install, if ``error`` came from torchaudio loading its compiled parts; None otherwise.

    torchaudio raises an OSError where it was built against another torch, a RuntimeError where CUDA versions differ.
    """
    frames = traceback.extract_tb(error.__traceback__)
    if not any({"torchaudio", "_extension"} <= set(Path(frame.filename).parts) for frame in frames):
        return None
    found = " and ".join(f"{name} {_version(name)}" for name in PAIR)
    wanted = [need for need in requires("skill-bench") or [] if re.split(r"[^\w-]", need)[0] in PAIR]
    return (
        f"{found} do not load together ({str(error).splitlines()[0]}). Expected the pair that skill-bench is tested "
        f"with; run: pip install {' '.join(wanted)}"
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"
