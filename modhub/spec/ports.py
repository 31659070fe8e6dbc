"""The contract of a package's one input and one output.

Modules of different parents can eat the same input because each package bakes its parent's own preprocessing into
its graph. Two modules fit together when their input contracts have one `InputPort.key`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from modhub.errors import FormatError
from modhub.spec import limits
from modhub.spec.digests import check_sha256, sha256
from modhub.spec.document import (
    JSON,
    Fields,
    format_json,
    inside,
    list_of,
    merged,
    natural,
    number,
    one_of,
    shown,
    text,
)
from modhub.spec.names import check_array_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

Shape: TypeAlias = "tuple[str | int, ...]"

BATCH = "batch"
INPUT_DTYPES = {"image": "float32", "tokens": "int64", "features": "float32", "audio": "float32"}
LAYOUTS = ("NCHW", "NHWC")
COLORS = ("RGB", "gray")
SEMANTICS = ("logit", "logits", "scores")
AXIS_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, kw_only=True)
class InputPort:
    """What a network eats, with named axes.

    Args:
        shape: numbers, and names for axes of any length; the first axis is ``batch``.
        range: lowest and highest value of an image.
        tokenizer: the digest of the tokenizer's file.
        vocabulary: number of tokens.

    Raises:
        FormatError: the fields contradict each other.
    """

    name: str = "image"
    kind: str
    dtype: str
    layout: str | None = None
    shape: Shape
    range: tuple[float, float] | None = None
    color: str | None = None
    tokenizer: str | None = None
    vocabulary: int | None = None
    extra: Mapping[str, JSON] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Check each field and that they agree."""
        with inside("name"):
            check_array_name(self.name)
        if self.kind not in INPUT_DTYPES:
            raise FormatError(f"expected one of {', '.join(INPUT_DTYPES)}; got {shown(self.kind)}", where="kind")
        if self.dtype != INPUT_DTYPES[self.kind]:
            raise FormatError(f"expected {INPUT_DTYPES[self.kind]} for {self.kind}, got {self.dtype}", where="dtype")
        check_shape(self.shape)
        if self.kind == "image" and (self.layout is None or len(self.shape) != len(self.layout)):
            raise FormatError(f"an image of shape {list(self.shape)} needs a layout of as many axes", where="layout")
        if self.range is not None and not self.range[0] < self.range[1]:
            raise FormatError(f"expected the lowest value before the highest, got {list(self.range)}", where="range")
        if self.tokenizer is not None:
            check_sha256(self.tokenizer, where="tokenizer")

    def key(self) -> str:
        """Return the digest of the contract: equal keys eat the same input, whatever it is called."""
        return sha256(format_json(self._contract()))

    def __str__(self) -> str:
        """Return the contract in words, such as ``image RGB NCHW [batch, 3, 32, 32] in 0..1``."""
        words = [self.kind, self.color, self.layout, f"[{', '.join(str(size) for size in self.shape)}]"]
        if self.range is not None:
            words.append(f"in {self.range[0]:g}..{self.range[1]:g}")
        if self.vocabulary is not None:
            words.append(f"of {self.vocabulary} tokens")
        if self.tokenizer is not None:
            words.append(f"by tokenizer {self.tokenizer[:12]}")
        return " ".join(word for word in words if word)

    @classmethod
    def from_dict(cls, document: object) -> Self:
        """Return the contract that a JSON object holds.

        Raises:
            FormatError: a key is missing or has a bad value.
        """
        fields = Fields(document)
        return cls(
            name=fields.required("name", text),
            kind=fields.required("kind", text),
            dtype=fields.required("dtype", text),
            layout=fields.optional("layout", one_of(*LAYOUTS)),
            shape=fields.required("shape", list_of(axis)),
            range=fields.optional("range", interval),
            color=fields.optional("color", one_of(*COLORS)),
            tokenizer=fields.optional("tokenizer", text),
            vocabulary=fields.optional("vocabulary", natural),
            extra=fields.rest(),
        )

    def to_dict(self) -> dict[str, JSON]:
        """Return the JSON object that `from_dict` reads."""
        return merged({"name": self.name, **self._contract()}, self.extra)

    def _contract(self) -> dict[str, JSON]:
        known = {
            "kind": self.kind,
            "dtype": self.dtype,
            "layout": self.layout,
            "shape": list(self.shape),
            "range": [float(bound) for bound in self.range] if self.range else None,
            "color": self.color,
            "tokenizer": self.tokenizer,
            "vocabulary": self.vocabulary,
        }
        return merged(known, {})


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How a score became a calibrated logit: ``score = scale * raw + offset``, fitted on held-out data.

    Args:
        ece: the expected calibration error measured on `data` afterwards, 0 to 1.
        data: the data it was fitted on, such as ``cifar10/validation``.

    Raises:
        FormatError: the method is unknown.
    """

    method: str = "platt"
    scale: float
    offset: float
    ece: float | None = None
    data: str
    extra: Mapping[str, JSON] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Check the method."""
        if self.method != "platt":
            raise FormatError(f"expected platt, got {shown(self.method)}", where="method")

    @classmethod
    def from_dict(cls, document: object) -> Self:
        """Return the calibration that a JSON object holds.

        Raises:
            FormatError: a key is missing or has a bad value.
        """
        fields = Fields(document)
        return cls(
            method=fields.required("method", text),
            scale=fields.required("scale", number),
            offset=fields.required("offset", number),
            ece=fields.optional("ece", number),
            data=fields.required("data", text),
            extra=fields.rest(),
        )

    def to_dict(self) -> dict[str, JSON]:
        """Return the JSON object that `from_dict` reads."""
        known = {
            "method": self.method,
            "scale": float(self.scale),
            "offset": float(self.offset),
            "ece": None if self.ece is None else float(self.ece),
            "data": self.data,
        }
        return merged(known, self.extra)


@dataclass(frozen=True, kw_only=True)
class OutputPort:
    """What a network returns: a module's ``logit`` [batch, 1], a base's ``logits``, a composite's ``scores``.

    Raises:
        FormatError: the fields contradict each other.
    """

    name: str
    dtype: str = "float32"
    shape: Shape
    semantic: str
    calibration: Calibration | None = None
    extra: Mapping[str, JSON] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Check each field."""
        with inside("name"):
            check_array_name(self.name)
        check_shape(self.shape)
        if self.dtype != "float32":
            raise FormatError(f"expected float32, got {shown(self.dtype)}", where="dtype")
        if self.semantic not in SEMANTICS:
            raise FormatError(f"expected one of {', '.join(SEMANTICS)}; got {shown(self.semantic)}", where="semantic")

    @classmethod
    def from_dict(cls, document: object) -> Self:
        """Return the contract that a JSON object holds.

        Raises:
            FormatError: a key is missing or has a bad value.
        """
        fields = Fields(document)
        return cls(
            name=fields.required("name", text),
            dtype=fields.required("dtype", text),
            shape=fields.required("shape", list_of(axis)),
            semantic=fields.required("semantic", text),
            calibration=fields.optional("calibration", Calibration.from_dict),
            extra=fields.rest(),
        )

    def to_dict(self) -> dict[str, JSON]:
        """Return the JSON object that `from_dict` reads."""
        known = {
            "name": self.name,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "semantic": self.semantic,
            "calibration": self.calibration.to_dict() if self.calibration else None,
        }
        return merged(known, self.extra)


def axis(value: object) -> str | int:
    """Read one axis of a shape: a name or a length."""
    return text(value) if isinstance(value, str) else natural(value)


def interval(value: object) -> tuple[float, float]:
    """Read two numbers."""
    bounds = list_of(number)(value)
    if len(bounds) != 2:
        raise FormatError(f"expected two numbers, got {len(bounds)}")
    return bounds[0], bounds[1]


def check_shape(shape: Shape) -> None:
    """Check the axes of a port.

    Raises:
        FormatError: too many or too large axes, a bad name, or the first one is not the batch; `where` says which.
    """
    if not 1 <= len(shape) <= limits.TENSOR_RANK or shape[0] != BATCH:
        problem = f"expected 1 to {limits.TENSOR_RANK} axes with {BATCH!r} first, got {shown(str(list(shape)))}"
        raise FormatError(problem, where="shape")
    for position, size in enumerate(shape):
        fits = AXIS_NAME.fullmatch(size) if isinstance(size, str) else 1 <= size <= limits.DIMENSION
        if not fits:
            raise FormatError(f"expected a name or a positive length, got {shown(size)}", where=f"shape[{position}]")
