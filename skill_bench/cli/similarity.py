"""``skill-bench similarity``: how alike the layers of a model are, and which groups that gives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skill_bench.cli.options import DataPaths


def similarity(
    teacher: Annotated[Path, typer.Option(help="Checkpoint of any readable format.")],
    data: DataPaths,
    clusters: Annotated[int, typer.Option(help="Number of groups.")] = 4,
    contiguous: Annotated[bool, typer.Option(help="Only neighbouring layers form a group.")] = True,
    utterances: Annotated[int, typer.Option(help="Calibration utterances, chosen by hash.")] = 64,
    out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Linear CKA between all layers of a model, and the groups SKILL would distil."""
    import json

    from skill_bench.compress.cluster import layer_groups
    from skill_bench.compress.distill import calibrate
    from skill_bench.corpora.listing import list_audio
    from skill_bench.models import checkpoint
    from skill_bench.schema import write_atomic

    loaded = checkpoint.load(teacher)
    matrix = calibrate(loaded.encoder, list_audio(data), n=utterances, seed=seed)
    groups = layer_groups(matrix, n_groups=clusters, contiguous=contiguous)
    for row in matrix:
        typer.echo(" ".join(f"{value:5.3f}" for value in row))
    typer.echo(f"groups: {json.dumps(groups)}")
    if out is not None:
        content = {
            "teacher_sha256": loaded.sha256,
            "measure": "cka",
            "n_utterances": utterances,
            "similarity": matrix.tolist(),
            "groups": groups,
        }
        write_atomic(out, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
