"""Files are whole or absent, and a writer that ends early leaves nothing behind."""

import errno
import os
from pathlib import Path

import pytest

from pipeline.model.errors import StoreError
from pipeline.stores import files


class Killed(BaseException):
    """Stands for a process that ends in the middle."""


def test_a_writer_killed_before_the_name_is_given_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(files, "_link", killed)
    with pytest.raises(Killed):
        files.write_once(tmp_path / "a" / "name", b"bytes")
    assert not list((tmp_path / "a").iterdir())


def test_a_file_written_once_is_whole_and_a_second_writer_changes_nothing(tmp_path: Path) -> None:
    for data in (b"first", b"second"):
        files.write_once(tmp_path / "name", data)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"name": b"first"}


def test_without_unnamed_files_a_temporary_name_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = os.open

    def refuses(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "not supported")
        return plain(path, flags, mode)

    monkeypatch.setattr(os, "open", refuses)
    files.write_once(tmp_path / "name", b"bytes")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"name": b"bytes"}


def test_a_full_disk_has_a_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError) as told:
        files.write_once(tmp_path / "name", b"bytes")
    assert told.value.code == "store.write_failed"
    assert not list(tmp_path.iterdir())
