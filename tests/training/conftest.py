"""Fixtures of this folder."""

from small_fixtures import speech, teacher

__all__ = ["speech", "teacher"]
