"""Scores as pure functions over whole corpora; every score keeps its numerator and denominator."""
