"""s3prl 0.4.18, or ESPnet's fork of it, on today's torch, with skill-bench's upstreams in its hub.

``import skill_bench.s3prl`` does two things, once:

1. :func:`skill_bench.s3prl.compat.apply` provides the names that torchaudio, huggingface_hub and unmaintained packages
   no longer have, so that s3prl's hub, ``S3PRLUpstream`` and all SUPERB downstream experts import and work;
2. :func:`skill_bench.s3prl.registry.register` makes every folder of ``upstreams/`` an entry of ``s3prl.hub``, as soon
   as that is imported::

    import skill_bench.s3prl
    from s3prl import hub
    from s3prl.nn import S3PRLUpstream

    hub.skill(), S3PRLUpstream("skill", path_or_url="student.safetensors")

``python -m skill_bench.s3prl MODULE …`` is s3prl's own command line after this import. Child processes find s3prl in
the same state. s3prl's hub takes seconds: it imports thirty models. Of skill-bench only ``bench`` imports this package.
"""

from __future__ import annotations

from skill_bench.s3prl.after_import import after_import
from skill_bench.s3prl.compat import apply
from skill_bench.s3prl.registry import register

apply()
after_import("s3prl.hub", register)

__all__ = ["apply", "register"]
