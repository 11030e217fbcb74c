"""Encoders computed another way on a CPU, faster and with less memory, to the same numbers."""
