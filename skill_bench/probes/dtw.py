"""Subsequence dynamic time warping of a query in many documents at once.

What s3prl 0.4.18 ``downstream/quesst14_dtw/expert.py`` computes with dtw-python's asymmetric step pattern, open begin
and open end: ``D[i, j] = d[i, j] + min(D[i-1, j], D[i-1, j-1], D[i-1, j-2])``, ``D[0, j] = d[0, j]``, cost
``min_j D[n-1, j] / n``; a path may begin and end anywhere in the document and uses every frame of the query once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from skill_bench.tasks import Search

# Distances that are in memory at a time.
_MAX_DISTANCES = 20_000_000
_EPSILON = 1e-9


def scores(
    query: Float[Tensor, "query_frames dim"], documents: Sequence[Float[Tensor, "frames dim"]], *, search: Search
) -> Float[Tensor, " documents"]:
    """How well the query is found in each document, standardised over documents; 0 everywhere for a short query."""
    if len(query) < search.min_query_frames:
        return torch.zeros(len(documents), dtype=torch.float64)
    found = -torch.cat([_costs(query, part, search=search) for part in _parts(query, documents)])
    return (found - found.mean()) / found.std(correction=0).clamp(min=_EPSILON)


def _parts(query: Tensor, documents: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    longest = max(len(document) for document in documents)
    step = max(1, _MAX_DISTANCES // (longest * len(query)))
    for start in range(0, len(documents), step):
        yield list(documents[start : start + step])


def _costs(query: Tensor, documents: list[Tensor], *, search: Search) -> Float[Tensor, " documents"]:
    lengths = torch.tensor([len(document) for document in documents])
    padded = torch.nn.utils.rnn.pad_sequence(documents, batch_first=True).double()
    inside = torch.arange(padded.shape[1]) < lengths[:, None]
    cosine = F.normalize(query.double(), dim=1, eps=_EPSILON) @ F.normalize(padded, dim=2, eps=_EPSILON).transpose(1, 2)
    distances = 1 - cosine
    if search.distance == "cosine_exp":
        distances = distances.exp() - 1
    outside = ~inside[:, None]
    least = distances.masked_fill(outside, torch.inf).amin(dim=2, keepdim=True)
    most = distances.masked_fill(outside, -torch.inf).amax(dim=2, keepdim=True)
    distances = (distances - least) / (most - least).clamp(min=_EPSILON)
    distances = distances.masked_fill(outside, torch.inf)
    total = distances[:, 0]
    for i in range(1, len(query)):
        one, two = F.pad(total, (1, 0), value=torch.inf)[:, :-1], F.pad(total, (2, 0), value=torch.inf)[:, :-2]
        total = distances[:, i] + torch.minimum(torch.minimum(total, one), two)
    return total.amin(dim=1) / len(query)
