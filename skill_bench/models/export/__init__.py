"""Writers of other projects' checkpoint formats; ``models/convert`` reads every one of them back."""

from __future__ import annotations

from typing import Literal, get_args

FormatName = Literal["safetensors", "dphubert", "huggingface"]
FORMATS: tuple[FormatName, ...] = get_args(FormatName)
