"""The three questions of the ``Decoder`` port, answered in this process: the child's own work.

It imports neither polars nor numpy: the child starts in a tenth of a second and stays small.
"""

from pipeline.decode import polyglot
from pipeline.decode.documents import Contents, probe_document, read_document
from pipeline.decode.faults import too_large, wrong_type
from pipeline.decode.images import Facts, Frame, decode_picture, probe_picture
from pipeline.decode.limits import Limits
from pipeline.decode.sniff import DECODABLE, media_type
from pipeline.model.errors import ContentError


def probe(data: bytes, claim: str | None, limits: Limits) -> Facts | str:
    """Say what the bytes are: the facts of a picture, or the media type of anything else.

    Raises ``blob.wrong_type`` where something that is no picture is claimed to be one; that one
    picture format is claimed to be another is no error.
    """
    check_size(data, limits)
    kind = media_type(data)
    if kind in DECODABLE:
        return probe_picture(data, limits)
    if claim and claim.strip().lower().startswith("image/") and not kind.startswith("image/"):
        raise wrong_type(f"{kind} was called {claim}")
    behind = polyglot.second_file(data, kind) if kind == "application/pdf" else None
    if behind:
        raise ContentError("blob.polyglot", f"a {behind} file hides behind {kind}")
    probe_document(data, kind, limits)
    return kind


def pictures(
    data: bytes, limits: Limits, *, side_max: int, frames_max: int, grey: bool = False
) -> tuple[Frame, ...]:
    """Decode frames of a picture, at most ``side_max`` pixels on the longer side."""
    check_size(data, limits)
    return decode_picture(data, limits, side_max=side_max, frames_max=frames_max, grey=grey)


def document(data: bytes, limits: Limits) -> Contents:
    """Extract the text and pictures of a document."""
    check_size(data, limits)
    return read_document(data, limits)


def check_size(data: bytes, limits: Limits) -> None:
    """Raise ``blob.empty`` or ``blob.too_large`` by the number of bytes alone."""
    if not data:
        raise ContentError("blob.empty", "the file has no bytes")
    if len(data) > limits.bytes_max:
        raise too_large(f"{len(data)} bytes are more than {limits.bytes_max}")
