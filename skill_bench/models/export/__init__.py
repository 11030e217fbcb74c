"""Writers of other projects' checkpoint formats, which ``models/convert`` reads back, and of graphs to deploy."""

from __future__ import annotations

from typing import Literal, get_args

FormatName = Literal["safetensors", "dphubert", "huggingface", "onnx"]
FORMATS: tuple[FormatName, ...] = get_args(FormatName)
