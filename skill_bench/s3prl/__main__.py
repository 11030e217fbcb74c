"""``python -m skill_bench.s3prl MODULE …``: any module of s3prl as a command, with our upstreams in its hub."""

from __future__ import annotations

import argparse
import importlib.util
import re
import runpy
import sys

from skill_bench.base.errors import MissingExtra, SkillBenchError, UnknownName, UsageError
from skill_bench.s3prl.distribution import extra

# What s3prl's tasks import beyond s3prl's own requirements; the extra s3prl-tasks holds them.
TRAINING_PACKAGES = (
    "tensorboardX", "librosa", "editdistance", "h5py", "lxml", "dtw", "joblib", "sed_eval", "six", "past", "chunk",
)  # fmt: skip
COMMANDS = ("run_downstream", "run_pretrain", "main")

USAGE = """usage: python -m skill_bench.s3prl MODULE [OPTION ...]

  run_downstream   train and evaluate one of s3prl's downstream tasks (all options: run_downstream -h)
  run_pretrain     s3prl's own pre-training
  main PROBLEM     s3prl-main: one of s3prl's problems, such as SuperbASR (-h lists its options)

Any other module of s3prl that can be run works too, by its dotted name within s3prl.
"""


def main(arguments: list[str]) -> None:
    """Run one of s3prl's own modules with ``arguments`` as its command line, as ``python -m s3prl.MODULE`` would.

    Raises:
        UnknownName: no such module.
        UsageError: an option that cannot work on today's packages, or a missing configuration file.
        MissingExtra: a package that the downstream task needs is not installed.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(USAGE)
        return
    module, *options = arguments
    name = f"s3prl.{module.removeprefix('s3prl.')}"
    if not re.fullmatch(r"[\w.]+", module) or not _exists(name):
        raise UnknownName("module of s3prl", module, COMMANDS)
    _refuse_hugging_face(options)
    before, sys.argv = sys.argv, [f"{name}.py", *options]
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    except ModuleNotFoundError as error:
        if error.name not in TRAINING_PACKAGES:
            raise
        raise MissingExtra(error.name, extra=extra(), purpose="this downstream task of s3prl") from error
    except FileNotFoundError as error:
        task = _downstream_of(str(error.filename), options)
        if task is None:
            raise
        raise UsageError(
            f"{error.filename}: no such file. s3prl's wheel holds no configurations: give one with -c, for instance "
            f"https://github.com/s3prl/s3prl/blob/main/s3prl/downstream/{task}/config.yaml"
        ) from error
    finally:
        sys.argv = before


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of a parent
        return False


def _downstream_of(file: str, options: list[str]) -> str | None:
    """The task whose configuration ``file`` is, by default or as given; None for other files."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-d", "--downstream")
    parser.add_argument("-c", "--config")
    asked, _ = parser.parse_known_args(options)
    return asked.downstream if file in (asked.config, f"./downstream/{asked.downstream}/config.yaml") else None


def _refuse_hugging_face(options: list[str]) -> None:
    """Say now, not after days of training, that s3prl cannot reach the Hugging Face Hub."""
    from skill_bench.s3prl.huggingface import refuse

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--hub", default="torch")
    parser.add_argument("--push_to_hf_hub", default=False)
    known, _ = parser.parse_known_args(options)
    if known.hub == "huggingface" or known.push_to_hf_hub:
        refuse()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SkillBenchError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
