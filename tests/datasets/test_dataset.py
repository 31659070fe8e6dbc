from __future__ import annotations

import dataclasses
import hashlib
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modhub.datasets import Dataset
from modhub.errors import InvalidData, UsageError
from modhub.spec.ports import InputPort

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(lambda labels: np.array(labels, np.int64))
PETS = ("cat", "dog", "horse")


def numbered(labels: npt.NDArray[np.int64], *, classes: tuple[str, ...] | None = None) -> Dataset:
    """Return a set whose samples are recognisable: each holds its own position."""
    positions = np.arange(len(labels), dtype=np.int64)[:, None]
    return Dataset.of(positions, y=labels, classes=classes, name="numbered")


def positions(data: Dataset) -> list[int]:
    """Return which samples of a `numbered` set these are."""
    return [int(position) for position in data.x[:, 0]]


def pets(*, count: int = 12) -> Dataset:
    return numbered(np.arange(count, dtype=np.int64) % 3, classes=PETS)


def gray(count: int = 4) -> npt.NDArray[np.uint8]:
    return np.arange(count * 4, dtype=np.uint8).reshape(count, 1, 2, 2)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 3, 8, 6), (3, 8, 6)),
        ((5, 1, 8, 6), (1, 8, 6)),
        ((5, 8, 6, 3), (3, 8, 6)),
        ((5, 8, 6, 1), (1, 8, 6)),
        ((5, 8, 6), (1, 8, 6)),
        ((5, 3, 8, 3), (3, 8, 3)),
        ((5, 8, 6, 4), (8, 6, 4)),
        ((5, 7), (7,)),
    ],
)
def test_uint8_images_become_nchw_where_they_cannot_be_so_already(
    shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert Dataset.of(np.zeros(shape, np.uint8)).shape == expected


def test_moving_the_channels_moves_the_pixels() -> None:
    nchw = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    moved = Dataset.of(nchw.transpose(0, 2, 3, 1))
    assert np.array_equal(moved.values, nchw)
    assert moved.values.flags.c_contiguous


def test_floats_are_never_moved() -> None:
    assert Dataset.of(np.zeros((2, 8, 8, 3), np.float32)).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("given_type", "held", "taken"),
    [
        ("uint8", "uint8", "float32"),
        ("float16", "float32", "float32"),
        ("float64", "float32", "float32"),
        ("int32", "int64", "int64"),
        (">i2", "int64", "int64"),
        (">f4", "float32", "float32"),
    ],
)
def test_numbers_are_held_in_one_of_three_types(given_type: str, held: str, taken: str) -> None:
    data = Dataset.of(np.ones((2, 3), given_type))
    assert (data.values.dtype.name, data.dtype, data.x.dtype.name) == (held, taken, taken)
    assert data.values.dtype.isnative


def test_uint8_stands_for_zero_to_one() -> None:
    data = Dataset.of(np.array([[0, 51, 255]], np.uint8))
    assert data.x.tolist() == [[0.0, np.float32(0.2), 1.0]]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.array([[True]]), "x: cannot use bool values: expected uint8, floats or whole numbers"),
        (np.array([["a"]]), "x: cannot use <U1 values: expected uint8, floats or whole numbers"),
        (np.array([[{}]]), "x: cannot use object values: expected uint8, floats or whole numbers"),
        (np.zeros(3), "x: shape [3] is no batch of samples: expected two dimensions or more"),
        (np.zeros((0, 3)), "x: shape [0, 3] holds nothing"),
        (np.zeros((3, 0), np.uint8), "x: shape [3, 0] holds nothing"),
        (np.array([[0.0], [np.nan]]), "x[1]: not a finite 32-bit number"),
        (np.array([[0.0, 1e300]]), "x[0]: not a finite 32-bit number"),
    ],
)
def test_samples_that_no_network_takes_are_refused(x: npt.NDArray[Any], message: str) -> None:
    with pytest.raises(InvalidData) as caught:
        Dataset.of(x)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.array([0, 1]), "y: shape [2] does not label 4 samples one by one"),
        (np.zeros((4, 3)), "y: shape [4, 3] does not label 4 samples one by one"),
        (np.array([0.0, 1, 2, 1]), "y: cannot use float64 labels: expected whole numbers or names"),
        (np.array([0, 1, -1, 0]), "y[2]: label -1 stands for no class: expected 0 to 2"),
        (np.array([0, 1, 2, 3]), "y[3]: label 3 stands for no class: expected 0 to 2"),
        (np.array(["cat", "cow", "dog", "cat"]), "y[1]: 'cow' is none of the 3 classes"),
    ],
)
def test_labels_that_stand_for_no_class_are_refused(y: npt.NDArray[Any], message: str) -> None:
    with pytest.raises(InvalidData) as caught:
        Dataset.of(gray(), y=y, classes=PETS)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["cat", ""], "classes[1]: expected a name, got ''"),
        (["cat", "dog", "cat"], "classes[2]: 'cat' occurs twice"),
        (["cat", 7], "classes[1]: expected a name, got 7"),
    ],
)
def test_class_names_are_distinct_text(classes: list[Any], message: str) -> None:
    with pytest.raises(InvalidData) as caught:
        Dataset.of(gray(), classes=classes)
    assert str(caught.value) == message


def test_named_labels_make_the_classes_in_sorted_order() -> None:
    data = Dataset.of(gray(), y=np.array(["dog", "cat", "dog", "ape"]))
    assert data.classes == ("ape", "cat", "dog")
    assert data.labels.tolist() == [2, 1, 2, 0]


def test_a_column_of_labels_is_as_good_as_a_list() -> None:
    assert Dataset.of(gray(), y=np.array([[0], [1], [1], [0]])).labels.tolist() == [0, 1, 1, 0]


def test_without_labels_asking_for_them_is_an_error() -> None:
    data = Dataset.of(gray(), name="unknown")
    with pytest.raises(InvalidData, match=r"^unknown: y: the data has no labels$"):
        _ = data.labels
    assert data.class_count == 0


@given(LABELS, st.integers(1, 70))
def test_batches_hold_every_sample_once_in_order(labels: npt.NDArray[np.int64], size: int) -> None:
    data = numbered(labels)
    batches = list(data.batches(size))
    assert all(len(x) == size for x, _ in batches[:-1])
    assert np.array_equal(np.concatenate([x for x, _ in batches]), data.x)
    assert np.array_equal(np.concatenate([y for _, y in batches if y is not None]), labels)


def test_batches_are_converted_one_by_one() -> None:
    data = Dataset.of(gray(5))
    assert [(x.dtype.name, len(x), y) for x, y in data.batches(2)] == [
        ("float32", 2, None),
        ("float32", 2, None),
        ("float32", 1, None),
    ]


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_or_a_share_of_nothing_is_a_wrong_call(size: int) -> None:
    with pytest.raises(UsageError):
        list(pets().batches(size))
    with pytest.raises(UsageError):
        pets().take(size)


@given(LABELS, st.integers(1, 70))
def test_taking_some_shares_them_out_among_the_classes(labels: npt.NDArray[np.int64], count: int) -> None:
    taken = numbered(labels).take(count)
    assert len(taken) == min(count, len(labels))
    assert positions(taken) == sorted(positions(taken))
    for label in np.unique(labels):
        there, kept = int((labels == label).sum()), int((taken.labels == label).sum())
        largest = max(int((taken.labels == other).sum()) for other in np.unique(labels))
        assert kept == there or kept >= largest - 1
        assert positions(taken.pick(taken.labels == label)) == np.flatnonzero(labels == label)[:kept].tolist()


def test_taking_from_unlabelled_data_takes_the_first() -> None:
    assert np.array_equal(Dataset.of(gray(5)).take(2).values, gray(5)[:2])


def test_a_subset_is_labelled_in_the_order_asked() -> None:
    data = pets().subset(["horse", "cat"])
    assert data.classes == ("horse", "cat")
    assert positions(data) == [0, 2, 3, 5, 6, 8, 9, 11]
    assert data.labels.tolist() == [1, 0, 1, 0, 1, 0, 1, 0]


@given(LABELS, st.permutations(range(5)))
def test_asking_for_all_classes_only_changes_their_order(labels: npt.NDArray[np.int64], order: list[int]) -> None:
    names = tuple("abcde")
    data = numbered(labels, classes=names)
    other = data.subset([names[index] for index in order])
    assert other.classes is not None
    assert [other.classes[label] for label in other.labels] == [names[label] for label in labels]
    assert other.subset(names).sha256 == data.sha256


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["cow"], "numbered: no class 'cow'; the data has cat, dog, horse"),
        ([], "numbered: ask for one class or more, each once; the data has cat, dog, horse"),
        (["cat", "cat"], "numbered: ask for one class or more, each once; the data has cat, dog, horse"),
    ],
)
def test_a_subset_that_cannot_be_is_a_wrong_call(classes: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        pets().subset(classes)
    assert str(caught.value) == message


def test_a_subset_without_samples_or_names_is_refused() -> None:
    with pytest.raises(InvalidData, match="no sample is of horse"):
        pets(count=2).subset(["horse"])
    with pytest.raises(InvalidData, match="the data has no class names"):
        numbered(np.array([0, 1])).subset(["cat"])


@given(LABELS, st.floats(0.05, 0.95), st.integers(0, 2**32))
def test_a_split_is_a_partition_drawn_class_by_class(labels: npt.NDArray[np.int64], fraction: float, seed: int) -> None:
    data = numbered(labels)
    try:
        train, validation = data.split(fraction, seed=seed)
    except InvalidData:
        assert all(round(fraction * n) == 0 or n == 1 for n in np.bincount(labels))
        return
    assert sorted(positions(train) + positions(validation)) == list(range(len(labels)))
    assert positions(train) == sorted(positions(train))
    for label, there in enumerate(np.bincount(labels)):
        held_out = int((validation.labels == label).sum())
        assert held_out == max(min(round(fraction * int(there)), int(there) - 1), 0)


def test_the_same_seed_splits_the_same_way_for_ever() -> None:
    # Recorded once: a change would silently give every report another validation set.
    assert positions(pets().split(0.5, seed=7)[1]) == [2, 3, 4, 6, 10, 11]
    assert positions(pets().split(0.5, seed=8)[1]) != positions(pets().split(0.5, seed=7)[1])


def test_validation_is_a_fifth_unless_asked() -> None:
    train, validation = pets(count=60).split()
    assert (len(train), len(validation)) == (48, 12)
    assert np.bincount(validation.labels).tolist() == [4, 4, 4]


def test_a_split_with_an_empty_side_is_refused() -> None:
    with pytest.raises(InvalidData, match=r"3 samples are too few to hold out 0.2 of each class"):
        pets(count=3).split()
    for fraction in (0, 1, -0.5, 2):
        with pytest.raises(UsageError):
            pets().split(fraction)


def test_the_digest_covers_all_but_the_name() -> None:
    data = Dataset.of(gray(), y=np.array([0, 1, 1, 0]), classes=["a", "b"], name="one")
    other = gray()
    other[3, 0, 1, 1] += 1
    assert dataclasses.replace(data, name="two").sha256 == data.sha256
    different = [
        Dataset.of(other, y=data.y, classes=data.classes),
        Dataset.of(gray(), y=np.array([0, 1, 1, 1]), classes=data.classes),
        Dataset.of(gray(), y=data.y, classes=["a", "c"]),
        Dataset.of(gray(), y=data.y),
        Dataset.of(gray(), classes=data.classes),
        Dataset.of(gray().reshape(4, 1, 1, 4), y=data.y, classes=data.classes),
        Dataset.of(data.x, y=data.y, classes=data.classes),
        data.take(3),
    ]
    assert len({data.sha256, *(each.sha256 for each in different)}) == len(different) + 1


def test_the_digest_is_that_of_documented_bytes() -> None:
    data = Dataset.of(np.array([[1, 2]], np.int64), y=np.array([0]), classes=["a"])
    head = b'{"classes": ["a"], "dtype": "int64", "format": "modhub/dataset@1", "labelled": true, "shape": [1, 2]}\n'
    values, labels = struct.pack("<2q", 1, 2), struct.pack("<q", 0)
    # Manifests hold such digests.
    assert data.sha256 == hashlib.sha256(head + values + labels).hexdigest()


PORT = InputPort(name="image", kind="image", dtype="float32", layout="NCHW", shape=("batch", 1, 2, 2), range=(0.0, 1.0))
TOKENS = InputPort(name="tokens", kind="tokens", dtype="int64", shape=("batch", "length"), vocabulary=100)


def test_data_that_fits_is_let_through() -> None:
    data = Dataset.of(gray(), y=np.array([0, 1, 2, 0]), classes=PETS)
    data.check_fits(PORT, classes=PETS)
    Dataset.of(gray(), y=np.array([0, 1, 2, 0])).check_fits(PORT, classes=PETS)
    Dataset.of(data.x).check_fits(PORT)
    Dataset.of(np.array([[0, 99, 3]])).check_fits(TOKENS)


@pytest.mark.parametrize(
    ("data", "port", "classes", "message"),
    [
        (
            Dataset.of(np.zeros((1, 3, 2, 2), np.uint8)),
            PORT,
            None,
            "data: x: a sample has shape [3, 2, 2], the network takes [1, 2, 2]",
        ),
        (
            Dataset.of(np.zeros((1, 4), np.uint8)),
            PORT,
            None,
            "data: x: a sample has shape [4], the network takes [1, 2, 2]",
        ),
        (
            Dataset.of(np.zeros((1, 1, 2, 2), np.int64)),
            PORT,
            None,
            "data: x: the data is int64, the network takes float32",
        ),
        (
            Dataset.of(gray().astype(np.float32)),
            PORT,
            None,
            "data: x: values run from 0 to 15, the network takes 0 to 1",
        ),
        (
            Dataset.of(np.array([[5, 100]])),
            TOKENS,
            None,
            "data: x: tokens run from 5 to 100, the network knows 0 to 99",
        ),
        (
            Dataset.of(np.array([[-1, 5]])),
            TOKENS,
            None,
            "data: x: tokens run from -1 to 5, the network knows 0 to 99",
        ),
        (
            Dataset.of(gray(), y=np.array([0, 1, 3, 0])),
            PORT,
            PETS,
            "data: y: label 3 is out of range, the network has 3 classes",
        ),
        (
            Dataset.of(gray(), y=np.array([0, 1, 0, 0]), classes=["dog", "cat", "horse"]),
            PORT,
            PETS,
            "data: classes: the order is dog, cat, horse, the network's cat, dog, horse",
        ),
        (
            Dataset.of(gray(), y=np.array([0, 1, 0, 0]), classes=["cat", "dog"]),
            PORT,
            PETS,
            "data: classes: the data has cat, dog, the network cat, dog, horse",
        ),
    ],
)
def test_data_that_does_not_fit_is_refused_in_words(
    data: Dataset, port: InputPort, classes: tuple[str, ...] | None, message: str
) -> None:
    with pytest.raises(InvalidData) as caught:
        data.check_fits(port, classes=classes)
    assert str(caught.value) == message


def test_numbers_become_the_type_that_the_network_reads() -> None:
    features = InputPort(name="features", kind="features", dtype="float32", shape=("batch", 2))
    for ids in (np.array([[3, 99]], np.uint8), np.array([[3, 99]], np.int16), np.array([[3.0, 99.0]])):
        tokens = Dataset.of(ids).fitted(TOKENS)
        assert tokens.x.dtype == np.int64
        assert tokens.x.tolist() == [[3, 99]]
    whole = Dataset.of(np.array([[4, -7]])).fitted(features)
    assert whole.x.dtype == np.float32
    assert whole.x.tolist() == [[4, -7]]
    image = Dataset.of(gray()).fitted(PORT)
    assert image.values.dtype == np.uint8


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.array([[0.5, 3]]), "data: x: the data is float32, the network takes int64"),
        (np.array([[0.0, 100]]), "data: x: tokens run from 0 to 100, the network knows 0 to 99"),
        (np.array([[1, 2**40]]), "data: x: tokens run from 1 to 1.09951e+12, the network knows 0 to 99"),
    ],
)
def test_numbers_that_are_no_tokens_are_refused(x: npt.NDArray[Any], message: str) -> None:
    with pytest.raises(InvalidData) as caught:
        Dataset.of(x).fitted(TOKENS)
    assert str(caught.value) == message


def test_whole_numbers_that_floats_cannot_hold_are_not_rounded() -> None:
    features = InputPort(name="features", kind="features", dtype="float32", shape=("batch", 1))
    with pytest.raises(InvalidData, match="the data is int64, the network takes float32"):
        Dataset.of(np.array([[2**24 + 1]])).fitted(features)


def test_many_classes_are_not_all_listed() -> None:
    data = numbered(np.arange(30), classes=tuple(f"class {index}" for index in range(30)))
    with pytest.raises(UsageError, match=r"class 8, class 9 and 20 more$"):
        data.subset(["cow"])


def test_a_set_introduces_itself() -> None:
    assert repr(pets()) == "<Dataset 'numbered': 12 samples of int64 [1], 3 classes>"
    assert repr(Dataset.of(gray())) == "<Dataset 'data': 4 samples of float32 [1, 2, 2], unlabelled>"
