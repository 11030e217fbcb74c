"""s3prl's entry point of this upstream."""

from typing import Any

from .expert import UpstreamExpert as _UpstreamExpert


def random_groups(*args: Any, **kwargs: Any) -> Any:
    """``s3prl.hub.random_groups(ckpt=...)``."""
    return _UpstreamExpert(*args, **kwargs)
