"""Stand-ins for two packages of which s3prl's downstream experts use next to nothing.

``catalyst`` is unmaintained and does not install beside current packages; KS takes one sampler from it, for distributed
training. ``sox`` (pysox) is imported by ASV and never used. Where the real package is installed, it is used.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from torch.utils.data import Dataset, DistributedSampler, Sampler

from skill_bench.base.errors import UsageError


class _Drawn(Dataset[Any]):
    """What a sampler drew, as a data set to draw from again."""

    def __init__(self, indices: list[Any]) -> None:
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.indices[index]


class DistributedSamplerWrapper(DistributedSampler[Any]):
    """Shares the draws of any sampler out among the processes of a distributed run (catalyst's class of that name)."""

    def __init__(
        self, sampler: Sampler[Any], num_replicas: int | None = None, rank: int | None = None, shuffle: bool = True
    ) -> None:
        self.sampler = sampler
        super().__init__(_Drawn(list(sampler)), num_replicas=num_replicas, rank=rank, shuffle=shuffle)

    def __iter__(self) -> Iterator[Any]:
        drawn = list(self.sampler)
        return iter([drawn[index] for index in super().__iter__()])


class Transformer:
    """pysox's entry point; refuses to be used."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise UsageError("sox.Transformer needs the package sox and the program sox: pip install sox, apt install sox.")


def install() -> None:
    """Make ``catalyst.data.sampler`` and ``sox`` importable where they are not installed."""
    if not _installed("catalyst"):
        for name in ("catalyst", "catalyst.data", "catalyst.data.sampler"):
            _add(name)
        sys.modules["catalyst.data.sampler"].__dict__["DistributedSamplerWrapper"] = DistributedSamplerWrapper
    if not _installed("sox"):
        _add("sox").__dict__["Transformer"] = Transformer


def _installed(name: str) -> bool:
    return name in sys.modules or importlib.util.find_spec(name) is not None


def _add(name: str) -> ModuleType:
    module = ModuleType(name, "Stand-in made by skill_bench.s3prl.packages.")
    module.__spec__ = ModuleSpec(name, loader=None, is_package=True)
    module.__path__ = []
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
    return module
