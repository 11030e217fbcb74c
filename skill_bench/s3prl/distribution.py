"""Which s3prl is here: the original, whose last release is 0.4.18, or ESPnet's maintained fork of the same name."""

from __future__ import annotations

import importlib.util
import warnings
from importlib.metadata import PackageNotFoundError, version

from skill_bench.base.errors import MissingExtra

ORIGINAL, FORK = "s3prl", "espnet-s3prl"
_EXTRAS = {ORIGINAL: "s3prl-train", FORK: "espnet-s3prl"}


def installed() -> dict[str, str]:
    """Versions by distribution. Neither may be, where s3prl comes from a checkout on the path."""
    found = {}
    for name in (ORIGINAL, FORK):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def extra() -> str:
    """The extra that holds what s3prl's tasks need, without bringing the other s3prl."""
    return _EXTRAS[FORK if FORK in installed() else ORIGINAL]


def require(*, purpose: str) -> None:
    """Checks that there is one s3prl, and warns where there are two.

    Raises:
        MissingExtra: there is none; names both.
    """
    if importlib.util.find_spec("s3prl") is None:
        raise MissingExtra("s3prl", extra=_EXTRAS[ORIGINAL], purpose=purpose, instead=_EXTRAS[FORK])
    found = installed()
    if len(found) > 1:
        both = " and ".join(f"{name} {number}" for name, number in found.items())
        warnings.warn(
            f"{both} are both installed, into one folder: of most files, what is imported is the one that came last. "
            f"Keep one: pip uninstall {ORIGINAL} {FORK}, then install the one you want.",
            stacklevel=2,
        )
