"""A task's data from a suite.

``demo`` is synthesised on the spot, ``local`` the user's folder with a suite.toml, ``superb`` the official corpora and
``mini`` a fixed part of them. A packaged suite.toml (``layouts/NAME.toml``) is a suite of its own name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from skill_bench.base import catalog
from skill_bench.base.catalog import OFFICIAL_SUITES, RECOGNISED, is_local, layouts, suites
from skill_bench.base.counted import counted
from skill_bench.base.errors import UnknownName, UsageError
from skill_bench.corpora.audio.scan import scan
from skill_bench.corpora.data import Fold, TaskData
from skill_bench.corpora.described.assemble import assemble
from skill_bench.corpora.described.partition import folds_fingerprint, limited_fold
from skill_bench.corpora.described.suite_toml import SuiteSpec, read_suite
from skill_bench.corpora.described.validate import validate
from skill_bench.corpora.official import suite as official

_EXAMPLE = """
    [tasks.ks]
    manifest = "commands/manifest.tsv"
    target = "keyword"
    split = { column = "split", train = ["train"], dev = ["dev"], test = ["test"] }
"""


def load_task_data(
    suite: str,
    task: str,
    *,
    data_root: Path | None = None,
    limit: int | None = None,
    cache_dir: Path,
    suite_file: Path | None = None,
) -> TaskData:
    """The utterances of a task, all of them checked to be readable.

    Args:
        suite: A name of `skill-bench list`.
        task: For ``local``, a name under ``[tasks]`` of the suite.toml.
        data_root: For ``local``, the folder that manifests and audio are relative to; for ``superb`` and ``mini``, the
            folder of the official corpora.
        limit: At most so many utterances in each of train, dev and test of each fold.
        cache_dir: Where the demo suite, simulated recordings and hashes of contents are kept.
        suite_file: A suite.toml outside ``data_root``.

    Raises:
        UnknownName: no such suite, or the suite has no such task.
        UsageError: ``data_root`` is missing, is no folder, has no suite.toml and is not recognised, or does not hold
            the whole official corpus.
        SpecError: a fault in the suite.toml.
        ManifestError: a fault in the manifest.
        DataError: a fault of the whole, see `skill_bench.corpora.described.validate`.
        AudioError: files that are missing or broken, all of them.
    """
    if suite not in suites():
        raise UnknownName("suite", suite, suites())
    if limit is not None and limit < 1:
        raise UsageError(f"limit is {limit}; expected at least 1 utterance a split.")
    if suite in OFFICIAL_SUITES:
        if suite_file is not None:
            raise UsageError(f"the {suite} suite reads official layouts. --suite-file is for --suite local.")
        chosen = _official(suite, task, data_root)
    else:
        if suite == "demo":
            if data_root is not None or suite_file is not None:
                raise UsageError(
                    "the demo suite makes its own data. Use --suite local with --data-root and --suite-file."
                )
            from skill_bench.corpora.synthetic.demo import demo_folder

            data_root = demo_folder(cache_dir)
        chosen = _described(suite, task, data_root, suite_file, cache_dir=cache_dir)
    folds = tuple(limited_fold(fold, limit, closed=chosen.closed) for fold in chosen.folds)
    data = TaskData(task=task, suite=suite, synthetic=chosen.synthetic, folds=folds, fingerprint="", notes=())
    scanned = () if chosen.scanned else scan(data.utterances()).notes()
    limited_to = (f"limited to {counted(limit, 'utterance')} in each of train, dev and test",) if limit else ()
    return replace(
        data, fingerprint=folds_fingerprint(folds, cache_dir=cache_dir), notes=(*chosen.notes, *limited_to, *scanned)
    )


@dataclass(frozen=True, kw_only=True)
class _Chosen:
    """Folds before any limit; ``closed``: targets are a closed set of labels; ``scanned``: every file was opened."""

    folds: tuple[Fold, ...]
    notes: tuple[str, ...]
    closed: bool
    synthetic: bool = False
    scanned: bool = False


def _official(suite: str, task: str, data_root: Path | None) -> _Chosen:
    if data_root is None or not data_root.is_dir():
        found = "none was given" if data_root is None else f"{data_root} is not a folder"
        raise UsageError(
            f"--suite {suite} needs --data-root DIR, the folder of the official corpora; {found}. "
            f"What goes where: skill-bench doctor --suite {suite} --data-root DIR"
        )
    folds, notes = official.official_folds(suite, task, data_root=data_root)
    return _Chosen(folds=folds, notes=notes, closed=official.is_closed(task), scanned=True)


def _described(suite: str, task: str, data_root: Path | None, suite_file: Path | None, *, cache_dir: Path) -> _Chosen:
    """By a suite.toml."""
    if data_root is None:
        inside = "your manifests and suite.toml" if suite == "local" else "the corpora that its layout names"
        raise UsageError(f"--suite {suite} needs --data-root DIR, the folder with {inside}.")
    file, found = _suite_file(suite, data_root, suite_file)
    spec = read_suite(file)
    if task not in spec.tasks:
        raise UnknownName(f"task of {file}", task, spec.tasks)
    source, where = spec.tasks[task], f"{file}: tasks.{task}"
    folds, notes = assemble(source, data_root=data_root, cache_dir=cache_dir, where=where)
    disjoint = source.speaker_is_target if source.disjoint_speakers is None else source.disjoint_speakers
    validate(folds, where=where, disjoint_speakers=disjoint)
    return _Chosen(
        folds=folds,
        notes=(*spec.notes, *found, *notes),
        closed=source.target_kind in ("label", "labels") and not source.speaker_is_target,
        synthetic=spec.synthetic,
    )


def tasks_of(suite: str, *, data_root: Path | None, suite_file: Path | None = None) -> list[str]:
    """The tasks that a suite has data for: those of its suite.toml, else all.

    Raises:
        UsageError, SpecError: there is no such file, or it is not valid.
    """
    if not is_local(suite) or data_root is None:
        return catalog.names("tasks")
    described = read_suite(_suite_file(suite, data_root, suite_file)[0]).tasks
    return [name for name in catalog.names("tasks") if name in described]


def _suite_file(suite: str, data_root: Path, suite_file: Path | None) -> tuple[Path, tuple[str, ...]]:
    """The suite.toml of a suite, and notes on how it was found: a packaged layout's own, or the one of a folder."""
    packaged = layouts().get(suite)
    if packaged is None:
        return find_suite_file(data_root, suite_file)
    if suite_file is not None:
        raise UsageError(f"--suite {suite} has a suite.toml of its own. --suite-file is for --suite local.")
    spec = read_suite(packaged)
    missing = [name for name in (spec.recognise.files if spec.recognise else ()) if not (data_root / name).is_file()]
    if missing:
        sources = "".join(f"\n  {line}" for line in spec.to_get(data_root))
        raise UsageError(
            f"--data-root {data_root} lacks {', '.join(missing)}, which --suite {suite} reads. Its corpora do not come "
            f"with skill-bench, and their manifests are yours to make, with the columns that {packaged} names. Of "
            f"what is missing, the sources:{sources}"
        )
    return packaged, ()


def suite_of(suite: str, *, data_root: Path | None, suite_file: Path | None = None) -> SuiteSpec | None:
    """The suite.toml of a suite of recordings; None for others, which are what their name says.

    Raises:
        UsageError, SpecError: there is no such file, or it is not valid.
    """
    if not is_local(suite) or data_root is None:
        return None
    return read_suite(_suite_file(suite, data_root, suite_file)[0])


def find_suite_file(data_root: Path, suite_file: Path | None = None) -> tuple[Path, tuple[str, ...]]:
    """The suite.toml that describes a folder, and notes on how it was found.

    ``suite_file`` if given, else the folder's own, else the packaged layout whose files are all there.

    Raises:
        UsageError: none; says what to write.
    """
    if not data_root.is_dir():
        raise UsageError(f"--data-root {data_root} is not a folder.")
    if suite_file is not None:
        if not suite_file.is_file():
            raise UsageError(f"--suite-file {suite_file}: no such file.")
        return suite_file, ()
    own = data_root / "suite.toml"
    if own.is_file():
        return own, ()
    for layout, spec in packaged_layouts():
        if spec.recognise and all((data_root / name).is_file() for name in spec.recognise.files):
            return layout, (f"{RECOGNISED} {spec.title!r} (packaged layout {layout.name})",)
    raise UsageError(
        f"{data_root} has no suite.toml, and its files are of no known layout. Write {own}, or name one elsewhere with "
        f"--suite-file, that maps each task to a manifest:\n{_EXAMPLE}\n"
        "All keys: python -c 'import skill_bench.corpora.described.suite_toml as s; print(s.__doc__)'"
    )


def packaged_layouts() -> list[tuple[Path, SuiteSpec]]:
    """The suite files that come with the package, those that ask for most files first."""
    found = [(path, read_suite(path)) for path in layouts().values()]
    return sorted(found, key=lambda item: -len(item[1].recognise.files if item[1].recognise else ()))
