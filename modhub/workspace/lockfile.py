"""The lock as a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub import fsops
from modhub.errors import FormatError
from modhub.spec import limits
from modhub.spec.lock import Lock

if TYPE_CHECKING:
    from pathlib import Path

LOCK_FILE = "modhub.lock"


def read_lock(path: Path) -> Lock:
    """Return a lock file's content.

    Raises:
        NotFound: there is no such file.
        FormatError: it is no valid lock.
    """
    try:
        return Lock.from_toml(fsops.read_file(path.resolve(), limit=limits.LOCK_BYTES).decode("utf-8"))
    except UnicodeDecodeError as error:
        raise FormatError("is no UTF-8 text", file=str(path)) from error
    except FormatError as error:
        raise (error if error.file else error.in_file(str(path))) from error.__cause__
