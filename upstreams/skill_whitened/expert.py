"""s3prl's expert: see upstream.toml for what it is."""

from functools import partial
from pathlib import Path

from skill_bench.upstream.expert import make_expert

UpstreamExpert = partial(make_expert, Path(__file__).parent)
