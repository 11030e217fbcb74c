"""CTC tokens as integers, with 0 as the blank."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.tasks import Target

BLANK = 0


_SLOT_TAG = re.compile(r"[BE]-\S+")


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The vocabulary of a CTC head: token ``i`` has index ``i + 1``.

    Attributes:
        vocabulary: Tokens in a fixed order.
        words: True where blanks separate tokens, as phones; False where every character is one.
        slots: Whether ``B-name`` and ``E-name`` are one token each, as in s3prl's ``CharacterTextSlotEncoder``.
        ending: Tokens after every target in training; what is decoded ends before them.
    """

    vocabulary: tuple[str, ...]
    words: bool
    slots: bool = False
    ending: tuple[str, ...] = ()

    @classmethod
    def of(cls, target: Target, *, texts: Sequence[str]) -> Tokens:
        """The vocabulary that the task states, or all tokens of its ``texts``; slots are always from the texts."""
        bare = cls(vocabulary=(), words=target.tokens == "phones", slots=target.tokens == "characters_and_slots")
        found = {token for text in texts for token in bare.split(text)}
        vocabulary = tuple(sorted(found))
        if target.vocabulary != "corpus":
            tags = (token for token in vocabulary if bare.slots and _SLOT_TAG.fullmatch(token))
            vocabulary = (*target.vocabulary, *tags)
        added = tuple(token for token in target.ending if token not in vocabulary)
        return cls(vocabulary=(*vocabulary, *added), words=bare.words, slots=bare.slots, ending=target.ending)

    @property
    def n_outputs(self) -> int:
        """Tokens and the blank."""
        return len(self.vocabulary) + 1

    def split(self, text: str) -> list[str]:
        """A text's tokens."""
        if self.words:
            return text.split()
        if not self.slots:
            return list(text)
        # A tag and the blank inside it are one token: "B-city PARIS E-city" is B-city, P, A, R, I, S, E-city.
        tokens: list[str] = []
        for position, word in enumerate(text.split()):
            tag = word if _SLOT_TAG.fullmatch(word) else None
            opened = bool(tokens) and tokens[-1].startswith("B-")
            if position and not opened and not (tag and tag.startswith("E-")):
                tokens.append(" ")
            tokens += [tag] if tag else list(word)
        return tokens

    def join(self, tokens: Sequence[str]) -> str:
        """The text of tokens, the inverse of `split`."""
        if self.words:
            return " ".join(tokens)
        spelt = (f"{t} " if t.startswith("B-") else f" {t}" if t.startswith("E-") else t for t in tokens)
        return "".join(spelt if self.slots else tokens)

    def unknown(self, text: str) -> set[str]:
        """Tokens of ``text`` that are not in the vocabulary."""
        return set(self.split(text)) - set(self.vocabulary)

    def encode(self, text: str) -> list[int]:
        """Indices of a text's tokens and the ending; `unknown` must be empty."""
        index = {token: i + 1 for i, token in enumerate(self.vocabulary)}
        return [index[token] for token in (*self.split(text), *self.ending)]

    def decode(self, frames: Float[Tensor, "frames outputs"]) -> str:
        """Greedy CTC decoding: the best token of each frame, repeats joined, blanks and the ending dropped."""
        best = torch.unique_consecutive(frames.argmax(dim=-1)).tolist()
        tokens = [self.vocabulary[i - 1] for i in best if i != BLANK]
        if self.ending:
            # s3prl drops its end token wherever it is recognised, and the separator before it with the last word.
            tokens = [token for token in tokens if token != self.ending[-1]]
        text = self.join(tokens)
        return text.strip() if self.ending else text
