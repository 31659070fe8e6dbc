from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from modhub.datasets import load_dataset
from modhub.errors import InvalidData, NotFound, StorageError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_path_may_be_text_and_start_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 2)))
    assert (
        load_dataset("~/a.npz").sha256
        == load_dataset(tmp_path / "a.npz").sha256
        == load_dataset(str(tmp_path / "a.npz")).sha256
    )


def test_the_tests_own_mosaic_is_sixty_images(data_folder: Path) -> None:
    data = load_dataset(data_folder / "cifar10-tiny.webp")
    assert np.bincount(data.labels).tolist() == [6] * 10
    assert data.sha256 == load_dataset("sample:cifar10-test").take(60).sha256


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_of_nothing_is_a_wrong_call(limit: int) -> None:
    with pytest.raises(UsageError, match="load one sample or more"):
        load_dataset("sample:cifar10-test", limit=limit)


def test_a_limit_beyond_the_end_takes_all(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 2)))
    assert [len(load_dataset(tmp_path / "a.npz", limit=limit)) for limit in (2, 3, 4)] == [2, 3, 3]


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nowhere\.npz: no such file or folder$"):
        load_dataset(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("name", ["a.pt", "a.pkl", "a", "a.npy"])
def test_a_kind_that_is_not_read_is_a_wrong_call(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x04N.")
    with pytest.raises(UsageError, match=r"cannot read .* files: expected a folder, \.npz, \.safetensors, \.csv"):
        load_dataset(tmp_path / name)


def test_a_name_that_no_system_takes_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises((StorageError, NotFound)):
        load_dataset(tmp_path / ("a" * 5000))


def test_an_error_names_the_file_once(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros((3, 2)), y=np.zeros(2, int))
    with pytest.raises(InvalidData) as caught:
        load_dataset(path)
    assert str(caught.value) == f"{path}: y: shape [2] does not label 3 samples one by one"
    assert (caught.value.file, caught.value.where) == (str(path), "y")
