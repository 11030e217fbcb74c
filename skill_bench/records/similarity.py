"""How alike the layers of a model are, and how they cluster: one JSON a model, which its students carry."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from skill_bench.base.documents import Document
from skill_bench.base.provenance import Provenance
from skill_bench.base.specs import Frozen, Off

MeasureName = Literal["cka", "cosine", "mutual_knn", "whitened_cka"]
MEASURES: tuple[MeasureName, ...] = get_args(MeasureName)
Linkage = Literal["average", "complete", "single", "ward"]
LINKAGES: tuple[Linkage, ...] = get_args(Linkage)
Largest = Annotated[float, Field(gt=0, le=1, strict=True)] | Off
"""The largest share of the layers that a group may have; False: any."""
Groups = tuple[tuple[int, ...], ...]
"""A partition of layers."""
Weights = tuple[tuple[float, ...], ...]
"""How much each layer counts in the average of its group, group by group: 1 on average."""
CARRIED = "layer_similarity"
"""Where the metadata of a student's checkpoint holds the document, as text."""

SIMILARITY_FILE = "similarity.json"
"""What it is called in a work folder, and beside records."""


class Similarity(Frozen):
    """One measure.

    Attributes:
        matrix: ``(layers, layers)``, hidden states h0..hN.
        tree: merges in scipy's form: two clusters, distance, size.
        groups: partition of the layers.
        silhouettes: mean silhouette by number of groups, where that number was chosen.
    """

    measure: MeasureName
    matrix: tuple[tuple[float, ...], ...]
    tree: tuple[tuple[float, float, float, float], ...]
    groups: Groups
    silhouettes: dict[int, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        n_layers = len(self.matrix)
        if any(len(row) != n_layers for row in self.matrix) or len(self.tree) != n_layers - 1:
            raise ValueError(f"{self.measure}: matrix and tree are not of the same {n_layers} layers")
        if sorted(layer for group in self.groups for layer in group) != list(range(n_layers)):
            raise ValueError(f"{self.measure}: the groups do not partition the {n_layers} layers")
        return self


class LayerSimilarity(Document):
    """All measures of one model over the same utterances; ``data_fingerprint`` of all that they were chosen from."""

    kind: Literal["layer_similarity"] = "layer_similarity"
    model: str
    checkpoint_sha256: str
    data_fingerprint: str | None = None
    n_utterances: int
    audio_seconds: float
    seed: int
    linkage: Linkage
    contiguous: bool
    largest: Largest = False
    n_groups: int | Literal["auto"]
    measures: tuple[Similarity, ...]
    provenance: Provenance
