"""QUESST 2014 for QbE, the part in non-native English, as s3prl: documents and queries of dev and of eval.

``scoring/language_key_*.lst`` name files and languages (s3prl ``downstream/quesst14_dtw/dataset.py``). Which document
holds which query is in ``scoring/groundtruth_quesst14_{dev,eval}/quesst14_{dev,eval}.rttm``: ``LEXEME`` lines that name
the document second and the query later (s3prl ``downstream/quesst14_embedding/quesst14_trainset.py``, ``parse_rttm``).
Every query of dev and eval is looked for in the same documents.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from skill_bench.base.errors import DataError
from skill_bench.corpora.data import Fold, Utterance
from skill_bench.corpora.official.files import all_present, lines_of, listed

CORPUS = "quesst14"
_LANGUAGE = "nnenglish"


def qbe(folder: Path) -> tuple[Fold, ...]:
    """Documents whose target is the queries that they hold.

    Raises:
        DataError: a list or ground truth is missing or faulty, or names files that are not there.
    """
    documents = _listed(folder, "utterances")
    parts = {}
    for part in ("dev", "eval"):
        queries = _listed(folder, part)
        held = _held(folder, part)
        known = {query.id for query in queries}
        targets = {d.id: " ".join(sorted(held.get(d.id, set()) & known)) for d in documents}
        if not any(targets.values()):
            raise DataError(f"{folder}/scoring/groundtruth_quesst14_{part}: no English document holds a query.")
        parts[part] = (queries, tuple(replace(d, target=targets[d.id]) for d in documents))
    return (
        Fold(
            name="all", train=(), dev=parts["dev"][1], test=parts["eval"][1],
            dev_queries=parts["dev"][0], queries=parts["eval"][0],
        ),
    )  # fmt: skip


TASKS = {"qbe": qbe}


def _listed(folder: Path, part: str) -> tuple[Utterance, ...]:
    listing = folder / "scoring" / f"language_key_{part}.lst"
    utterances = []
    for line in lines_of(listing):
        fields, number = line.fields(), line.number
        if len(fields) != 2:
            raise DataError(f"{listing}:{number}: found {line.text!r}; expected 'path language'.")
        if fields[1] == _LANGUAGE:
            path = listed(folder, fields[0].partition("/")[2], where=f"{listing}:{number}")
            utterances.append(
                Utterance(
                    id=path.stem, path=path, target="", speaker=None, seconds=None, source=f"{listing.name}:{number}"
                )
            )
    if not utterances:
        raise DataError(f"{listing}: names no file in {_LANGUAGE!r}.")
    all_present((u.path for u in utterances), named_by=listing)
    return tuple(utterances)


def _held(folder: Path, part: str) -> dict[str, set[str]]:
    """The queries of each document."""
    held: dict[str, set[str]] = defaultdict(set)
    for line in lines_of(folder / "scoring" / f"groundtruth_quesst14_{part}" / f"quesst14_{part}.rttm"):
        fields = line.fields()
        if fields[0] == "LEXEME" and len(fields) > 2:
            held[fields[1]].update(field for field in fields[2:] if field.startswith(f"quesst14_{part}_"))
    return held
