"""``python -m skill_bench``, and ``torchrun -m skill_bench``."""

from skill_bench.cli.main import main

if __name__ == "__main__":
    main()
