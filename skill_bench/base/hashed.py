"""Choices that text decides: spread evenly, the same on every machine and in every version."""

from __future__ import annotations

import hashlib


def digest(text: str) -> str:
    """A hash that spreads evenly and never changes, unlike `hash`."""
    return hashlib.sha256(text.encode()).hexdigest()


def seed_from(*parts: object, separator: str, n_bytes: int = 7) -> int:
    """A seed for each purpose, as its ``parts`` say: the first ``n_bytes`` of the hash of their text.

    Seven bytes fit every generator. Separators and lengths differ from use to use because students and records that
    are shipped were made with them.
    """
    return int.from_bytes(bytes.fromhex(digest(separator.join(map(str, parts))))[:n_bytes], "big")
