from __future__ import annotations

import io
import json
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from modhub.datasets import Dataset, load_dataset
from modhub.datasets.images import MOSAIC_FORMAT, PIXEL_LIMIT, decode_image, read_mosaic
from modhub.errors import InvalidData, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SIDECAR = {"format": MOSAIC_FORMAT, "tile": [2, 3], "columns": 2, "classes": ["cat", "dog"], "labels": [0, 1, 1]}


@pytest.fixture(scope="module")
def tiny() -> Dataset:
    return load_dataset("sample:cifar10-test", limit=30)


def write_folders(root: Path, data: Dataset) -> None:
    """Write a data set as a folder of class folders."""
    assert data.classes is not None
    for index, (pixels, label) in enumerate(zip(data.values, data.labels, strict=True)):
        folder = root / data.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.transpose(1, 2, 0)).save(folder / f"{index:03}.png")


def write_image(path: Path, *, mode: str = "RGB", size: tuple[int, int] = (4, 3)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, 1).save(path)
    return path


def encoded(pixels: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def problem(path: Path) -> str:
    with pytest.raises(InvalidData) as caught:
        load_dataset(path)
    return str(caught.value)


def names(folders: Iterable[str], root: Path) -> tuple[str, ...] | None:
    for name in folders:
        write_image(root / name / "a.png")
    return load_dataset(root).classes


def test_class_folders_give_back_the_images_class_by_class(tmp_path: Path, tiny: Dataset) -> None:
    write_folders(tmp_path / "pets", tiny)
    data = load_dataset(tmp_path / "pets")
    order = np.argsort(tiny.labels, kind="stable")
    assert data.name == "pets"
    assert data.sha256 == tiny.pick(order).sha256


def test_a_limit_takes_the_first_of_each_class_and_opens_no_other(tmp_path: Path, tiny: Dataset) -> None:
    write_folders(tmp_path, tiny)
    for folder in tmp_path.iterdir():
        (folder / "zzz.png").write_bytes(b"never looked at")
    data = load_dataset(tmp_path, limit=20)
    assert np.bincount(data.labels).tolist() == [2] * 10
    with pytest.raises(InvalidData):
        load_dataset(tmp_path)


def test_numbered_folders_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    assert names(["0", "1", "2", "10", "11"], tmp_path) == ("0", "1", "2", "10", "11")


def test_named_folders_are_in_the_order_of_their_names(tmp_path: Path) -> None:
    assert names(["dog", "cat", "10", "9"], tmp_path) == ("10", "9", "cat", "dog")


def test_hidden_entries_and_other_files_are_passed_over(tmp_path: Path) -> None:
    write_image(tmp_path / "cat" / "a.png")
    write_image(tmp_path / ".cache" / "a.png")
    write_image(tmp_path / "cat" / ".a.png", size=(9, 9))
    (tmp_path / "cat" / "notes.txt").write_text("nothing", encoding="utf-8")
    data = load_dataset(tmp_path)
    assert (len(data), data.classes) == (1, ("cat",))


def test_images_without_folders_are_unlabelled_samples_in_the_order_of_their_names(tmp_path: Path) -> None:
    write_image(tmp_path / "b.png", mode="L")
    Image.new("L", (4, 3), 7).save(tmp_path / "a.bmp")
    data = load_dataset(tmp_path)
    assert (data.y, data.classes) == (None, None)
    assert data.values[:, 0, 0, 0].tolist() == [7, 1]


def test_one_image_is_one_sample(tmp_path: Path) -> None:
    data = load_dataset(write_image(tmp_path / "cat.png"))
    assert (len(data), data.shape, data.name, data.y) == (1, (3, 3, 4), "cat", None)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".bmp", ".PNG"])
def test_the_usual_forms_are_read(tmp_path: Path, suffix: str) -> None:
    assert load_dataset(write_image(tmp_path / f"a{suffix}")).shape == (3, 3, 4)


@pytest.mark.parametrize(("mode", "channels"), [("1", 1), ("L", 1), ("LA", 3), ("P", 3), ("RGB", 3), ("RGBA", 3)])
def test_an_image_is_grey_or_in_colour(tmp_path: Path, mode: str, channels: int) -> None:
    assert load_dataset(write_image(tmp_path / "a.png", mode=mode)).shape == (channels, 3, 4)


def test_grey_images_among_coloured_ones_become_coloured(tmp_path: Path) -> None:
    write_image(tmp_path / "a" / "a.png", mode="L")
    write_image(tmp_path / "b" / "a.png", mode="RGB")
    data = load_dataset(tmp_path)
    assert data.shape == (3, 3, 4)
    assert data.values[0].min() == data.values[0].max() == 1


def test_deep_pixels_are_refused_rather_than_clipped(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", mode="I;16")
    assert problem(path) == f"{path}: pixels of kind I;16 are not the usual 8 bits a channel"


def test_images_of_different_sizes_are_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "a" / "a.png")
    other = write_image(tmp_path / "b" / "a.png", size=(5, 6))
    assert problem(tmp_path) == (f"{other}: images differ in size, 4x3 and 5x6: resize them to what the network takes")


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    write_image(tmp_path / "cat" / "a.png")
    broken = tmp_path / "cat" / "b.png"
    broken.write_bytes((tmp_path / "cat" / "a.png").read_bytes()[:50])
    assert problem(tmp_path).startswith(f"{broken}: not a readable image: ")


def test_only_the_usual_decoders_see_the_bytes() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3)).save(buffer, "TIFF")
    with pytest.raises(InvalidData, match="not a readable image"):
        decode_image(buffer.getvalue())


def test_an_image_beyond_the_limit_is_refused_undecoded() -> None:
    side = int(PIXEL_LIMIT**0.5)
    content = bytearray(encoded(np.zeros((1, 1), np.uint8)))
    content[16:24] = (side + 1).to_bytes(4, "big") + side.to_bytes(4, "big")
    # The checksum of the changed header no longer holds, which the decoder would be the next to say.
    with pytest.raises(InvalidData):
        decode_image(bytes(content))
    with pytest.raises(InvalidData, match=r"^8193x8192 pixels are more than 67,108,864$"):
        decode_image(checked(content))


def checked(content: bytearray) -> bytes:
    """Return a PNG file with the checksum of its header put right."""
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


def test_folders_without_images_are_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no image in this folder"):
        load_dataset(tmp_path)
    write_image(tmp_path / "cat" / "a.png")
    (tmp_path / "dog").mkdir()
    with pytest.raises(NotFound, match=r"dog: no image in this folder: expected \.png, "):
        load_dataset(tmp_path)


def mosaic() -> npt.NDArray[np.uint8]:
    """Return two rows of two tiles, two pixels high and three wide, each of one colour."""
    tiles = np.array([[10, 20], [30, 40]], np.uint8)
    return tiles.repeat(2, axis=0).repeat(3, axis=1)[:, :, None].repeat(3, axis=2)


def test_a_mosaic_is_cut_row_by_row() -> None:
    data = read_mosaic(encoded(mosaic()), sidecar=json.dumps(SIDECAR).encode(), name="pets")
    assert (data.shape, data.classes, data.labels.tolist()) == ((3, 2, 3), ("cat", "dog"), [0, 1, 1])
    assert [np.unique(tile).tolist() for tile in data.values] == [[10], [20], [30]]


def test_a_grey_mosaic_has_one_channel() -> None:
    data = read_mosaic(encoded(mosaic()[:, :, 0]), sidecar=json.dumps(SIDECAR).encode(), name="pets")
    assert data.shape == (1, 2, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "modhub/mosaic@2"}, f"format: the .json file beside the image is no {MOSAIC_FORMAT!r}"),
        ({"tile": [2]}, "tile: expected [height, width] in pixels, got [2]"),
        ({"tile": None}, "tile: expected [height, width] in pixels, got None"),
        ({"tile": [2, 0]}, "tile[1]: expected a positive whole number, got 0"),
        ({"tile": [2, 2]}, "tile: 6x4 pixels do not hold 3 tiles of 2x2, 2 a row"),
        ({"tile": [3, 3]}, "tile: 6x4 pixels do not hold 3 tiles of 3x3, 2 a row"),
        ({"columns": True}, "columns: expected a positive whole number, got True"),
        ({"labels": [0] * 5}, "tile: 6x4 pixels do not hold 5 tiles of 3x2, 2 a row"),
        ({"labels": [0, 1, "1"]}, "labels: expected a list of whole numbers"),
        ({"labels": [0, 1, 2]}, "y[2]: label 2 stands for no class: expected 0 to 1"),
        ({"labels": []}, "x: shape [0, 3, 2, 3] holds nothing"),
        ({"classes": "cat"}, "classes: expected a list of names"),
        ({"classes": ["cat", 2]}, "classes[1]: expected a name, got 2"),
    ],
)
def test_a_mosaic_that_is_not_as_described_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    image = tmp_path / "pets.png"
    image.write_bytes(encoded(mosaic()))
    image.with_suffix(".json").write_text(json.dumps(SIDECAR | changes), encoding="utf-8")
    assert problem(image) == f"{image}: {message}"


def test_a_broken_description_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "pets.png"
    image.write_bytes(encoded(mosaic()))
    image.with_suffix(".json").write_text('{"format": "modhub/mosaic@1",', encoding="utf-8")
    assert problem(image).startswith(f"{image}: the .json file beside the image is not JSON: ")


def test_any_other_json_beside_an_image_means_nothing(tmp_path: Path) -> None:
    path = write_image(tmp_path / "cat.png")
    path.with_suffix(".json").write_text('{"camera": "old"}', encoding="utf-8")
    assert len(load_dataset(path)) == 1
