"""How alike a model's layers are, and which groups that gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from skill_bench.base.errors import UnknownName, UsageError
from skill_bench.base.places import Paths, each
from skill_bench.base.progress import Progress
from skill_bench.corpora.listing import list_audio
from skill_bench.layers.measure import measure
from skill_bench.models import checkpoint
from skill_bench.records.similarity import LINKAGES, MEASURES, LayerSimilarity
from skill_bench.upstream.spec import weights


def similarity(
    model: str | Path,
    data: Paths,
    *,
    measures: Sequence[str] = MEASURES,
    n_groups: int | Literal["auto"] = 4,
    linkage: str = "average",
    contiguous: bool = True,
    largest: float | Literal[False] = False,
    n_utterances: int = 64,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> LayerSimilarity:
    """Similarity between all layers of a model by each measure, and the groups SKILL would distil.

    Args:
        model: Checkpoint of any readable format, or a bundled upstream's name.
        data: Folder of audio, LibriSpeech tree or manifest.tsv; or several.
        measures: Of ``cka``, ``cosine``, ``mutual_knn``, ``whitened_cka``.
        n_groups: ``auto``: by the largest mean silhouette.
        linkage: ``average``, ``complete``, ``single`` or ``ward``.
        contiguous: Only neighbouring layers form a group.
        largest: Share of the layers that no group exceeds; False for any.
        n_utterances: Of calibration, chosen by a hash.
        seed: Of that choice, and of mutual_knn's frames.
        device: Where to compute.
        progress: Receives one stage.

    Returns:
        A document: ``write(path)`` keeps it as JSON.

    Raises:
        UnknownName: no such measure or linkage.
        UsageError: no measure, or a number of groups that does not fit.
        DataError: no speech, or too little of it.
    """
    for name in measures:
        if name not in MEASURES:
            raise UnknownName("measure", name, MEASURES)
    if not measures:
        raise UsageError(f"no measure of similarity: expected one or more of {', '.join(MEASURES)}.")
    if linkage not in LINKAGES:
        raise UnknownName("linkage", linkage, LINKAGES)
    path = weights(str(model))
    loaded = checkpoint.load(path)
    loaded.encoder.to(device)
    return measure(
        loaded,
        list_audio(each(data)),
        name=path.stem,
        measures=[name for name in MEASURES if name in measures],
        n_groups=n_groups,
        linkage=linkage,
        contiguous=contiguous,
        largest=largest,
        n_utterances=n_utterances,
        seed=seed,
        progress=progress,
    )
