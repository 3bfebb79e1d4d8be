"""JSON Lines, plain or gzipped, from strangers: by the line or by blocks of whole lines.

However long a line is and wherever a file breaks off, memory is bounded and what came before is read.
"""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipeline.model.errors import RowError
from pipeline.model.rows import ROW_BYTES_MAX, decode_json
from pipeline.ports import RawRow

BLOCK_BYTES = 1 << 20
_BROKEN = (EOFError, zlib.error, gzip.BadGzipFile)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Whole lines, the number of the first of them, and why the file ends here, if it breaks off."""

    data: bytes
    line: int
    error: RowError | None = None


def json_rows(path: Path, name: str) -> Iterator[RawRow]:
    """Decode a file line by line."""
    with _open(path) as file:
        number = 0
        while True:
            number += 1
            try:
                line = file.readline(ROW_BYTES_MAX + 1)
                _skip_rest(file, line)
            except _BROKEN as error:
                yield RawRow(file=name, line=number, raw="", error=_cut_short(error))
                return
            if not line:
                return
            if line.strip():
                yield json_row(line, name, number)


def json_row(line: bytes, name: str, number: int) -> RawRow:
    """Decode one line; a line that is no JSON becomes a row that carries its error."""
    raw = line.decode("utf-8", "replace").rstrip("\r\n").replace("\x00", "\\u0000")
    try:
        return RawRow(file=name, line=number, raw=raw, value=decode_json(line))
    except RowError as error:
        return RawRow(file=name, line=number, raw=raw[:65536], error=error)


def blocks(path: Path) -> Iterator[Block]:
    """Cut a file into blocks of about ``BLOCK_BYTES``, each of whole lines."""
    number = 1
    with _open(path) as file:
        while True:
            data, error = _block(file)
            if data or error:
                yield Block(data=data, line=number, error=error)
            if not data or error:
                return
            number += data.count(b"\n")


def _block(file: IO[bytes]) -> tuple[bytes, RowError | None]:
    parts: list[bytes] = []
    size = 0
    try:
        while size < BLOCK_BYTES:
            part = file.read1(BLOCK_BYTES)  # type: ignore[attr-defined]
            if not part:
                break
            parts.append(part)
            size += len(part)
        if parts and not parts[-1].endswith(b"\n"):
            rest = file.readline(ROW_BYTES_MAX + 1)
            parts.append(rest)
            _skip_rest(file, rest)
    except _BROKEN as error:
        return b"".join(parts), _cut_short(error)
    return b"".join(parts), None


def _skip_rest(file: IO[bytes], line: bytes) -> None:
    """Pass over what remains of a line that is longer than any row may be."""
    while len(line) > ROW_BYTES_MAX and not line.endswith(b"\n"):
        rest = file.readline(ROW_BYTES_MAX)
        if not rest or rest.endswith(b"\n"):
            return


def _cut_short(error: BaseException) -> RowError:
    return RowError("row.bad_gzip", str(error))


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb")  # type: ignore[return-value]
