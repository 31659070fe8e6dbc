"""Names of collections, packages, files and arrays.

A package is ``owner/collection/name``. Owners and collections follow the Hugging Face Hub, package names are
lower case, so that a release folder means the same on every file system.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from modhub.errors import InvalidName
from modhub.spec import limits
from modhub.spec.document import shown

HUB_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
PACKAGE_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
FILE_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_-])?")
ARRAY_NAME = re.compile(rf"[A-Za-z0-9_./:-]{{1,{limits.ARRAY_NAME_LENGTH}}}")

WINDOWS_DEVICES = frozenset({"con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(10)})
COLLECTION_FILES = frozenset({"modhub.json", "readme.md"})


@dataclass(frozen=True, order=True)
class CollectionId:
    """The name of a collection, ``owner/name``.

    Raises:
        InvalidName: a part breaks the rules.
    """

    owner: str
    name: str

    def __post_init__(self) -> None:
        """Check both parts."""
        check_hub_name(self.owner, what="owner")
        check_hub_name(self.name, what="collection name")

    @classmethod
    def parse(cls, text: str) -> CollectionId:
        """Return the collection that ``owner/name`` names.

        Raises:
            InvalidName: there are not two parts, or one breaks the rules.
        """
        return cls(*_split(text, expected="owner/collection"))

    @property
    def key(self) -> str:
        """The name folded as PEP 503 does: two collections with one key would be confused."""
        return "/".join(re.sub(r"[-_.]+", "-", part).lower() for part in (self.owner, self.name))

    def package(self, name: str) -> PackageId:
        """Return the identity of a package of this collection.

        Raises:
            InvalidName: the name breaks the rules.
        """
        return PackageId(self, name)

    def __str__(self) -> str:
        """Return ``owner/name``."""
        return f"{self.owner}/{self.name}"


@dataclass(frozen=True, order=True)
class PackageId:
    """The full name of a package, ``owner/collection/name``.

    Raises:
        InvalidName: the name breaks the rules.
    """

    collection: CollectionId
    name: str

    def __post_init__(self) -> None:
        """Check the package's own name."""
        check_package_name(self.name)

    @classmethod
    def parse(cls, text: str) -> PackageId:
        """Return the package that ``owner/collection/name`` names.

        Raises:
            InvalidName: there are not three parts, or one breaks the rules.
        """
        owner, collection, name = _split(text, expected="owner/collection/name")
        return cls(CollectionId(owner, collection), name)

    def __str__(self) -> str:
        """Return ``owner/collection/name``."""
        return f"{self.collection}/{self.name}"


def slug(text: str) -> str:
    """Return a class label as a package name.

    >>> slug("T-shirt/top"), slug("Ankle boot"), slug("Crème brûlée")
    ('t-shirt-top', 'ankle-boot', 'creme-brulee')

    A label that names a Windows device gets the ending ``-class``.

    Raises:
        InvalidName: no letter or digit of the label has an ASCII form.
    """
    plain = unicodedata.normalize("NFKD", text.casefold()).encode("ascii", "ignore").decode("ascii")
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[: limits.NAME_LENGTH].rstrip("-")
    if not name:
        raise InvalidName(f"the label {shown(text)} has no letter or digit that a package name could keep")
    return f"{name}-class" if name in WINDOWS_DEVICES else name


def check_hub_name(name: str, *, what: str) -> None:
    """Check the name of an owner or collection.

    Raises:
        InvalidName: it breaks the rules of the Hub or of a file system.
    """
    if not HUB_NAME.fullmatch(name) or ".." in name or "--" in name or name.lower().endswith(".git"):
        problem = f"the {what} {shown(name)} is not letters, digits and single '-', '_', '.' between them"
        raise InvalidName(problem)
    _check_common(name, what=what)


def check_package_name(name: str) -> None:
    """Check the name of a package inside its collection.

    Raises:
        InvalidName: it is not lower case with single separators, or it is a reserved name.
    """
    if not PACKAGE_NAME.fullmatch(name):
        problem = f"the package name {shown(name)} is not lower-case letters and digits with single '.', '_', '-'"
        raise InvalidName(f"{problem} between them")
    if name in COLLECTION_FILES:
        raise InvalidName(f"the package name {shown(name)} is taken by a file of every collection")
    _check_common(name, what="package name")


def check_file_name(name: str) -> None:
    """Check the name of a file inside a release folder: one plain component, never a path.

    Raises:
        InvalidName: it could leave the folder, or means something else on another file system.
    """
    if not FILE_NAME.fullmatch(name) or ".." in name:
        raise InvalidName(f"the file name {shown(name)} is not letters, digits, '-', '_' and single '.' inside")
    if len(name) > limits.FILE_NAME_LENGTH:
        raise InvalidName(f"the file name {shown(name)} is longer than {limits.FILE_NAME_LENGTH} characters")
    _check_device(name, what="file name")


def check_array_name(name: str) -> None:
    """Check the name of an array or graph value.

    Raises:
        InvalidName: it breaks the rule.
    """
    if not ARRAY_NAME.fullmatch(name):
        expected = f"1 to {limits.ARRAY_NAME_LENGTH} letters, digits and '_', '.', '/', ':', '-'"
        raise InvalidName(f"the array name {shown(name)} is not {expected}")


def _check_common(name: str, *, what: str) -> None:
    if len(name) > limits.NAME_LENGTH:
        raise InvalidName(f"the {what} {shown(name)} is longer than {limits.NAME_LENGTH} characters")
    _check_device(name, what=what)


def _check_device(name: str, *, what: str) -> None:
    if name.partition(".")[0].lower() in WINDOWS_DEVICES:
        raise InvalidName(f"the {what} {shown(name)} names a device on Windows")


def _split(text: str, *, expected: str) -> list[str]:
    parts = text.split("/")
    if len(parts) != expected.count("/") + 1:
        raise InvalidName(f"expected {expected}, got {shown(text)}")
    return parts
