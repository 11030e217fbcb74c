"""``python -m skill_bench.s3prl run_downstream …``: s3prl's command line with skill-bench's upstreams in its hub."""

from __future__ import annotations

import argparse
import importlib
import re
import sys

from skill_bench.base.errors import MissingExtra, SkillBenchError, UnknownName, UsageError

COMMANDS = {"run_downstream": "train and evaluate one of s3prl's downstream tasks (all options: run_downstream -h)"}

# What s3prl's downstream tasks import beyond s3prl's own requirements; the extra s3prl-train holds them.
TRAINING_PACKAGES = ("tensorboardX", "librosa", "editdistance", "h5py", "lxml", "dtw", "joblib")

USAGE = "usage: python -m skill_bench.s3prl COMMAND [OPTION ...]\n\n" + "".join(
    f"  {name}  {text}\n" for name, text in COMMANDS.items()
)


def main(arguments: list[str]) -> None:
    """Run one of s3prl's own scripts with ``arguments`` as its command line.

    Raises:
        UnknownName: no such command.
        UsageError: an option that cannot work on today's packages, or a missing configuration file.
        MissingExtra: a package that the downstream task needs is not installed.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(USAGE)
        return
    command, *options = arguments
    if command not in COMMANDS:
        raise UnknownName("command", command, COMMANDS)
    _refuse_hugging_face(options)
    sys.argv = [f"{command}.py", *options]
    try:
        importlib.import_module(f"s3prl.{command}").main()
    except ModuleNotFoundError as error:
        if error.name not in TRAINING_PACKAGES:
            raise
        raise MissingExtra(error.name, extra="s3prl-train", purpose="this downstream task of s3prl") from error
    except FileNotFoundError as error:
        named = re.fullmatch(r"\./downstream/(\w+)/config\.yaml", str(error.filename))
        if named is None:
            raise
        raise UsageError(
            f"{error.filename}: no such file. s3prl's wheel holds no configurations: give one with -c, for instance "
            f"https://github.com/s3prl/s3prl/blob/main/s3prl/downstream/{named[1]}/config.yaml"
        ) from error


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
