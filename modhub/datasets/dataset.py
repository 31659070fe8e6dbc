"""`Dataset`: samples as a network takes them, with their labels, as one immutable value."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from modhub.datasets.arrange import arrange_classes, arrange_labels, arrange_values
from modhub.errors import InvalidData, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modhub.datasets.arrange import Array, Labels
    from modhub.spec.ports import InputPort

VALIDATION_SHARE = 0.2
DIGEST_FORMAT = "modhub/dataset@1"


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Samples, their labels where known, and the names of the classes.

    Make one with `Dataset.of` or `load_dataset`, which check what they are given.

    `values` is what is held in memory, uint8, float32 or int64, the first axis counting the
    samples; images are NCHW. uint8 stands for numbers in [0, 1] and is converted when it is read
    through `x` or `batches`, so a set of images takes a quarter of the memory. Two sets with equal
    values, labels and classes have equal `sha256`, whatever kind of file they came from.
    """

    values: Array
    y: Labels | None
    classes: tuple[str, ...] | None
    name: str

    @classmethod
    def of(
        cls, x: Array, *, y: Array | None = None, classes: Sequence[str] | None = None, name: str = "data"
    ) -> Dataset:
        """Return the data set of some arrays.

        Args:
            x: the samples. uint8 images may be NCHW, NHWC or, in grey, NHW; floats become float32
                and whole numbers int64.
            y: one class index or one class name a sample.
            classes: the class names, in the order of the indices.
            name: what reports call the data.

        Raises:
            InvalidData: an array has the wrong type, shape or length, is empty or not finite, or
                a label stands for no class.

        >>> data = Dataset.of(np.zeros((4, 28, 28), np.uint8), y=np.array(["one", "two", "two", "one"]))
        >>> data.shape, data.classes, data.y.tolist()
        ((1, 28, 28), ('one', 'two'), [0, 1, 1, 0])
        """
        values = arrange_values(x)
        names = None if classes is None else arrange_classes(classes)
        labels, names = (None, names) if y is None else arrange_labels(y, count=len(values), classes=names)
        return cls(values=values, y=labels, classes=names, name=name)

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        kinds = "unlabelled" if self.y is None else f"{self.class_count} classes"
        return f"<Dataset {self.name!r}: {len(self)} samples of {self.dtype} {list(self.shape)}, {kinds}>"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.values.shape[1:]

    @property
    def dtype(self) -> str:
        """Type of the numbers in `x`: `float32` or `int64`."""
        return "int64" if self.values.dtype == np.int64 else "float32"

    @property
    def x(self) -> Array:
        """All samples as a network takes them, float32 or int64; a new array when they are held as uint8."""
        return as_taken(self.values)

    @property
    def labels(self) -> Labels:
        """The class indices.

        Raises:
            InvalidData: the data is unlabelled.
        """
        if self.y is None:
            raise InvalidData("the data has no labels", where="y", file=self.name)
        return self.y

    @property
    def class_count(self) -> int:
        """Number of classes: named ones, or else one more than the largest label."""
        if self.classes is not None:
            return len(self.classes)
        return 0 if self.y is None else int(self.y.max()) + 1

    @cached_property
    def sha256(self) -> str:
        """Digest of what is held: type, shape, values, labels and class names, not the name."""
        head = {
            "format": DIGEST_FORMAT,
            "dtype": self.values.dtype.name,
            "shape": self.values.shape,
            "labelled": self.y is not None,
            "classes": self.classes,
        }
        digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode() + b"\n")
        for array in (self.values, self.y):
            if array is not None:
                digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
        return digest.hexdigest()

    def batches(self, size: int) -> Iterator[tuple[Array, Labels | None]]:
        """Yield `(x, y)` of `size` samples at a time, in order; the last batch may be smaller.

        Raises:
            UsageError: the size is not positive.
        """
        if size < 1:
            raise UsageError(f"a batch holds one sample or more, not {size}")
        for start in range(0, len(self), size):
            rows = slice(start, start + size)
            yield as_taken(self.values[rows]), None if self.y is None else self.y[rows]

    def pick(self, indices: Array) -> Dataset:
        """Return the samples at some positions, in the order asked."""
        return dataclasses.replace(self, values=self.values[indices], y=None if self.y is None else self.y[indices])

    def take(self, count: int) -> Dataset:
        """Return at most `count` samples, the first ones of each class, in their order.

        The classes share as equally as they can. The first `count` samples as such would all be of one
        class in a set that is sorted by class, as folders are.

        Raises:
            UsageError: the count is not positive.
        """
        if count < 1:
            raise UsageError(f"take one sample or more, not {count}")
        return self.pick(first_balanced(self.y, total=len(self), count=count))

    def subset(self, classes: Sequence[str]) -> Dataset:
        """Return the samples of some classes, labelled anew by their position in `classes`.

        Asked for all classes in another order, it puts the labels in that order.

        Raises:
            UsageError: no class is asked for, one is asked for twice, or the data has no such class.
            InvalidData: the data is unlabelled, its classes have no names, or no sample is left.
        """
        if self.classes is None:
            raise InvalidData("the data has no class names", where="classes", file=self.name)
        wanted = tuple(classes)
        unknown = [name for name in wanted if name not in self.classes]
        if not wanted or unknown or len(set(wanted)) < len(wanted):
            problem = f"no class {unknown[0]!r}" if unknown else "ask for one class or more, each once"
            raise UsageError(f"{self.name}: {problem}; the data has {listed(self.classes)}")
        renumbered = np.full(len(self.classes), -1, np.int64)
        renumbered[[self.classes.index(name) for name in wanted]] = np.arange(len(wanted))
        labels = renumbered[self.labels]
        kept = np.flatnonzero(labels >= 0)
        if not len(kept):
            raise InvalidData(f"no sample is of {listed(wanted)}", where="y", file=self.name)
        return dataclasses.replace(self, values=self.values[kept], y=labels[kept], classes=wanted)

    def split(self, fraction: float = VALIDATION_SHARE, *, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Return `(train, validation)`, drawn class by class.

        `fraction` of each class goes to validation, to the nearest sample, but one of every class
        stays in training. Together the two hold every sample once, in its old order. The same data,
        fraction and seed give the same split, on every machine and with every version of NumPy.

        Raises:
            UsageError: the fraction is not between 0 and 1.
            InvalidData: either side would be empty.
        """
        if not 0 < fraction < 1:
            raise UsageError(f"the share of the validation data lies between 0 and 1, not {fraction}")
        # The raw stream of a bit generator is fixed for good, that of Generator.permutation is not.
        lots = np.random.PCG64(seed).random_raw(len(self))
        held_out = np.zeros(len(self), np.bool_)
        for members in members_of_classes(self.y, total=len(self)):
            drawn = members[np.argsort(lots[members], kind="stable")]
            held_out[drawn[: min(round(fraction * len(members)), len(members) - 1)]] = True
        if not held_out.any():
            raise InvalidData(f"{len(self)} samples are too few to hold out {fraction:g} of each class", file=self.name)
        return self.pick(np.flatnonzero(~held_out)), self.pick(np.flatnonzero(held_out))

    def fitted(self, port: InputPort, *, classes: Sequence[str] | None = None) -> Dataset:
        """Return the data as a network with this input, and these classes if given, takes it.

        Numbers become the type that the network reads where none of them changes: a table of token ids holds floats, a
        table of measurements perhaps only whole numbers.

        Raises:
            InvalidData: shape, type, range, vocabulary or classes differ; says how.
        """
        data = dataclasses.replace(self, values=as_read(self.values, port))
        data.check_fits(port, classes=classes)
        return data

    def check_fits(self, port: InputPort, *, classes: Sequence[str] | None = None) -> None:
        """Check that a network with this input, and these classes if given, can take the data.

        Raises:
            InvalidData: shape, type, range, vocabulary or classes differ; says how.
        """
        for where, problem in (
            ("x", self._input_problem(port)),
            ("classes" if self.classes else "y", "" if classes is None else self._class_problem(tuple(classes))),
        ):
            if problem:
                raise InvalidData(problem, where=where, file=self.name)

    def _input_problem(self, port: InputPort) -> str:
        expected = tuple(port.shape[1:])
        fits = len(expected) == len(self.shape) and all(
            isinstance(size, str) or size == found for size, found in zip(expected, self.shape, strict=True)
        )
        if not fits:
            return f"a sample has shape {list(self.shape)}, the network takes {list(expected)}"
        if self.dtype != port.dtype:
            return f"the data is {self.dtype}, the network takes {port.dtype}"
        low, high = (float(as_taken(bound)) for bound in (self.values.min(), self.values.max()))
        if port.vocabulary is not None and not 0 <= low <= high < port.vocabulary:
            return f"tokens run from {low:g} to {high:g}, the network knows 0 to {port.vocabulary - 1}"
        if port.range is not None and not port.range[0] <= low <= high <= port.range[1]:
            return f"values run from {low:g} to {high:g}, the network takes {port.range[0]:g} to {port.range[1]:g}"
        return ""

    def _class_problem(self, classes: tuple[str, ...]) -> str:
        if self.classes is None:
            last, limit = self.class_count - 1, len(classes)
            return "" if last < limit else f"label {last} is out of range, the network has {limit} classes"
        if self.classes == classes:
            return ""
        if set(self.classes) == set(classes):
            return f"the order is {listed(self.classes)}, the network's {listed(classes)}"
        return f"the data has {listed(self.classes)}, the network {listed(classes)}"


def as_taken(values: Array) -> Array:
    """Return values as a network takes them: uint8 as float32 in [0, 1], anything else as it is."""
    return values.astype(np.float32) / np.float32(255) if values.dtype == np.uint8 else values


def as_read(values: Array, port: InputPort) -> Array:
    """Return values in the type that an input reads if none of them changes by it, and else as they are."""
    wanted = np.dtype(np.int64 if port.kind == "tokens" else np.float32)
    if values.dtype == wanted or (values.dtype == np.uint8 and port.kind != "tokens"):
        return values
    converted = values.astype(wanted)
    return converted if np.array_equal(converted, values) else values


def members_of_classes(labels: Labels | None, *, total: int) -> list[Labels]:
    """Return the positions of each class's samples; of all samples where there are no labels."""
    if labels is None:
        return [np.arange(total)]
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def first_balanced(labels: Labels | None, *, total: int, count: int) -> Labels:
    """Return up to `count` positions in ascending order, the classes sharing as equally as they can."""
    ranks = np.empty(total, np.int64)
    for members in members_of_classes(labels, total=total):
        ranks[members] = np.arange(len(members))
    return np.sort(np.argsort(ranks, kind="stable")[:count])


def listed(names: Sequence[str], *, most: int = 10) -> str:
    """Return names for a message, cut off after `most`."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
