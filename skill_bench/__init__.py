"""Distil, evaluate, measure and rank compressed speech self-supervised models."""

__version__ = "0.1.0"
