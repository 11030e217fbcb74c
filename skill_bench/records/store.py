"""Folders and archives of records: the records in them, what belongs to these, packed and unpacked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from skill_bench.base.archive import SUFFIX, files, is_archive, is_place, packed, read_bytes
from skill_bench.base.counted import counted
from skill_bench.base.documents import check_digest, read_object, write_atomic
from skill_bench.base.errors import RecordError, UsageError, first_few
from skill_bench.records.fidelity import Fidelity
from skill_bench.records.profile import Profile
from skill_bench.records.record import REPLACED, Record, read_predictions


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a folder or archive of records holds.

    Attributes:
        files: Relative name -> path of every document, and of the predictions that a record names.
        records: Relative name -> record.
        left_out: Names of files that are neither: moved aside, unfinished, somebody else's.
    """

    files: Mapping[str, Path]
    records: Mapping[str, Record]
    left_out: tuple[str, ...]


def record_files(paths: Iterable[Path]) -> list[Path]:
    """The record files among ``paths``: those that are named, and all of each folder or archive.

    Raises:
        UsageError: there is none.
        RecordError: a file of a folder or archive is damaged.
    """
    named = list(paths)
    found = []
    for path in named:
        below = _documents(path).values() if is_place(path) else None
        found += [path] if below is None else [file for file in below if read_object(file).get("kind") == "record"]
    if not found:
        raise UsageError(f"no record in {', '.join(map(str, named))}. Name record files, or the --out of a run.")
    return found


def contents(place: Path) -> Contents:
    """Everything that belongs to the records in a folder or archive, each file checked against its digest.

    Raises:
        UsageError: no folder or archive, or no document in it.
        RecordError: files are damaged; names them all.
    """
    if not is_place(place):
        raise UsageError(f"{place}: no such folder or archive (.zip) of records. Name the --out of a run.")
    kept, records, damaged = {}, {}, []
    for name, path in _documents(place).items():
        try:
            content = read_object(path)
            if "kind" not in content:
                continue
            record = _checked(content, path)
        except RecordError as error:
            damaged.append(str(error))
            continue
        kept[name] = path
        if record is not None:
            records[name] = record
            if (beside := record.predictions) is not None:
                kept[str(PurePosixPath(name).with_name(beside.file))] = path.with_name(beside.file)
    if damaged:
        listed = "\n".join(f"  {problem}" for problem in damaged)
        raise RecordError(f"{place}: {counted(len(damaged), 'file is damaged', 'files are damaged')}:\n{listed}")
    if not kept:
        raise UsageError(
            f"{place}: holds no record, expected <suite>/<upstream>/<task>-s<seed>.json. Name the --out of a run."
        )
    archives = {path.name for path in place.glob(f"*{SUFFIX}")} if place.is_dir() else set()
    left_out = tuple(name for name in files(place) if name not in kept and name not in archives)
    return Contents(files=kept, records=records, left_out=left_out)


def pack(place: Path, out: Path, *, force: bool = False) -> Contents:
    """Writes everything that belongs to the records in ``place`` into the archive ``out``, in one step.

    A folder's archives are part of it: packed into one of them, the folder's new records join those that are there.

    Raises:
        UsageError: ``place`` holds no document, or ``out`` is there already or has another name than an archive.
        RecordError: files are damaged; nothing is written.
    """
    if out.suffix != SUFFIX:
        raise UsageError(f"--out {out}: expected a name ending in {SUFFIX}.")
    if out.exists() and not force:
        raise UsageError(f"--out {out}: is there already. Name another file, or replace it with --force.")
    found = contents(place)
    write_atomic(out, packed({name: read_bytes(path) for name, path in found.files.items()}))
    return found


def unpack(archive: Path, out: Path) -> Contents:
    """Writes the files of an archive below the folder ``out``; what is there with the same contents stays.

    Raises:
        UsageError: no archive of records, or another file is in the place of one of its files.
        RecordError: the archive or files in it are damaged; nothing is written.
    """
    if not is_archive(archive):
        raise UsageError(f"{archive}: expected an archive ({SUFFIX}), as `skill-bench results pack` makes it.")
    found = contents(archive)
    missing, other = [], []
    for name, path in found.files.items():
        if not (out / name).exists():
            missing.append(name)
        elif not (out / name).is_file() or (out / name).read_bytes() != read_bytes(path):
            other.append(name)
    if other:
        raise UsageError(f"--out {out}: other files are there in the place of {first_few(other)}. Name another folder.")
    for name in missing:
        write_atomic(out / name, read_bytes(found.files[name]))
    return found


def _documents(place: Path) -> dict[str, Path]:
    """Every JSON file, without those moved aside."""
    return {
        name: path
        for name, path in files(place).items()
        if name.endswith(".json") and REPLACED not in PurePosixPath(name).parts
    }


def _checked(content: dict[str, Any], path: Path) -> Record | None:
    """The record in a file, its predictions whole; None where it is another document, which is whole."""
    if content["kind"] == "record":
        record = Record.parse(content, source=str(path))
        if record.predictions is not None:
            read_predictions(path, record)
        return record
    for document in (Profile, Fidelity):
        if content["kind"] == document.model_fields["kind"].default:
            document.parse(content, source=str(path))
    check_digest(content, source=str(path))
    return None
