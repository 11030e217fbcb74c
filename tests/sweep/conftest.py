"""Fixtures of this folder."""

from made_records import make_profile, make_record
from small_fixtures import speech, teacher

__all__ = ["make_profile", "make_record", "speech", "teacher"]
