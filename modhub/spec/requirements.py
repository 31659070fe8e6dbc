"""Requirements: what someone wants, as they write it.

======================================== ==============================================================
``acme/pets/cat``                        a package, its newest release
``acme/pets/cat>=1.2,<2``                with a PEP 440 specifier; ``^1.2`` means the same here
``acme/pets/cat[delta]>=1.2``            in a variant: the form that it travels in
``acme/pets/cat@sha256:HEX``             exactly this manifest
``class:cat``                            any module that scores this class
``class:cat[method=moda,license=MIT]``   with conditions
``class:cat[int8]``                      in a variant; the same as ``[variant=int8]``
``acme/pets/cat>=1.2 @ ./registry``      from this registry and no other: an address, a folder, a name
``./cat``, ``/data/cat``, ``path:cat``   a package or collection on disk
======================================== ==============================================================

Conditions on a class: ``method``, ``license`` (an SPDX expression, or a level of `modhub.spec.licences.LEVELS` that it
may not exceed), ``collection``, ``min-f1``, ``max-size``, ``variant``.

Without an origin a name is looked up in the registries in their order, and the first that has its collection counts;
with one it is looked up there alone.

Law: ``parse_requirement(str(r)) == r``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from packaging.specifiers import SpecifierSet

from modhub.errors import FormatError, InvalidRequirement
from modhub.spec import limits
from modhub.spec.digests import is_sha256
from modhub.spec.document import UNSAFE, shown
from modhub.spec.licences import LEVELS
from modhub.spec.manifest import check_license
from modhub.spec.names import CollectionId, PackageId, check_package_name, slug
from modhub.spec.versions import format_specifier, parse_specifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PACKAGE = re.compile(
    r"(?P<name>[^\[\]@<>=!~^\s]+)\s*(\[(?P<variant>[^\[\]]*)\])?\s*"
    r"(?P<specifier>[<>=!~^][^@\[\]]*)?(@sha256:(?P<sha256>\S*))?"
)
CLASS = re.compile(r"class:(?P<name>[^\[\]]*?)\s*(\[(?P<options>[^\[\]]*)\])?")
VARIANT = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SHARE = re.compile(r"0(\.[0-9]{1,9})?|1(\.0{1,9})?")
SIZE = re.compile(r"(?P<number>[0-9]{1,15}(\.[0-9]{1,3})?)\s*(?P<unit>[kMG]?i?B)?")
UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "kiB": 2**10, "MiB": 2**20, "GiB": 2**30}
PATH_STARTS = ("./", "../", "/", "~")
PATH_PREFIX = "path:"
ORIGIN = re.compile(r"\s+@\s+")


@dataclass(frozen=True, kw_only=True)
class PackageRequirement:
    """A package by name.

    Args:
        variant: the form it must travel in, such as ``delta``, ``standalone`` or ``int8``.
        sha256: the digest of the manifest of the only release that will do.
        origin: the only registry to look in: its address, or a name that stands for one.
    """

    package: PackageId
    specifier: SpecifierSet = field(default_factory=SpecifierSet)
    variant: str | None = None
    sha256: str | None = None
    origin: str | None = None

    def __str__(self) -> str:
        """Return the text that `parse_requirement` reads."""
        variant = f"[{self.variant}]" if self.variant else ""
        digest = f"@sha256:{self.sha256}" if self.sha256 else ""
        return f"{self.package}{variant}{format_specifier(self.specifier)}{digest}{_from(self.origin)}"


@dataclass(frozen=True, kw_only=True)
class ClassRequirement:
    """Any module that scores a class.

    Args:
        class_name: the class as a slug, such as ``ankle-boot``.
        options: conditions on the module: ``method``, ``license``, ``collection``, ``min-f1``, ``max-size``,
            ``variant``.
        origin: the only registry to look in: its address, or a name that stands for one.
    """

    class_name: str
    options: Mapping[str, str] = field(default_factory=dict, hash=False)
    origin: str | None = None

    @property
    def capability(self) -> str:
        """What a release must provide."""
        return f"class:{self.class_name}"

    @property
    def variant(self) -> str | None:
        """The form that the module must travel in, or none."""
        return self.options.get("variant")

    def __str__(self) -> str:
        """Return the text that `parse_requirement` reads."""
        options = ",".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        return f"{self.capability}[{options}]{_from(self.origin)}" if options else self.capability + _from(self.origin)


@dataclass(frozen=True, kw_only=True)
class PathRequirement:
    """A package or collection in a folder."""

    path: str

    def __str__(self) -> str:
        """Return the text that `parse_requirement` reads."""
        return self.path if self.path.startswith(PATH_STARTS) else f"{PATH_PREFIX}{self.path}"


Requirement: TypeAlias = PackageRequirement | ClassRequirement | PathRequirement


def parse_requirement(text: str) -> Requirement:
    """Return what a text asks for.

    Raises:
        InvalidRequirement: it cannot be read; the message says what was expected.
    """
    text = text.strip()
    if len(text) > limits.REQUIREMENT_LENGTH:
        raise InvalidRequirement(f"expected at most {limits.REQUIREMENT_LENGTH} characters, got {len(text)}")
    if text.startswith(PATH_STARTS):
        return PathRequirement(path=text)
    if text.startswith(PATH_PREFIX):
        return PathRequirement(path=_path(text))
    wanted, *origins = ORIGIN.split(text, maxsplit=1)
    try:
        origin = _origin(origins[0]) if origins else None
        return _class(wanted, origin=origin) if text.startswith("class:") else _package(wanted, origin=origin)
    except FormatError as error:
        raise InvalidRequirement(error.problem, where=shown(text)) from error


def parse_size(text: str) -> int:
    """Return a size in bytes: ``4096``, ``500kB``, ``1.5MB``, ``2MiB``.

    Raises:
        InvalidRequirement: it is no size.
    """
    found = SIZE.fullmatch(text.strip())
    if not found or (found["unit"] or "B") not in UNITS:
        raise InvalidRequirement(f"expected a size like 500kB or 2MiB, got {shown(text)}")
    return round(float(found["number"]) * UNITS[found["unit"] or "B"])


def parse_share(text: str) -> float:
    """Return a number from 0 to 1.

    Raises:
        InvalidRequirement: it is none.
    """
    if not SHARE.fullmatch(text):
        raise InvalidRequirement(f"expected a number from 0 to 1, got {shown(text)}")
    return float(text)


def _path(text: str) -> str:
    path = text[len(PATH_PREFIX) :]
    if not path:
        raise InvalidRequirement("expected a path after path:", where=shown(text))
    return path


def _origin(text: str) -> str:
    if ORIGIN.search(f" {text} ") or UNSAFE.search(text):
        raise InvalidRequirement(f"expected one registry after @, got {shown(text)}")
    return text


def _from(origin: str | None) -> str:
    return f" @ {origin}" if origin else ""


def _package(text: str, *, origin: str | None) -> PackageRequirement:
    found = PACKAGE.fullmatch(text)
    if not found:
        raise InvalidRequirement("expected owner/collection/name, class:NAME or a path starting with ./")
    if found["variant"] is not None and not VARIANT.fullmatch(found["variant"]):
        raise InvalidRequirement(f"expected a variant like [delta], got {shown(found['variant'])}")
    if found["sha256"] is not None and not is_sha256(found["sha256"]):
        raise InvalidRequirement(f"expected 64 hexadecimal digits after @sha256:, got {shown(found['sha256'])}")
    return PackageRequirement(
        package=PackageId.parse(found["name"]),
        specifier=parse_specifier(found["specifier"] or ""),
        variant=found["variant"],
        sha256=found["sha256"],
        origin=origin,
    )


def _class(text: str, *, origin: str | None) -> ClassRequirement:
    found = CLASS.fullmatch(text)
    if not found:
        raise InvalidRequirement("expected class:NAME or class:NAME[option=value,...]")
    name = found["name"]
    try:
        check_package_name(name)
    except FormatError as error:
        raise InvalidRequirement(f"expected a class like class:{slug(name)}, got {shown(name)}") from error
    return ClassRequirement(class_name=name, options=_options(found["options"] or ""), origin=origin)


def _options(text: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals and key not in OPTIONS and VARIANT.fullmatch(key):
            key, equals, value = "variant", "=", key
        if not equals or key not in OPTIONS:
            raise InvalidRequirement(f"expected one of {', '.join(sorted(OPTIONS))} and a value, got {shown(part)}")
        if key in options:
            raise InvalidRequirement(f"the option {key} occurs twice")
        OPTIONS[key](value)
        options[key] = value
    return options


def _check_word(text: str) -> None:
    if not WORD.fullmatch(text):
        raise InvalidRequirement(f"expected one word, got {shown(text)}")


def _check_variant(text: str) -> None:
    if not VARIANT.fullmatch(text):
        raise InvalidRequirement(f"expected a variant like delta, got {shown(text)}")


def _check_terms(text: str) -> None:
    if text not in LEVELS:
        check_license(text)


OPTIONS: Mapping[str, Callable[[str], object]] = {
    "collection": CollectionId.parse,
    "license": _check_terms,
    "max-size": parse_size,
    "method": _check_word,
    "min-f1": parse_share,
    "variant": _check_variant,
}
