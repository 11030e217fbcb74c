"""Writes ``docs/recipes.md``: every recipe beside the published program that it follows."""

from pathlib import Path

from skill_bench.base.documents import write_atomic
from skill_bench.distillation.originals import markdown

if __name__ == "__main__":
    write_atomic(Path(__file__).with_name("recipes.md"), markdown().encode())
