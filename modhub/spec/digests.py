"""Content digests and the record of a file."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modhub.errors import FormatError
from modhub.spec import limits
from modhub.spec.document import JSON, Fields, inside, merged, natural, shown, text
from modhub.spec.names import check_file_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

SHA256 = re.compile(r"[0-9a-f]{64}")


def sha256(data: bytes | memoryview) -> str:
    """Return the SHA-256 of some bytes as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def is_sha256(text: str) -> bool:
    """Return whether a text is a digest as `sha256` writes it."""
    return bool(SHA256.fullmatch(text))


def check_sha256(text: str, *, where: str) -> None:
    """Check the form of a digest.

    Raises:
        FormatError: it is not 64 lower-case hexadecimal digits.
    """
    if not is_sha256(text):
        raise FormatError(f"expected 64 lower-case hexadecimal digits, got {shown(text)}", where=where)


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """One file of a release: its name in the release folder, its size in bytes, its digest.

    Raises:
        FormatError: the name is no plain file name, the size is out of range, or the digest has another form.
    """

    path: str
    size: int
    sha256: str
    extra: Mapping[str, JSON] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Check name, size and digest."""
        with inside("path"):
            check_file_name(self.path)
        if not 0 <= self.size <= limits.FILE_BYTES:
            raise FormatError(f"expected at most {limits.FILE_BYTES} bytes, got {self.size}", where="size")
        check_sha256(self.sha256, where="sha256")

    @classmethod
    def of(cls, path: str, *, data: bytes) -> Self:
        """Return the record of a file with this content.

        Raises:
            FormatError: the path is no plain file name.
        """
        return cls(path=path, size=len(data), sha256=sha256(data))

    @classmethod
    def from_dict(cls, document: object) -> Self:
        """Return the record that a JSON object holds.

        Raises:
            FormatError: a key is missing or has a bad value.
        """
        fields = Fields(document)
        return cls(
            path=fields.required("path", text),
            size=fields.required("size", natural),
            sha256=fields.required("sha256", text),
            extra=fields.rest(),
        )

    def to_dict(self) -> dict[str, JSON]:
        """Return the JSON object that `from_dict` reads."""
        return merged({"path": self.path, "size": self.size, "sha256": self.sha256}, self.extra)
