"""Speech and its labels: manifests, suites, audio files, synthesised speech. Importing it loads no torch."""
