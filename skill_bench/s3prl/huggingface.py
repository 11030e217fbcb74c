"""``HfFolder`` and ``Repository`` for s3prl's imports.

huggingface_hub 1.0 removed both. s3prl's runner imports them at the top and uses them only for ``--hub huggingface``
and ``--push_to_hf_hub``, which logged in by password and pushed by git: neither exists on the server any more.
"""

from __future__ import annotations

from typing import Any, NoReturn

import huggingface_hub

from skill_bench.base.errors import UsageError


def refuse() -> NoReturn:
    """Say that s3prl's exchange with the Hugging Face Hub cannot work.

    Raises:
        UsageError: always.
    """
    raise UsageError(
        "s3prl's --hub huggingface and --push_to_hf_hub use HfFolder, Repository and a password login, which "
        f"huggingface_hub {huggingface_hub.__version__} no longer has. Train without them, and upload the folder given "
        "by -p with `hf upload`."
    )


class HfFolder:
    """Token store of huggingface_hub before 1.0; refuses to be used."""

    @staticmethod
    def get_token() -> NoReturn:
        """Refuse."""
        refuse()

    @staticmethod
    def save_token(token: str) -> NoReturn:
        """Refuse."""
        refuse()


class Repository:
    """Git clone of a repository on the hub, of huggingface_hub before 1.0; refuses to be used."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        refuse()


def install() -> None:
    """Add the two names where huggingface_hub lacks them."""
    for stand_in in (HfFolder, Repository):
        if not hasattr(huggingface_hub, stand_in.__name__):
            setattr(huggingface_hub, stand_in.__name__, stand_in)
