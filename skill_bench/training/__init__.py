"""One training loop for pre-training and distillation: batches, devices, checkpoints, logs."""
