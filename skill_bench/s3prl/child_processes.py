"""What this process provides for s3prl, its child processes provide too.

s3prl's corpora read their lists with joblib, whose workers are new processes that import s3prl themselves. They, and
all other Python children, inherit the environment, so PYTHONPATH leads them to ``children/sitecustomize.py``. A file in
site-packages (``.pth``) would reach processes that have nothing to do with s3prl, and no checkout.
"""

from __future__ import annotations

import os
from pathlib import Path

_FOLDER = str(Path(__file__).parent / "children")


def install() -> None:
    """Put the folder of ``sitecustomize.py`` first in the PYTHONPATH of children."""
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != _FOLDER]
    os.environ["PYTHONPATH"] = os.pathsep.join([_FOLDER, *paths])
