"""What an upstream folder's ``expert.py`` is made of: from the folder's ``upstream.toml`` to a ready upstream."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from skill_bench.base.errors import CheckpointError, UsageError
from skill_bench.base.text import read_text
from skill_bench.models import checkpoint
from skill_bench.models.architecture import Architecture
from skill_bench.models.checkpoint import LoadedModel
from skill_bench.models.encoder import Encoder
from skill_bench.models.size import bytes_on_disk
from skill_bench.records.record import System
from skill_bench.upstream import graph
from skill_bench.upstream.encoder import EncoderUpstream
from skill_bench.upstream.filterbank import FilterbankUpstream
from skill_bench.upstream.interface import Upstream
from skill_bench.upstream.spec import NAME_DIGITS, UpstreamSpec, read_spec, system_of_weights


def make_expert(
    folder: Path,
    ckpt: str | Path | None = None,
    *,
    model_config: str | None = None,
    refresh: bool = False,
    **unknown: Any,
) -> Upstream:
    """The upstream that ``folder/upstream.toml`` describes.

    Args:
        folder: Of the upstream.
        ckpt: Another checkpoint, file or folder; s3prl's ``-k``. For an untrained upstream, whose shape to take.
        model_config: s3prl's ``-g``; must be None, since checkpoints describe themselves.
        refresh: s3prl's; nothing is downloaded, so there is nothing to refresh.

    Raises:
        SpecError: faulty ``upstream.toml``.
        UsageError: an option that this upstream does not have.
        CheckpointError: weights missing or unreadable.
    """
    spec = read_spec(folder)
    if unknown:
        raise UsageError(f"upstream {spec.name!r} has no option {', '.join(sorted(unknown))}, only ckpt.")
    if model_config is not None:
        raise UsageError(
            f"upstream {spec.name!r} takes no model_config: a checkpoint holds its architecture. Use ckpt."
        )
    if spec.filterbank is not None:
        if ckpt is not None:
            raise UsageError(f"upstream {spec.name!r} computes filterbanks: there are no weights to take from {ckpt}.")
        return FilterbankUpstream(filterbank=spec.filterbank, system=spec.system())
    if spec.kind == "untrained":
        return _untrained(spec, folder, ckpt)
    if ckpt is None:
        return _bundled(spec, folder)
    return from_checkpoint(spec.name, ckpt)


def from_checkpoint(name: str, ckpt: str | Path) -> Upstream:
    """An upstream over any readable checkpoint or graph, called ``<name>-<hash>``: it is not the bundled system."""
    if Path(ckpt).suffix == graph.SUFFIX:
        return graph.from_file(Path(ckpt), name=name)
    loaded = checkpoint.load(ckpt)
    system = system_of_weights(name, loaded.sha256, metadata=loaded.metadata, title=Path(ckpt).name)
    return encoder_of(loaded, Path(ckpt), system)


def encoder_of(loaded: LoadedModel, path: Path, system: System) -> EncoderUpstream:
    """The upstream over a model that was loaded from ``path``, whose size on disk counts among its costs."""
    upstream = EncoderUpstream(loaded=loaded, system=system)
    upstream.disk_bytes = bytes_on_disk(path)
    return upstream


def _bundled(spec: UpstreamSpec, folder: Path) -> Upstream:
    assert spec.weights is not None
    path = folder / spec.weights
    if not path.is_file():
        raise CheckpointError(
            f"upstream {spec.name!r}: its bundled weights {path} are missing. Reinstall skill-bench, "
            "or give weights of your own with --ckpt FILE_OR_FOLDER."
        )
    if path.suffix == graph.SUFFIX:
        return graph.from_file(path, system=spec.system())
    return encoder_of(checkpoint.load(path), path, spec.system())


def _untrained(spec: UpstreamSpec, folder: Path, ckpt: str | Path | None) -> EncoderUpstream:
    assert spec.architecture is not None
    assert spec.seed is not None
    if ckpt is None:
        path = folder / spec.architecture
        try:
            architecture = Architecture.from_dict(json.loads(read_text(path, error=CheckpointError)))
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{path}: no readable architecture ({error}). Reinstall skill-bench.") from error
        system = spec.system()
    else:
        loaded = checkpoint.load(ckpt)
        architecture = loaded.encoder.architecture
        system = spec.system().model_copy(
            update={
                "name": f"{spec.name}-{loaded.sha256[:NAME_DIGITS]}",
                "title": f"{spec.title}, in the shape of {Path(ckpt).name}",
            }
        )
    # The caller's random numbers stay as they are.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        encoder = Encoder(architecture)
    sha256 = checkpoint.weights_sha256(architecture, encoder.state_dict())
    loaded = LoadedModel(encoder=encoder, metadata={"seed": str(spec.seed)}, format="untrained", sha256=sha256)
    return EncoderUpstream(loaded=loaded, system=system)
