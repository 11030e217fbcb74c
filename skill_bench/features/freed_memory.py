"""Memory that was freed goes back to the system, so that a long extraction holds no more than a short one.

glibc keeps what is freed for later; with utterances of ever other lengths that grew by a third over three hours of
audio (``skill-bench bench --only scale``).
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any


def return_to_system() -> None:
    """malloc_trim(3) where there is one; elsewhere nothing."""
    if (trim := _trim()) is not None:
        trim(0)


@cache
def _trim() -> Any:
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
