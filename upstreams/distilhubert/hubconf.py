"""s3prl's entry point of this upstream."""

from typing import Any

from .expert import UpstreamExpert as _UpstreamExpert


def distilhubert(*args: Any, **kwargs: Any) -> Any:
    """``s3prl.hub.distilhubert(ckpt=...)``."""
    return _UpstreamExpert(*args, **kwargs)
