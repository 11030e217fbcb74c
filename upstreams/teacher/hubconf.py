"""s3prl's entry point of this upstream."""

from typing import Any

from .expert import UpstreamExpert as _UpstreamExpert


def teacher(*args: Any, **kwargs: Any) -> Any:
    """``s3prl.hub.teacher(ckpt=...)``."""
    return _UpstreamExpert(*args, **kwargs)
