"""From the arrays people have to the arrays a `Dataset` holds, or a reason why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from modhub.errors import InvalidData

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    # The element type is whatever a file holds until `arrange_values` has looked at it.
    Array: TypeAlias = npt.NDArray[Any]
    Labels: TypeAlias = npt.NDArray[np.int64]

IMAGE_CHANNELS = (1, 3)


def arrange_values(x: Array) -> Array:
    """Return samples as uint8, float32 or int64, images as NCHW, contiguous and writeable.

    Raises:
        InvalidData: the type is none that a network takes; there is no sample, or nothing in one;
            a number is not finite or beyond float32.
    """
    kind = x.dtype.kind
    if kind not in "fiu":
        raise InvalidData(f"cannot use {x.dtype} values: expected uint8, floats or whole numbers", where="x")
    if x.dtype == np.uint8:
        x = arrange_images(x)
    if x.ndim < 2:
        raise InvalidData(f"shape {list(x.shape)} is no batch of samples: expected two dimensions or more", where="x")
    if not x.size:
        raise InvalidData(f"shape {list(x.shape)} holds nothing", where="x")
    if x.dtype == np.uint8:
        return np.require(x, requirements=("C", "W"))
    if kind in "iu":
        return np.require(x, np.int64, ("C", "W"))
    with np.errstate(over="ignore"):
        floats = np.require(x, np.float32, ("C", "W"))
    if not np.isfinite(floats).all():
        sample = int(np.argwhere(~np.isfinite(floats))[0, 0])
        raise InvalidData("not a finite 32-bit number", where=f"x[{sample}]")
    return floats


def arrange_images(x: Array) -> Array:
    """Return uint8 images as NCHW; NHWC is moved only where it cannot be NCHW."""
    if x.ndim == 3:
        return x[:, None]
    channels_last = x.ndim == 4 and x.shape[3] in IMAGE_CHANNELS and x.shape[1] not in IMAGE_CHANNELS
    return x.transpose(0, 3, 1, 2) if channels_last else x


def arrange_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Return class names as a tuple.

    Raises:
        InvalidData: one is empty, no text, or occurs twice.
    """
    names = tuple(classes)
    for index, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise InvalidData(f"expected a name, got {name!r}", where=f"classes[{index}]")
        if name in names[:index]:
            raise InvalidData(f"{name!r} occurs twice", where=f"classes[{index}]")
    return names


def arrange_labels(y: Array, *, count: int, classes: tuple[str, ...] | None) -> tuple[Labels, tuple[str, ...] | None]:
    """Return labels as int64 `[count]`, and the class names.

    Names among the labels are looked up in `classes`; without these, the classes are the names that
    occur, sorted.

    Raises:
        InvalidData: type, shape or length is wrong, or a label stands for no class.
    """
    flat = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if flat.shape != (count,):
        raise InvalidData(f"shape {list(y.shape)} does not label {count} samples one by one", where="y")
    if flat.dtype.kind == "U":
        return number_names([str(name) for name in flat], classes=classes)
    if flat.dtype.kind not in "iu":
        raise InvalidData(f"cannot use {y.dtype} labels: expected whole numbers or names", where="y")
    labels = np.require(flat, np.int64, ("C", "W"))
    wrong = np.flatnonzero((labels < 0) | (labels >= len(classes) if classes is not None else False))
    if len(wrong):
        limit = "0 or more" if classes is None else f"0 to {len(classes) - 1}"
        raise InvalidData(f"label {labels[wrong[0]]} stands for no class: expected {limit}", where=f"y[{wrong[0]}]")
    return labels, classes


def number_names(labels: Sequence[str], *, classes: tuple[str, ...] | None) -> tuple[Labels, tuple[str, ...]]:
    """Return the position of each label among the classes, and the classes.

    Raises:
        InvalidData: a label is empty or none of the classes.
    """
    names = arrange_classes(sorted(set(labels))) if classes is None else classes
    positions = {name: position for position, name in enumerate(names)}
    for index, label in enumerate(labels):
        if label not in positions:
            raise InvalidData(f"{label!r} is none of the {len(names)} classes", where=f"y[{index}]")
    return np.array([positions[label] for label in labels], np.int64), names
