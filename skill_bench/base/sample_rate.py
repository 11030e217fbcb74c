"""The one rate of all audio that a model hears; files of another rate are resampled when they are decoded."""

SAMPLE_RATE_HZ = 16_000
