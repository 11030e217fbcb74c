"""Evaluations as jobs: of SLURM, or processes of this machine."""
