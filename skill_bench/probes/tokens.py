"""Labels as integers: class indices, and CTC tokens with 0 as the blank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.tasks import Target

BLANK = 0


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The vocabulary of a CTC head: token ``i`` has index ``i + 1``.

    Attributes:
        vocabulary: Tokens in a fixed order.
        separator: What stands between tokens in a text: a blank for phones, nothing for characters.
    """

    vocabulary: tuple[str, ...]
    separator: str

    @classmethod
    def of(cls, target: Target, *, texts: Sequence[str]) -> Tokens:
        """The vocabulary that the task states, or all tokens of its ``texts``."""
        separator = " " if target.tokens == "phones" else ""
        if target.vocabulary == "corpus":
            found = {token for text in texts for token in _split(text, separator)}
            return cls(vocabulary=tuple(sorted(found)), separator=separator)
        return cls(vocabulary=target.vocabulary, separator=separator)

    @property
    def n_outputs(self) -> int:
        """Tokens and the blank."""
        return len(self.vocabulary) + 1

    def split(self, text: str) -> list[str]:
        """A text's tokens."""
        return _split(text, self.separator)

    def unknown(self, text: str) -> set[str]:
        """Tokens of ``text`` that are not in the vocabulary."""
        return set(self.split(text)) - set(self.vocabulary)

    def encode(self, text: str) -> list[int]:
        """Indices of a text's tokens; `unknown` must be empty."""
        index = {token: i + 1 for i, token in enumerate(self.vocabulary)}
        return [index[token] for token in self.split(text)]

    def decode(self, frames: Float[Tensor, "frames outputs"]) -> str:
        """Greedy CTC decoding: the best token of each frame, repeats joined, blanks dropped."""
        best = torch.unique_consecutive(frames.argmax(dim=-1)).tolist()
        return self.separator.join(self.vocabulary[i - 1] for i in best if i != BLANK)


def _split(text: str, separator: str) -> list[str]:
    return text.split() if separator else list(text)
