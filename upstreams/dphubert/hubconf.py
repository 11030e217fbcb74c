"""s3prl's entry point of this upstream."""

from typing import Any

from .expert import UpstreamExpert as _UpstreamExpert


def dphubert(*args: Any, **kwargs: Any) -> Any:
    """``s3prl.hub.dphubert(ckpt=...)``."""
    return _UpstreamExpert(*args, **kwargs)
