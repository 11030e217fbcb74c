"""Changes the code in small ways, one at a time, and runs the tests that must notice.

``python tests/support/mutants.py [PART OF A FILE'S NAME ...]``, or ``tox -e mutants`` after ``tox -e tests``.

`mutants.toml` says where, what and which tests. The package is copied to a temporary folder, where everything else of
the repository is a link; each mutant runs in a process that is forked from this one, which has loaded torch and pytest
but nothing of the package. Fails if a mutant survives, if a text is not where it should be, or if the tests fail
without a mutant.
"""

from __future__ import annotations

import argparse
import compileall
import importlib
import os
import py_compile
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MUTANTS = REPOSITORY / "tests" / "mutants.toml"
PACKAGE = "skill_bench"
# What most tests load, slowly: once here instead of once a mutant. Nothing of the package itself.
PRELOADED = (
    "beartype", "hypothesis", "jaxtyping", "lightning.fabric", "numpy", "pandas", "pydantic", "pytest", "scipy.stats",
    "soundfile", "torch", "torchaudio.functional",
)  # fmt: skip
PASSED, FAILED = 0, 1
"""pytest's exit codes; any other says that the tests did not run."""
OTHER_PACKAGE = 9


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change.

    Attributes:
        file: Below the package.
        text: Occurs there exactly once.
        becomes: What stands there instead.
        breaks: What a user would suffer.
        tests: Node ids of pytest, the one that notices first.
    """

    file: str
    text: str
    becomes: str
    breaks: str
    tests: tuple[str, ...]


class Stale(Exception):
    """A mutant that does not fit the code."""


def read(path: Path = MUTANTS) -> list[Mutant]:
    """The mutants of a file, in its order."""
    rows = tomllib.loads(path.read_text(encoding="utf-8"))["mutants"]
    return [Mutant(**(row | {"tests": tuple(row["tests"])})) for row in rows]


def mutated(mutant: Mutant, repository: Path = REPOSITORY) -> str:
    """The file with the change.

    Raises:
        Stale: the file is gone, the text is not there or there more than once, or it would not change.
    """
    path = repository / PACKAGE / mutant.file
    if not path.is_file():
        raise Stale(f"{mutant.file}: no such file. Give the mutant the place where the code is now.")
    source = path.read_text(encoding="utf-8")
    if (n := source.count(mutant.text)) != 1:
        raise Stale(f"{mutant.file}: expected once, found {n} times: {mutant.text!r}. Give the text as it is now.")
    if mutant.text == mutant.becomes:
        raise Stale(f"{mutant.file}: the text and what it becomes are the same: {mutant.text!r}")
    return source.replace(mutant.text, mutant.becomes)


def copy(repository: Path, folder: Path) -> Path:
    """The package as files that may change, and links to what stands beside it; returns where it is found."""
    for path in repository.iterdir():
        if path.name == PACKAGE:
            shutil.copytree(path, folder / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
        elif not path.name.startswith("."):
            (folder / path.name).symlink_to(path)
    # Compiled once; by hash, since a mutant may have the size of what it replaces and be as old.
    compileall.compile_dir(folder / PACKAGE, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
    return folder


def run(tests: Sequence[str], *, repository: Path, copied: Path) -> int:
    """pytest's exit code, with the package that is in ``copied``; what it prints is in ``copied/output``."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 3
    try:
        output = os.open(copied / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(copied)
        sys.path.insert(0, str(copied))
        # Processes that a test starts find the mutant too.
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(copied), os.environ.get("PYTHONPATH")]))
        sys.dont_write_bytecode = True
        code = _pytest([*tests], repository)
    finally:
        sys.stdout.flush()
        os._exit(code)


def _pytest(tests: list[str], repository: Path) -> int:
    import pytest

    options = ["-x", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-c", str(repository / "pyproject.toml")]
    nodes = [str(repository / test) for test in tests]
    code = int(pytest.main([*options, "--rootdir", str(repository), *nodes]))
    loaded = getattr(sys.modules.get(PACKAGE), "__file__", None)
    if loaded is not None and not Path(loaded).is_relative_to(Path.cwd()):
        print(f"{loaded} was tested, which is not the copy")
        return OTHER_PACKAGE
    return code


def check(mutants: Sequence[Mutant], *, repository: Path = REPOSITORY) -> list[str]:
    """What is wrong, a sentence each; tells on the way how each mutant ended."""
    problems: list[str] = []
    changed: list[tuple[Mutant, str]] = []
    for mutant in mutants:
        try:
            changed.append((mutant, mutated(mutant, repository)))
        except Stale as error:
            problems.append(f"stale: {error}")
    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary:
        copied = copy(repository, Path(temporary))
        every = list(dict.fromkeys(test for mutant, _ in changed for test in mutant.tests))
        if every and (code := run(every, repository=repository, copied=copied)) != PASSED:
            return [*problems, f"without a mutant pytest ended with {code}:\n{(copied / 'output').read_text()}"]
        for number, (mutant, source) in enumerate(changed, start=1):
            start = time.monotonic()
            path = copied / PACKAGE / mutant.file
            path.write_text(source, encoding="utf-8")
            code = run(mutant.tests, repository=repository, copied=copied)
            shutil.copyfile(repository / PACKAGE / mutant.file, path)
            ended = {PASSED: "survived", FAILED: "killed"}.get(code, f"tests ended with {code}")
            seconds = time.monotonic() - start
            print(f"{number:3}/{len(changed)} {ended:9} {seconds:5.1f} s  {mutant.file}: {mutant.breaks}", flush=True)
            if code != FAILED:
                output = "" if code == PASSED else f"\n{(copied / 'output').read_text()}"
                problems.append(f"{ended}: {mutant.file}: {mutant.text!r} became {mutant.becomes!r}{output}")
    return problems


def main(arguments: Iterable[str] | None = None) -> int:
    """The command; 0 if every mutant was killed."""
    parser = argparse.ArgumentParser(description="Every mutant must be noticed by its tests.")
    parser.add_argument("only", nargs="*", help="parts of file names: those mutants alone")
    only = parser.parse_args(None if arguments is None else list(arguments)).only
    mutants = [one for one in read() if not only or any(part in one.file for part in only)]
    for name in PRELOADED:
        importlib.import_module(name)
    problems = check(mutants)
    print(*problems, f"{len(mutants)} mutants, {len(problems)} problems", sep="\n")
    return 1 if problems or not mutants else 0


if __name__ == "__main__":
    sys.exit(main())
