"""The same answers without a child: for tests and for bytes that are trusted already."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.decode import looking, shapes
from pipeline.decode.limits import DEFAULT, Limits
from pipeline.model.errors import ContentError
from pipeline.ports import Document, Picture, Probe


@contextmanager
def _quietly() -> Iterator[None]:
    """Libraries warn of what the limits already decide."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class InlineDecoder:
    """``Decoder`` in this very process: no limits on memory and time, the same typed errors."""

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self._limits = limits

    def probe(self, data: bytes, claim: str | None = None) -> Probe:
        """Decide the media type from the bytes and check that they can be decoded."""
        with _quietly():
            found = looking.probe(data, claim, self._limits)
        if isinstance(found, str):
            return Probe(media_type=found)
        return Probe(
            media_type=found.media_type,
            width=found.width,
            height=found.height,
            frame_count=found.frame_count,
        )

    def pictures(
        self, data: bytes, *, side_max: int, frames_max: int = 8, grey: bool = False
    ) -> tuple[Picture, ...]:
        """Decode at a reduced scale whose longer side is at most ``side_max`` pixels."""
        shapes.check_ask(side_max, frames_max, self._limits)
        with _quietly():
            shown = looking.pictures(
                data, self._limits, side_max=side_max, frames_max=frames_max, grey=grey
            )
        return tuple(
            shapes.picture(f.pixels, f.width, f.height, f.scale, f.frame_index, grey=grey)
            for f in shown
        )

    def document(self, data: bytes, media_type: str) -> Document:
        """Extract the text and embedded pictures; ``media_type`` is a claim, the bytes decide."""
        try:
            with _quietly():
                read = looking.document(data, self._limits)
        except RecursionError as error:
            raise ContentError("blob.unreadable", "nested too deeply") from error
        return Document(pages=read.pages, pictures=read.pictures)
