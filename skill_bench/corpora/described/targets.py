"""What a manifest's line asks to be recognised: labels, phones, text, slots, as a task's table of suite.toml says."""

from __future__ import annotations

import re

from skill_bench.base.errors import ManifestError
from skill_bench.corpora.described.manifest import Manifest, ManifestLine
from skill_bench.corpora.described.suite_toml import TaskSource

NO_LABEL = "none"
"""What stands for an empty one of several labels, as in Fluent Speech Commands."""
_TAG = re.compile(r"^([BE])-(\S+)$")


def target_of(row: ManifestLine, source: TaskSource, manifest: Manifest) -> str:
    """The target of one line.

    Raises:
        ManifestError: it is empty, or holds what it must not; names file, line and what is allowed.
    """
    line = f"{manifest.path}:{row.source.rpartition(':')[2]}"
    values = {column: row.values[column].strip() for column in source.columns}
    target = _KINDS[source.target_kind](values, source, line)
    if not target:
        columns = ", ".join(map(repr, values))
        raise ManifestError(f"{line}: the target column {columns} is empty. Fill it or remove the line.")
    return target


def check_slots(target: str, *, where: str) -> str:
    """The target with its blanks collapsed.

    Raises:
        ManifestError: tags that do not pair, or a slot without a word.
    """
    tokens, open_slot, n_words = target.split(), None, 0
    for token in tokens:
        tag = _TAG.match(token)
        if tag is None:
            n_words += 1
            continue
        begin, slot = tag.group(1) == "B", tag.group(2)
        if begin and open_slot is not None:
            raise ManifestError(f"{where}: {token!r} before 'E-{open_slot}'. Slots do not nest; close the one before.")
        if not begin and open_slot != slot:
            raise ManifestError(f"{where}: {token!r} closes {open_slot and f'B-{open_slot}'!r}. Tags come in pairs.")
        if not begin and n_words == 0:
            raise ManifestError(f"{where}: the slot {slot!r} holds no word. Remove it or give its value.")
        open_slot, n_words = (slot if begin else None), 0
    if open_slot is not None:
        raise ManifestError(f"{where}: 'B-{open_slot}' is never closed. Add 'E-{open_slot}' after its last word.")
    return " ".join(tokens)


def _label(values: dict[str, str], source: TaskSource, line: str) -> str:
    (value,) = values.values()
    return value


def _labels(values: dict[str, str], source: TaskSource, line: str) -> str:
    for column, value in values.items():
        if "|" in value:
            raise ManifestError(f"{line}: {column} is {value!r}; '|' separates labels, so it may not be in one.")
    return "|".join(value or NO_LABEL for value in values.values()) if any(values.values()) else ""


def _phones(values: dict[str, str], source: TaskSource, line: str) -> str:
    rule = source.phones
    phones = [phone for phone in _label(values, source, line).split() if phone not in rule.drop]
    phones = [phone.rstrip("0123456789") if rule.strip_stress else phone for phone in phones]
    strange = sorted(set(phones) - set(rule.inventory)) if rule.inventory is not None else []
    if strange:
        raise ManifestError(
            f"{line}: {_some(strange)} not in the phone inventory of suite.toml ({' '.join(rule.inventory or [])}). "
            "Correct the line, or add the phone to phones.inventory."
        )
    return " ".join(phones)


def _text(values: dict[str, str], source: TaskSource, line: str) -> str:
    return _normalised(_label(values, source, line), source, line)


def _slots(values: dict[str, str], source: TaskSource, line: str) -> str:
    if len(values) == 1:
        (text,) = values.values()
        tokens = [token if _TAG.match(token) else _normalised(token, source, line) for token in text.split()]
        return check_slots(" ".join(filter(None, tokens)), where=line)
    spoken = {slot: _normalised(value, source, line) for slot, value in values.items() if value}
    return " ".join(f"B-{slot} {value} E-{slot}" for slot, value in spoken.items() if value)


def _normalised(text: str, source: TaskSource, line: str) -> str:
    removed = text.translate(str.maketrans("", "", source.text.remove))
    found = " ".join(removed.upper().split())
    allowed = source.text.characters
    strange = sorted(set(found) - set(allowed) - {" "}) if allowed is not None else []
    if strange:
        raise ManifestError(
            f"{line}: {_some(strange)} in {found[:80]!r}, not in the characters of suite.toml ({allowed!r}). "
            "Correct the line, or add them to text.remove or text.characters."
        )
    return found


def _some(tokens: list[str]) -> str:
    return ", ".join(map(repr, tokens)) + (" is" if len(tokens) == 1 else " are")


_KINDS = {
    "label": _label, "labels": _labels, "phones": _phones, "text": _text, "slots": _slots, "rttm": _label,
}  # fmt: skip
