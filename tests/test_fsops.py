from __future__ import annotations

import os
import threading
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modhub import fsops
from modhub.errors import FormatError, InvalidName, NotFound, StorageError


def names_in(folder: Path) -> list[str]:
    """Return everything in a folder, hidden names too."""
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("text", ["a", "a/b.c", "cat/1.0.0/model.onnx", "1.0.0rc1/x_y-z", "_x"])
def test_a_plain_relative_path_is_taken_as_it_is(text: str) -> None:
    assert fsops.relative_path(text) == PurePosixPath(text)


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "..", "/", "/etc/passwd", "a/../b", "../a", "a//b", "a/", "./a", "a/./b", "~/a", ".hidden", "a/.git/b",
        "C:\\a", "C:a", "a\\b", "\\\\host\\share", "a\0b", "a\nb", "a b", "con", "a/NUL.txt", "com1", "a/b.", "a/b ",
        "ä", "a/\u202eb", "a" * 300, "a:b", "a?b", "a*",
    ],
)  # fmt: skip
def test_a_path_that_could_leave_its_folder_or_mean_something_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        fsops.relative_path(text)


@given(st.text(max_size=30))
def test_an_accepted_path_stays_inside_on_every_system(text: str) -> None:
    try:
        path = fsops.relative_path(text)
    except InvalidName:
        return
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert os.path.normpath(text) == text


def test_a_file_is_read_once_and_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert fsops.read_file(path, limit=5) == b"12345"
    with pytest.raises(FormatError, match="more than the limit of 4 bytes"):
        fsops.read_file(path, limit=4)


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "absent", tmp_path / "absent" / "file", tmp_path / "file" / "below"):
        with pytest.raises(NotFound, match=str(path)):
            fsops.read_file(path, limit=1)
        with pytest.raises(NotFound, match=str(path)):
            fsops.list_folder(path)


def test_links_folders_pipes_and_devices_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"x")
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "link", tmp_path / "folder", tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(FormatError, match="regular file"):
            fsops.read_file(path, limit=10)


def test_a_folder_lists_its_names_without_the_hidden_ones(tmp_path: Path) -> None:
    for name in ("b", "a", ".hidden", f"{fsops.TEMPORARY}1"):
        (tmp_path / name).write_bytes(b"")
    assert fsops.list_folder(tmp_path) == ("a", "b")


def test_a_new_file_appears_once_and_leaves_no_other_trace(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert fsops.write_if_absent(path, b"first")
    assert not fsops.write_if_absent(path, b"second")
    with pytest.raises(StorageError, match="it exists already"):
        fsops.write_new(path, b"third")
    assert path.read_bytes() == b"first"
    assert path.stat().st_nlink == 1
    assert names_in(tmp_path) == ["file"]


def test_of_many_writers_of_one_new_file_one_wins(tmp_path: Path) -> None:
    wins: list[bytes] = []

    def write(data: bytes) -> None:
        if fsops.write_if_absent(tmp_path / "file", data):
            wins.append(data)

    threads = [threading.Thread(target=write, args=(str(number).encode(),)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wins == [(tmp_path / "file").read_bytes()]
    assert names_in(tmp_path) == ["file"]


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("w") as held_open:
        held_open.write("old")
    with path.open("rb") as held_open_too:
        fsops.replace_file(path, b"new")
        assert held_open_too.read() == b"old"
    assert path.read_bytes() == b"new"
    assert names_in(tmp_path) == ["file"]


def test_files_have_the_permissions_that_the_user_chose(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        fsops.write_new(tmp_path / "file", b"")
        fsops.write_folder(tmp_path / "folder", {"file": b""})
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "target"
    fsops.write_folder(target, {"a.txt": b"a", "b/c/d.txt": b"d", "b/e.txt": b""})
    assert (target / "b" / "c" / "d.txt").read_bytes() == b"d"
    assert names_in(target) == ["a.txt", "b"]
    assert names_in(target.parent) == ["target"]


def test_an_empty_folder_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "target").mkdir()
    fsops.write_folder(tmp_path / "target", {"a": b"a"})
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    fsops.write_folder(Path(), {"a": b"a"})
    assert names_in(tmp_path / "target") == names_in(tmp_path / "other") == ["a"]


@pytest.mark.parametrize("make", ["file", "folder", "link"])
def test_an_occupied_target_is_refused_and_left_alone(tmp_path: Path, make: str) -> None:
    target = tmp_path / "target"
    if make == "file":
        target.write_bytes(b"mine")
    elif make == "link":
        target.symlink_to(tmp_path)
    else:
        target.mkdir()
        (target / "mine").write_bytes(b"mine")
    with pytest.raises(StorageError, match=r"target: (it|the folder) exists and is not"):
        fsops.write_folder(target, {"a": b"a"})
    assert names_in(tmp_path) == ["target"]


@pytest.mark.parametrize("path", ["../evil", "/evil", "a/../../evil", "con", ".hidden/evil"])
def test_a_folder_is_not_left(tmp_path: Path, path: str) -> None:
    with pytest.raises(InvalidName):
        fsops.write_folder(tmp_path / "target", {"good": b"", path: b""})
    assert names_in(tmp_path) == []


def test_two_files_that_differ_in_case_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidName, match="one file where case is ignored"):
        fsops.write_folder(tmp_path / "target", {"a/Model.onnx": b"", "a/model.onnx": b""})


def test_a_file_that_is_also_a_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot write .*target: "):
        fsops.write_folder(tmp_path / "target", {"a": b"", "a/b": b""})
    assert names_in(tmp_path) == []


def test_a_folder_moves_once(tmp_path: Path) -> None:
    fsops.write_folder(tmp_path / "source", {"a": b"a"})
    fsops.write_folder(tmp_path / "taken", {"b": b"b"})
    assert not fsops.move_folder(tmp_path / "source", tmp_path / "taken")
    assert fsops.move_folder(tmp_path / "source", tmp_path / "new" / "target")
    assert not fsops.move_folder(tmp_path / "source", tmp_path / "new" / "target2")
    assert names_in(tmp_path / "new") == ["target"]
    assert names_in(tmp_path / "taken") == ["b"]


def test_making_a_folder_twice_is_fine_but_not_over_a_file(tmp_path: Path) -> None:
    fsops.make_folder(tmp_path / "a" / "b" / "c")
    fsops.make_folder(tmp_path / "a" / "b" / "c")
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StorageError, match=r"cannot make folder .*: (not a directory|file exists)"):
            fsops.make_folder(path)


def test_removing_takes_files_and_folders_but_not_what_links_point_to(tmp_path: Path) -> None:
    fsops.write_folder(tmp_path / "folder", {"a/b": b""})
    fsops.write_folder(tmp_path / "kept", {"a": b""})
    (tmp_path / "link").symlink_to("kept")
    (tmp_path / "file").write_bytes(b"")
    for name in ("folder", "link", "file", "absent"):
        fsops.remove(tmp_path / name)
    assert names_in(tmp_path) == ["kept"]
    assert names_in(tmp_path / "kept") == ["a"]


def test_only_an_empty_folder_is_removed_as_one(tmp_path: Path) -> None:
    fsops.write_folder(tmp_path / "full", {"a": b""})
    (tmp_path / "empty").mkdir()
    for name in ("full", "empty", "absent"):
        fsops.remove_empty_folder(tmp_path / name)
    assert names_in(tmp_path) == ["full"]


def test_leftovers_are_removed_when_they_are_old(tmp_path: Path) -> None:
    for name in (f"{fsops.TEMPORARY}old", f"{fsops.TEMPORARY}new", "kept"):
        fsops.write_folder(tmp_path / "deep" / name, {"a": b""})
    os.utime(tmp_path / "deep" / f"{fsops.TEMPORARY}old", (0, 0))
    os.utime(tmp_path / "deep" / "kept", (0, 0))
    assert fsops.remove_leftovers(tmp_path, older_than_s=3600) == 1
    assert names_in(tmp_path / "deep") == [f"{fsops.TEMPORARY}new", "kept"]


def test_a_lock_is_held_by_one_and_waited_for_only_so_long(tmp_path: Path) -> None:
    order = []
    with fsops.locked(tmp_path / "lock", patience_s=10):
        with fsops.locked(tmp_path / "lock", patience_s=0.01):
            order.append("went on without the lock")
        waiter = threading.Thread(target=lambda: order.append(hold(tmp_path / "lock")))
        waiter.start()
        order.append("still alone")
    waiter.join()
    assert order == ["went on without the lock", "still alone", "got the lock"]


def hold(path: Path) -> str:
    """Wait for a lock, and hold it."""
    with fsops.locked(path, patience_s=60):
        return "got the lock"


def test_where_there_can_be_no_lock_work_goes_on(tmp_path: Path) -> None:
    with fsops.locked(tmp_path / "absent" / "lock", patience_s=0):
        pass
