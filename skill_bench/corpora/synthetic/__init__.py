"""Speech synthesised on this machine: the demo suite, and varied speech for training."""
