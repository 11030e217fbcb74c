"""s3prl's entry point of this upstream."""

from typing import Any

from .expert import UpstreamExpert as _UpstreamExpert


def uniform_groups(*args: Any, **kwargs: Any) -> Any:
    """``s3prl.hub.uniform_groups(ckpt=...)``."""
    return _UpstreamExpert(*args, **kwargs)
