"""What libraries raise over bad bytes, and the typed errors that it becomes."""

import struct
import zipfile
import zlib
from typing import Final

from pipeline.model.errors import ContentError

BAD_BYTES: Final[tuple[type[Exception], ...]] = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""Raised by Pillow, zipfile, lxml, pypdf and python-docx over hostile files, as seen under mutation.

``MemoryError`` is not among them: it means that a limit was met, and is answered as one.
"""


def unreadable(why: str) -> ContentError:
    """The file cannot be decoded: it is broken, cut short or protected."""
    return ContentError("blob.unreadable", why)


def too_large(why: str) -> ContentError:
    """The file, or what it unpacks to, is beyond a limit."""
    return ContentError("blob.too_large", why)


def wrong_type(why: str) -> ContentError:
    """The bytes are not of the kind that was claimed or asked for."""
    return ContentError("blob.wrong_type", why)
