"""Where weights are that a user names."""

from __future__ import annotations

import os
from pathlib import Path

from skill_bench.base import catalog
from skill_bench.base.errors import UsageError, suggest
from skill_bench.base.places import exists, kind_of
from skill_bench.upstream.spec import read_spec


def weights(text: str) -> Path:
    """What names weights: a file or folder, or an upstream that comes with skill-bench.

    Raises:
        UsageError: there is no such thing, the upstream has no weights, or the name is a path as well.
    """
    path, known = Path(text), catalog.names("upstreams")
    named = catalog.entry("upstreams", text) if text in known else None
    if named is not None and exists(path) and not path.samefile(named):
        raise UsageError(
            f"{text!r} is {kind_of(path)} here, and an upstream that comes with skill-bench. Write ./{text} for the "
            f"former, {named} for the latter."
        )
    folder = named or path
    if not (folder / "upstream.toml").is_file():
        if not exists(path):
            near = suggest(text, known) if os.sep not in text else ""
            raise UsageError(f"{text}: no such checkpoint. Check the path. {near}Bundled: {', '.join(known)}.")
        return path
    spec = read_spec(folder.resolve())
    if spec.weights is None:
        raise UsageError(f"{text}: upstream {spec.name!r} ({spec.kind}) has no weights. Name another one, or a file.")
    return folder / spec.weights
