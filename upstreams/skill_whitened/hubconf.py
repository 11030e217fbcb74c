"""s3prl's entry point of this upstream."""

from typing import Any

from .expert import UpstreamExpert as _UpstreamExpert


def skill_whitened(*args: Any, **kwargs: Any) -> Any:
    """``s3prl.hub.skill_whitened(ckpt=...)``."""
    return _UpstreamExpert(*args, **kwargs)
