"""Files that are too large to hold: read, copied and grown in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from modhub import fsops
from modhub.errors import FormatError, IntegrityError, NotFound, StorageError
from modhub.fsops import LocalFile, MappedFile
from modhub.spec.digests import sha256

if TYPE_CHECKING:
    from pathlib import Path

DATA = bytes(range(256)) * 10_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return path


def local(path: Path, data: bytes = DATA) -> LocalFile:
    return LocalFile(path=path, size=len(data), sha256=sha256(data))


def test_a_file_is_read_in_pieces_from_any_position(file: Path) -> None:
    for start in (0, 1, len(DATA) - 1, len(DATA)):
        pieces = list(fsops.read_chunks(file, limit=len(DATA), start=start))
        assert b"".join(pieces) == DATA[start:]
        assert all(len(piece) <= fsops.CHUNK_BYTES for piece in pieces)


def test_no_more_is_read_than_is_there_and_allowed(file: Path, tmp_path: Path) -> None:
    for limit, start in ((len(DATA) - 1, 0), (2 * len(DATA), len(DATA) + 1)):
        with pytest.raises(FormatError, match="holds 2,560,000 bytes, not"):
            list(fsops.read_chunks(file, limit=limit, start=start))
    with pytest.raises(NotFound):
        list(fsops.read_chunks(tmp_path / "none", limit=1))
    assert (fsops.file_size(file), fsops.file_size(tmp_path / "none"), fsops.file_size(tmp_path)) == (len(DATA), 0, 0)


def test_a_local_file_is_copied_into_a_folder(file: Path, tmp_path: Path) -> None:
    fsops.write_folder(tmp_path / "copy", {"a/large": local(file), "small": b"small"})
    assert (tmp_path / "copy" / "a" / "large").read_bytes() == DATA
    assert len(local(file)) == len(DATA)


@pytest.mark.parametrize("change", [DATA[:-1] + b"!", DATA[:-1], DATA + b"!", b""])
def test_a_local_file_that_was_changed_is_not_copied(file: Path, tmp_path: Path, change: bytes) -> None:
    found = local(file)
    file.write_bytes(change)
    with pytest.raises((IntegrityError, FormatError)):
        fsops.write_folder(tmp_path / "copy", {"large": found})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_a_file_grows_over_several_tries_and_then_gets_its_name(tmp_path: Path) -> None:
    partial = tmp_path / "partial"

    def fail_halfway() -> None:
        with fsops.appending(partial) as file:
            file.write(DATA[:1000])
            raise NotFound("the connection is gone")

    with pytest.raises(NotFound):
        fail_halfway()
    with fsops.appending(partial) as file:
        file.write(DATA[1000:])
    fsops.replace_by(tmp_path / "final", partial)
    assert (tmp_path / "final").read_bytes() == DATA
    assert not partial.exists()
    with pytest.raises(StorageError, match="cannot write"):
        fsops.replace_by(tmp_path / "final", partial)


def test_a_file_that_is_written_in_pieces_is_there_whole_or_not_at_all(file: Path, tmp_path: Path) -> None:
    def fail_halfway() -> None:
        with fsops.replacing(file) as opened:
            opened.write(b"half")
            raise NotFound("the source is gone")

    with pytest.raises(NotFound):
        fail_halfway()
    assert file.read_bytes() == DATA
    with fsops.replacing(file) as opened:
        opened.write(b"all")
    assert file.read_bytes() == b"all"
    assert list(tmp_path.iterdir()) == [file]


def test_a_private_file_is_its_owners_only(tmp_path: Path) -> None:
    for _ in range(2):
        fsops.replace_file(tmp_path / "secret", b"token", private=True)
        assert (tmp_path / "secret").stat().st_mode & 0o077 == 0
    assert (tmp_path / "secret").read_bytes() == b"token"


def test_a_local_file_is_read_whole_where_its_bytes_are_needed(file: Path) -> None:
    assert local(file).data() == DATA
    assert fsops.bytes_of(local(file)) == DATA
    assert local(file).digest() == sha256(DATA)


@pytest.mark.parametrize("change", [DATA[:-1] + b"!", DATA[:-1], DATA + b"!", b""])
def test_a_local_file_that_was_changed_is_not_read(file: Path, change: bytes) -> None:
    found = local(file)
    file.write_bytes(change)
    with pytest.raises((IntegrityError, FormatError)):
        found.data()


def test_a_file_that_stays_where_it_is_has_to_be_a_file_of_some_size(file: Path, tmp_path: Path) -> None:
    assert fsops.local_file(file, limit=len(DATA), sha256=sha256(DATA)) == local(file)
    with pytest.raises(FormatError, match="more than the limit"):
        fsops.local_file(file, limit=len(DATA) - 1, sha256="")
    with pytest.raises(FormatError, match="not a regular file"):
        fsops.local_file(tmp_path, limit=1, sha256="")
    with pytest.raises(NotFound):
        fsops.local_file(tmp_path / "none", limit=1, sha256="")


def test_a_mapped_file_shows_what_lies_on_the_disk(file: Path, tmp_path: Path) -> None:
    mapped = MappedFile(path=file, size=len(DATA), sha256=sha256(DATA))
    assert mapped.data() == DATA
    (tmp_path / "empty").touch()
    with pytest.raises(FormatError, match="empty"):
        MappedFile(path=tmp_path / "empty", size=0, sha256="").data()
    with pytest.raises(NotFound):
        MappedFile(path=tmp_path / "none", size=0, sha256="").data()
