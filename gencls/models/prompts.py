"""Whether a model can read the prompts that it is asked with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from torch import Tensor

from gencls.errors import GenclsError


def told_apart(prompts: Sequence[str], read: Iterable[Iterable[Tensor]], name: str) -> None:
    """GenclsError where two prompts are one and the same to the model, so that it could not tell their classes apart.

    read : what the model makes of each prompt: tokens or embeddings. They are the same where a class stands behind the last word that a model reads, or
    consists of words that it does not know.
    """
    first: dict[bytes, str] = {}
    for prompt, parts in zip(prompts, read, strict=True):
        bits = b"".join(part.cpu().float().numpy().tobytes() for part in parts)
        other = first.setdefault(hashlib.sha256(bits).digest(), prompt)
        if other != prompt:
            raise GenclsError(
                f"{name} reads {_end(other)!r} and {_end(prompt)!r} alike; shorten the prompt, or name classes whose words it knows"
            )


def _end(prompt: str, most: int = 60) -> str:
    return prompt if len(prompt) <= most else "… " + prompt[-most:]
