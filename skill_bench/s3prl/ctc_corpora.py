"""The corpus readers that s3prl's ``ctc`` downstream (PR, SF) imports and its wheel leaves out.

``s3prl/downstream/ctc/corpus/`` has no ``__init__.py``, so only a git checkout holds it. These classes follow the
behaviour of s3prl 0.4.18's librispeech.py, libriphone.py and snips.py there: utterances sorted by target length, and a
bucket that is the window of ``bucket_size`` utterances starting at the drawn index (so that utterances repeat; a quirk
that scores depend on).
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from torch.utils.data import Dataset

from skill_bench.base.errors import DataError
from skill_bench.base.text import read_lines

Item = tuple[Path, list[int]]


class Tokenizer(Protocol):
    """s3prl's text encoders, as far as a corpus uses them."""

    token_type: str

    def encode(self, text: str) -> list[int]:
        """Indices of a text."""
        ...


class CtcCorpus(Dataset[Any]):
    """Audio paths with encoded targets, longest first; an item is a bucket when ``bucket_size > 1``."""

    def __init__(self, items: Iterable[Item], *, bucket_size: int, ascending: bool = False) -> None:
        self.items = sorted(items, key=lambda item: len(item[1]), reverse=not ascending)
        self.bucket_size = bucket_size

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> list[Item] | Item:
        if self.bucket_size <= 1:
            return self.items[index]
        begin = min(len(self.items) - self.bucket_size, index)
        return self.items[begin : begin + self.bucket_size]


class LibriDataset(CtcCorpus):
    """LibriSpeech with its transcripts."""

    def __init__(
        self, split: Sequence[str], tokenizer: Tokenizer, bucket_size: int, path: str, ascending: bool = False, **_: Any
    ) -> None:
        items = [(audio, tokenizer.encode(text)) for audio, text in _librispeech(path, split)]
        super().__init__(items, bucket_size=bucket_size, ascending=ascending)


class LibriPhoneDataset(CtcCorpus):
    """LibriSpeech with the first pronunciation of each word in the lexicon files."""

    def __init__(
        self,
        split: Sequence[str],
        tokenizer: Tokenizer,
        bucket_size: int,
        path: str,
        lexicon: Sequence[str],
        ascending: bool = False,
        **_: Any,
    ) -> None:
        phones = read_lexicon(lexicon)
        items = []
        for audio, text in _librispeech(path, split):
            missing = sorted(set(text.split()) - phones.keys())
            if missing:
                raise DataError(f"{audio}: no pronunciation of {', '.join(missing)} in {', '.join(map(str, lexicon))}.")
            items.append((audio, tokenizer.encode(" ".join(phones[word] for word in text.split()))))
        super().__init__(items, bucket_size=bucket_size, ascending=ascending)


class SnipsDataset(CtcCorpus):
    """Audio SNIPS: the split's speakers' wav files; targets from ``all.iob.snips.txt`` or ``all-trans.txt``."""

    def __init__(
        self,
        split: Sequence[str],
        tokenizer: Tokenizer,
        bucket_size: int,
        path: str,
        ascending: bool = False,
        **kwargs: Any,
    ) -> None:
        speakers = tuple(kwargs[f"{split if isinstance(split, str) else split[0]}_speakers"])
        name = "all.iob.snips.txt" if "-slot" in tokenizer.token_type else "all-trans.txt"
        targets = dict(line.pair() for line in read_lines(Path(path) / name))
        wavs = [wav for part in split for wav in sorted((Path(path) / part).rglob("*.wav"))]
        items = [
            (wav, tokenizer.encode(targets[wav.stem]))
            for wav in wavs
            if wav.stem in targets and wav.stem.startswith(speakers)
        ]
        if not items:
            raise DataError(
                f"{path}: no wav file in {', '.join(split)} has a target in {name} "
                f"and a speaker of {', '.join(speakers)}."
            )
        super().__init__(items, bucket_size=bucket_size, ascending=ascending)


def read_lexicon(files: Sequence[str]) -> dict[str, str]:
    """The first pronunciation of each word, from lines ``WORD P1 P2 …``."""
    phones: dict[str, str] = {}
    for file in files:
        for line in read_lines(Path(file)):
            word, *pronunciation = line.fields()
            if not pronunciation:
                raise DataError(f"{file}:{line.number}: {word!r} has no pronunciation. Expected 'WORD P1 P2 ...'.")
            phones.setdefault(word, " ".join(pronunciation))
    return phones


def install() -> None:
    """Make ``s3prl.downstream.ctc.corpus.*`` importable where s3prl is installed without it."""
    parent = "s3prl.downstream.ctc.corpus"
    if importlib.util.find_spec(parent) is not None and importlib.util.find_spec(f"{parent}.libriphone") is not None:
        return
    modules = {"librispeech": LibriDataset, "libriphone": LibriPhoneDataset, "snips": SnipsDataset}
    package = sys.modules[parent] = ModuleType(parent, __doc__)
    package.__path__ = []
    package.__spec__ = ModuleSpec(parent, loader=None, is_package=True)
    for name, corpus in modules.items():
        module = ModuleType(f"{parent}.{name}", __doc__)
        setattr(module, corpus.__name__, corpus)
        sys.modules[module.__name__] = module
        setattr(package, name, module)


def _librispeech(path: str, split: Sequence[str]) -> list[tuple[Path, str]]:
    """Audio files of the splits with the transcripts beside them."""
    found = []
    for part in split:
        files = sorted((Path(path) / part).rglob("*.flac"))
        if not files:
            raise DataError(f"{Path(path) / part}: no .flac file found.")
        for file in files:
            transcripts = file.with_name("-".join(file.stem.split("-")[:-1]) + ".trans.txt")
            texts = dict(line.pair() for line in read_lines(transcripts))
            if file.stem not in texts:
                raise DataError(f"{file}: no transcript in {transcripts}.")
            found.append((file, texts[file.stem]))
    return found
