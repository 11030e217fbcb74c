"""Where weights come from, and on which terms they may be passed on: what upstream.toml says, teachers included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from skill_bench.base import catalog
from skill_bench.models import checkpoint
from skill_bench.upstream.spec import UpstreamSpec, read_spec


def origin(weights: Path, metadata: Mapping[str, str]) -> dict[str, str]:
    """Title, licence, teacher, attribution, datasets and languages, as far as they are known; lists with commas.

    Title and licence are those of the upstream folder which holds ``weights``; a checkpoint from elsewhere has its own.
    Attribution is owed for every teacher before it. What was heard in training is what the nearest of them states.

    Args:
        weights: A checkpoint, which may lie in an upstream folder.
        metadata: What the checkpoint says of itself: its teacher, and the teacher's hash.

    Raises:
        SpecError: a faulty ``upstream.toml`` beside it.
    """
    own = spec_beside(weights)
    line = list(_teachers(own, metadata))
    found = {} if own is None else {"title": own.title, "licence": own.licence, "teacher": own.teacher}
    found["attribution"] = "; ".join(dict.fromkeys(spec.attribution for spec in line if spec.attribution))
    if own is not None:  # a student made elsewhere may have heard other speech than its teacher
        found["datasets"] = ", ".join(next((spec.datasets for spec in line if spec.datasets), ()))
        found["languages"] = ", ".join(next((spec.languages for spec in line if spec.languages), ()))
    return {key: value for key, value in found.items() if value}


def spec_beside(weights: Path) -> UpstreamSpec | None:
    """The upstream whose folder holds ``weights`` as its own; None for files from elsewhere."""
    folder = weights.resolve().parent
    if not (folder / "upstream.toml").is_file():
        return None
    spec = read_spec(folder)
    return spec if spec.weights == weights.name else None


def _teachers(own: UpstreamSpec | None, metadata: Mapping[str, str]) -> Iterator[UpstreamSpec]:
    """The upstream itself, its teacher, the teacher's teacher, each from the catalog. A file from elsewhere states its
    teacher by name and hash: a bundled one of that name must be that one."""
    name = metadata.get("teacher")
    if own is not None:
        yield own
        name = own.teacher
    elif name in catalog.names("upstreams"):
        folder = catalog.entry("upstreams", name)
        kept = read_spec(folder).weights
        if kept is None or checkpoint.load(folder / kept).sha256 != metadata.get("teacher_sha256"):
            return
    seen: set[str] = set()
    while name in catalog.names("upstreams") and name not in seen:
        seen.add(name)
        spec = read_spec(catalog.entry("upstreams", name))
        yield spec
        name = spec.teacher
