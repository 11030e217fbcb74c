"""Fixtures of this folder."""

from made_records import make_profile, make_record

__all__ = ["make_profile", "make_record"]
