"""Looking into bytes from strangers: in a pooled child process, with limits on size, time and memory.

``open_decoder`` gives the ``Decoder`` of the port. What can be known from the bytes is in ``sniff``,
``polyglot``, ``images`` and ``documents``, which import neither polars nor numpy: the child runs them.
"""

from typing import TYPE_CHECKING

from pipeline.decode.limits import DEFAULT, Limits

if TYPE_CHECKING:
    from pipeline.decode.pool import PooledDecoder

__all__ = ["Limits", "open_decoder"]


def open_decoder(limits: Limits = DEFAULT) -> "PooledDecoder":
    """Open a decoder; its child starts with the first question. Use it as a context manager."""
    from pipeline.decode.pool import PooledDecoder  # imports polars, which the child must not pay

    return PooledDecoder(limits)
