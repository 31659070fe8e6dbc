"""Blobs in an object store, such as S3, shared by any number of servers.

A content is received and hashed in a local folder first, so that nothing enters the store whose digest is not known.
An object is put only where none is; a content too large for one request is put in parts and may be put twice at the
same moment, which changes nothing: its name is its digest.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from obstore import delete, get, head, put
from obstore import list as list_objects
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from modhub import fsops
from modhub.errors import StorageError, UsageError
from modhub_registry.errors import Malformed
from modhub_registry.storage.blobs import CHUNK_BYTES, LEFTOVER_AGE_S, Incoming, part_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from obstore.store import RetryConfig

    from modhub_registry.storage.blobs import Blob

ONE_PUT_BYTES = 32 << 20
"""Up to this size a content is put by one request, on the condition that it is not there."""

TIMEOUT = "120s"
RETRIES: RetryConfig = {"max_retries": 5}
"""A store that is away for longer is told as such, and the client comes again."""


class ObjectBlobs:
    """Blobs as objects ``blobs/ab/abcdef...``, parts as ``parts/UPLOAD/NUMBER-DIGEST``.

    Args:
        address: such as ``s3://bucket/prefix?endpoint=http://host:9000&region=eu-1``; keys come from the environment
            (``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``), or from the machine's role.
        spool: a local folder for what is on its way in.

    Raises:
        UsageError: the address is none of an object store.
    """

    def __init__(self, address: str, *, spool: Path) -> None:
        self._store = _open(address)
        self._spool = spool
        fsops.make_folder(spool)

    def incoming(self, size: int) -> Incoming:
        """Return what takes the bytes of a content of this size."""
        return Incoming(self._spool, size)

    def keep(self, incoming: Incoming) -> Blob:
        """Put a content into the store, unless it is there."""
        blob = incoming.finish()
        if not self.has(blob.sha256):
            self._put(_key(blob.sha256), incoming.path, size=blob.size)
        return blob

    def has(self, sha256: str) -> bool:
        """Tell whether a content is there."""
        try:
            head(self._store, _key(sha256))
        except FileNotFoundError:
            return False
        except (BaseError, OSError) as error:
            raise _refused(error) from error
        return True

    def read(self, sha256: str, *, start: int, length: int) -> Iterator[bytes]:
        """Yield a part of a content, in chunks."""
        if length:
            yield from self._chunks(_key(sha256), start=start, length=length)

    @contextmanager
    def as_file(self, sha256: str) -> Iterator[Path]:
        """Yield a local copy, which is deleted afterwards."""
        path = self._spool / f"{fsops.TEMPORARY}{os.urandom(16).hex()}"
        try:
            with path.open("xb") as file:
                for chunk in self._chunks(_key(sha256)):
                    file.write(chunk)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def keep_part(self, upload: str, number: int, incoming: Incoming) -> str:
        """Keep a part of an upload; return its digest."""
        blob = incoming.finish()
        self._put(f"parts/{upload}/{part_name(number, blob.sha256)}", incoming.path, size=blob.size)
        return blob.sha256

    def parts(self, upload: str, digests: list[str]) -> Iterator[bytes]:
        """Yield the bytes of all parts of an upload, in chunks."""
        for number, digest in enumerate(digests, 1):
            try:
                yield from self._chunks(f"parts/{upload}/{part_name(number, digest)}")
            except FileNotFoundError as error:
                raise Malformed(f"part {number} of the upload is missing, or is not the one that was sent") from error

    def drop_parts(self, upload: str) -> None:
        """Forget the parts of an upload."""
        self._delete(prefix=f"parts/{upload}/", before=None)

    def clean(self, *, older_than_s: float = LEFTOVER_AGE_S) -> int:
        """Delete temporary files and parts that nobody has touched for a while."""
        gone = self._delete(prefix="parts/", before=time.time() - older_than_s)
        return gone + fsops.remove_leftovers(self._spool, older_than_s=older_than_s)

    def _put(self, key: str, path: Path, *, size: int) -> None:
        one = size <= ONE_PUT_BYTES
        try:
            with path.open("rb") as file:
                put(self._store, key, file, mode="create" if one else "overwrite", use_multipart=not one)
        except AlreadyExistsError:
            return
        except (BaseError, OSError) as error:
            raise _refused(error) from error

    def _chunks(self, key: str, *, start: int | None = None, length: int = 0) -> Iterator[bytes]:
        options: Any = {} if start is None else {"range": (start, start + length)}
        try:
            for chunk in get(self._store, key, options=options).stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as error:
            raise _refused(error) from error

    def _delete(self, *, prefix: str, before: float | None) -> int:
        count = 0
        try:
            for found in list_objects(self._store, prefix=prefix):
                keys = [each["path"] for each in found if before is None or each["last_modified"].timestamp() < before]
                if keys:
                    delete(self._store, keys)
                count += len(keys)
        except (BaseError, OSError) as error:
            raise _refused(error) from error
        return count


def _open(address: str) -> S3Store:
    parts = urlsplit(address)
    if parts.scheme != "s3" or not parts.netloc:
        raise UsageError(f"the store is {address!r}; expected an address such as s3://bucket/prefix")
    config: Any = dict(parse_qsl(parts.query))
    unknown = sorted(set(config) - {"endpoint", "region"})
    if unknown:
        raise UsageError(
            f"the store's address has {unknown[0]!r}; expected endpoint or region behind the question mark"
        )
    options: Any = {"timeout": TIMEOUT}
    if config.get("endpoint", os.environ.get("AWS_ENDPOINT_URL", "")).startswith("http://"):
        options["allow_http"] = True
    try:
        bare = parts._replace(query="").geturl()
        return S3Store.from_url(bare, config=config, client_options=options, retry_config=RETRIES)
    except (BaseError, ValueError) as error:
        raise UsageError(f"the store {address!r} cannot be used: {error}") from error


def _key(sha256: str) -> str:
    return f"blobs/{sha256[:2]}/{sha256}"


def _refused(error: Exception) -> StorageError:
    return StorageError(f"the object store refuses: {error}")
