"""The parts of a manifest: classes, dependencies, runtime, and where a package came from.

They are used through `modhub.spec.manifest`, which re-exports them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modhub.errors import FormatError
from modhub.spec.digests import check_sha256
from modhub.spec.document import (
    JSON,
    Fields,
    anything,
    inside,
    integer,
    list_of,
    merged,
    natural,
    number,
    shown,
    table_of,
    text,
)
from modhub.spec.names import CollectionId, PackageId, check_package_name
from modhub.spec.versions import VERSION, parse_specifier

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

WORDNET = re.compile(r"[nvar][0-9]{8}")


@dataclass(frozen=True, kw_only=True)
class ClassLabel:
    """A class that a package scores.

    Args:
        parent_index: its row in the parent's logits.
        wordnet: its WordNet id, such as ``n02121620``.
        aliases: other names of the same class.

    Raises:
        FormatError: the name is empty, or the WordNet id is malformed.
    """

    name: str
    parent_index: int | None = None
    wordnet: str | None = None
    aliases: tuple[str, ...] = ()
    extra: Mapping[str, JSON] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Check name and id."""
        if not self.name.strip():
            raise FormatError("expected a name, got an empty text", where="name")
        if self.wordnet is not None and not WORDNET.fullmatch(self.wordnet):
            raise FormatError(f"expected an id like n02121620, got {shown(self.wordnet)}", where="wordnet")

    @classmethod
    def from_dict(cls, document: object) -> Self:
        """Return the class that a JSON object holds.

        Raises:
            FormatError: a key is missing or has a bad value.
        """
        fields = Fields(document)
        return cls(
            name=fields.required("name", text),
            parent_index=fields.optional("parent_index", natural),
            wordnet=fields.optional("wordnet", text),
            aliases=fields.optional("aliases", list_of(text), ()),
            extra=fields.rest(),
        )

    def to_dict(self) -> dict[str, JSON]:
        """Return the JSON object that `from_dict` reads."""
        known = {
            "name": self.name,
            "parent_index": self.parent_index,
            "wordnet": self.wordnet,
            "aliases": list(self.aliases) or None,
        }
        return merged(known, self.extra)


@dataclass(frozen=True, kw_only=True)
class Dependency:
    """Another package that this one cannot do without.

    Args:
        package: ``./base`` in the same collection, or ``owner/collection/name``.
        version: a specifier; within the collection it is exact, ``==1.0.0``.
        sha256: the digest of the dependency's `module.json`, which pins its files in turn.

    Raises:
        FormatError: a field is malformed.
    """

    package: str
    version: str
    sha256: str
    extra: Mapping[str, JSON] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Check name, specifier and digest."""
        with inside("package"):
            check_package_name(self.package[2:]) if self.is_local else PackageId.parse(self.package)
        with inside("version"):
            parse_specifier(self.version)
        if self.is_local and not (self.version.startswith("==") and VERSION.fullmatch(self.version[2:])):
            raise FormatError(f"expected an exact version like ==1.0.0, got {shown(self.version)}", where="version")
        check_sha256(self.sha256, where="sha256")

    @property
    def is_local(self) -> bool:
        """Whether it lies in the collection of the package that depends on it."""
        return self.package.startswith("./")

    def package_in(self, collection: CollectionId) -> PackageId:
        """Return the package meant, for a dependency of a package in `collection`."""
        return collection.package(self.package[2:]) if self.is_local else PackageId.parse(self.package)

    @classmethod
    def from_dict(cls, document: object) -> Self:
        """Return the dependency that a JSON object holds.

        Raises:
            FormatError: a key is missing or has a bad value.
        """
        fields = Fields(document)
        return cls(
            package=fields.required("package", text),
            version=fields.required("version", text),
            sha256=fields.required("sha256", text),
            extra=fields.rest(),
        )

    def to_dict(self) -> dict[str, JSON]:
        """Return the JSON object that `from_dict` reads."""
        return merged({"package": self.package, "version": self.version, "sha256": self.sha256}, self.extra)


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What runs the graph: operator sets by domain (the default one is ``""``), IR version, ONNX Runtime versions.

    Raises:
        FormatError: the specifier is malformed.
    """

    opset: Mapping[str, int] = field(hash=False)
    ir_version: int
    onnxruntime: str
    extra: Mapping[str, JSON] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Check the specifier."""
        with inside("onnxruntime"):
            parse_specifier(self.onnxruntime)

    @classmethod
    def from_dict(cls, document: object) -> Self:
        """Return the runtime that a JSON object holds.

        Raises:
            FormatError: a key is missing or has a bad value.
        """
        fields = Fields(document)
        return cls(
            opset=fields.required("opset", table_of(natural)),
            ir_version=fields.required("ir_version", natural),
            onnxruntime=fields.required("onnxruntime", text),
            extra=fields.rest(),
        )

    def to_dict(self) -> dict[str, JSON]:
        """Return the JSON object that `from_dict` reads."""
        known = {"opset": dict(self.opset), "ir_version": self.ir_version, "onnxruntime": self.onnxruntime}
        return merged(known, self.extra)


@dataclass(frozen=True, kw_only=True)
class Parent:
    """The trained classifier that was decomposed.

    Args:
        sha256: the fingerprint of its network.
        classes: how many classes it tells apart.
        accuracy: its measured accuracy, 0 to 1.

    Raises:
        FormatError: the fingerprint is malformed.
    """

    name: str
    sha256: str
    classes: int
    accuracy: float | None = None
    extra: Mapping[str, JSON] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Check the fingerprint."""
        check_sha256(self.sha256, where="sha256")

    @classmethod
    def from_dict(cls, document: object) -> Self:
        """Return the parent that a JSON object holds.

        Raises:
            FormatError: a key is missing or has a bad value.
        """
        fields = Fields(document)
        return cls(
            name=fields.required("name", text),
            sha256=fields.required("sha256", text),
            classes=fields.required("classes", natural),
            accuracy=fields.optional("accuracy", number),
            extra=fields.rest(),
        )

    def to_dict(self) -> dict[str, JSON]:
        """Return the JSON object that `from_dict` reads."""
        known = {"name": self.name, "sha256": self.sha256, "classes": self.classes, "accuracy": real(self.accuracy)}
        return merged(known, self.extra)


@dataclass(frozen=True, kw_only=True)
class Method:
    """The system that made the package, with everything needed to run it again.

    Args:
        paper: such as ``arXiv:2311.04438``.
        recipe: the named set of settings that `parameters` started from.
    """

    name: str
    version: str
    paper: str | None = None
    recipe: str | None = None
    parameters: Mapping[str, JSON] = field(default_factory=dict, hash=False)
    seed: int | None = None
    extra: Mapping[str, JSON] = field(default_factory=dict, hash=False)

    @classmethod
    def from_dict(cls, document: object) -> Self:
        """Return the method that a JSON object holds.

        Raises:
            FormatError: a key is missing or has a bad value.
        """
        fields = Fields(document)
        return cls(
            name=fields.required("name", text),
            version=fields.required("version", text),
            paper=fields.optional("paper", text),
            recipe=fields.optional("recipe", text),
            parameters=fields.optional("parameters", table_of(anything), {}),
            seed=fields.optional("seed", integer),
            extra=fields.rest(),
        )

    def to_dict(self) -> dict[str, JSON]:
        """Return the JSON object that `from_dict` reads."""
        known = {
            "name": self.name,
            "version": self.version,
            "paper": self.paper,
            "recipe": self.recipe,
            "parameters": dict(self.parameters) or None,
            "seed": self.seed,
        }
        return merged(known, self.extra)


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """The data that a package was learned from; the digest is that of its arrays.

    Raises:
        FormatError: the digest is malformed.
    """

    name: str
    split: str
    samples: int
    sha256: str
    extra: Mapping[str, JSON] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Check the digest."""
        check_sha256(self.sha256, where="sha256")

    @classmethod
    def from_dict(cls, document: object) -> Self:
        """Return the source that a JSON object holds.

        Raises:
            FormatError: a key is missing or has a bad value.
        """
        fields = Fields(document)
        return cls(
            name=fields.required("name", text),
            split=fields.required("split", text),
            samples=fields.required("samples", natural),
            sha256=fields.required("sha256", text),
            extra=fields.rest(),
        )

    def to_dict(self) -> dict[str, JSON]:
        """Return the JSON object that `from_dict` reads."""
        known = {"name": self.name, "split": self.split, "samples": self.samples, "sha256": self.sha256}
        return merged(known, self.extra)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A measured number, on how many samples, and its confidence interval.

    Raises:
        FormatError: the interval does not hold the value.
    """

    value: float
    split: str | None = None
    n: int | None = None
    low: float | None = None
    high: float | None = None
    extra: Mapping[str, JSON] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Check the interval."""
        low, high = self.lower_bound, self.value if self.high is None else self.high
        if not low <= self.value <= high:
            raise FormatError(f"expected an interval around {self.value:g}, got {low:g} to {high:g}", where="value")

    @property
    def lower_bound(self) -> float:
        """The low end of the interval, or the value where none was given: what may be relied on."""
        return self.value if self.low is None else self.low

    @classmethod
    def from_dict(cls, document: object) -> Self:
        """Return the metric that a JSON object holds.

        Raises:
            FormatError: a key is missing or has a bad value.
        """
        fields = Fields(document)
        return cls(
            value=fields.required("value", number),
            split=fields.optional("split", text),
            n=fields.optional("n", natural),
            low=fields.optional("low", number),
            high=fields.optional("high", number),
            extra=fields.rest(),
        )

    def to_dict(self) -> dict[str, JSON]:
        """Return the JSON object that `from_dict` reads."""
        known = {
            "value": float(self.value),
            "split": self.split,
            "n": self.n,
            "low": real(self.low),
            "high": real(self.high),
        }
        return merged(known, self.extra)


def real(value: float | None) -> float | None:
    """Return a number as it is written: 1 as 1.0, so that equal values give equal bytes."""
    return None if value is None else float(value)
