"""Random sentences from the small grammars in words/: text that belongs to nobody."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from skill_bench.base.errors import UnknownName

_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, kw_only=True)
class Grammar:
    """Lists of words and templates; ``sentence`` is the start.

    Attributes:
        language: The file's name, as ``en``.
        voices: espeak-ng languages that speak it.
        lists: Entries by name; ``{name}`` in an entry refers to another list.
    """

    language: str
    voices: tuple[str, ...]
    lists: dict[str, tuple[str, ...]]

    def sentence(self, rng: np.random.Generator) -> str:
        """One lower-case sentence without punctuation."""
        text = "{sentence}"
        while match := _SLOT.search(text):
            entries = self.lists[match.group(1)]
            text = text[: match.start()] + entries[int(rng.integers(len(entries)))] + text[match.end() :]
        return text


def languages() -> list[str]:
    """The grammars that exist."""
    return sorted(path.name.removesuffix(".toml") for path in (files(__package__) / "words").iterdir())


@cache
def grammar(language: str) -> Grammar:
    """The grammar of a language.

    Raises:
        UnknownName: there is none.
    """
    if language not in languages():
        raise UnknownName("language", language, languages())
    content = tomllib.loads((files(__package__) / "words" / f"{language}.toml").read_text(encoding="utf-8"))
    lists = {name: tuple(entries) for name, entries in content["lists"].items()}
    return Grammar(language=language, voices=tuple(content["voices"]), lists=lists)
