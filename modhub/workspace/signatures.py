"""Whether the packages of a lock are signed by whom their user trusts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from modhub import fsops
from modhub.errors import IntegrityError, NotFound, UsageError
from modhub.hub.publication import signed_index
from modhub.package.folder import INDEX_FILE, read_collection, read_index
from modhub.package.package import MANIFEST_FILE
from modhub.package.signing import SIGNATURE_KEY, check_signature, sign
from modhub.package.worker import Worker
from modhub.spec.names import CollectionId
from modhub.workspace.strangers import came_with_modhub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from modhub.fsops import Content
    from modhub.hub.client import Client
    from modhub.package.package import Package
    from modhub.package.signing import TrustedKey
    from modhub.spec.index import Index
    from modhub.spec.lock import Lock, LockedModule


@dataclass(frozen=True, kw_only=True)
class Signatures:
    """What is asked of signatures. What comes with modhub needs none.

    Args:
        keys: whom to believe.
        required: whether each package must be signed; otherwise only those that are signed are looked at.

    Raises:
        UsageError: signatures are required and no key is trusted.
    """

    keys: tuple[TrustedKey, ...] = ()
    required: bool = False

    def __post_init__(self) -> None:
        """Check that the two go together."""
        if self.required and not self.keys:
            raise UsageError("signatures are required, and no key is trusted")

    def check(self, lock: Lock, files: Mapping[str, Mapping[str, Content]], client: Client) -> None:
        """Check the packages of a lock before anything reads them.

        Raises:
            IntegrityError: a package is not signed by one of the keys.
            HubError: the index of a collection cannot be read.
            MissingExtra: signing is not installed.
        """
        # A registry is asked once for each collection, not for each of its modules.
        index_of = cache(client.index)
        for module in lock.modules:
            self.check_module(module, fsops.bytes_of(files[module.name][MANIFEST_FILE]), client, index_of=index_of)

    def check_module(
        self,
        module: LockedModule,
        manifest: bytes,
        client: Client,
        *,
        index_of: Callable[..., Index] | None = None,
    ) -> None:
        """Check one package of a lock, by the index that its registry has now; raises as `check`."""
        if not self.keys or came_with_modhub(module, client):
            return
        index = (index_of or client.index)(module.package.collection, registry=module.registry)
        release = index.get(module.package.name, module.version)
        signature = release.extra.get(SIGNATURE_KEY) if release else None
        if signature is None and not self.required:
            return
        if not isinstance(signature, str):
            raise IntegrityError(f"{module.name} {module.version} is not signed, and signatures are required")
        check_signature(signature, manifest, package=module.name, version=module.version, keys=self.keys)


def sign_packages(packages: Iterable[Package], *, collection: str, key: Path) -> dict[str, str]:
    """Return the signatures of packages of a collection, by the digests of their manifests.

    Raises:
        InvalidName: the collection is not called ``owner/name``.
        UsageError: the key cannot be used.
        MissingExtra: signing is not installed.
    """
    of = CollectionId.parse(collection)
    return {
        package.digest: sign(
            package.read(MANIFEST_FILE), package=f"{of}/{package.name}", version=package.version, key=key
        )
        for package in packages
    }


def sign_folder(folder: Path, *, collection: str, key: Path) -> tuple[str, ...]:
    """Sign every package of a collection folder that is not published yet, and return their names and versions.

    Raises:
        NotFound: the folder holds no collection.
        InvalidPackage: a package breaks the format.
        UsageError: the folder is one of a registry, or the key cannot be used.
        MissingExtra: signing is not installed.
    """
    if (folder / ".modhub").exists():
        raise UsageError(f"{folder} is published: releases never change; sign what you publish, when you publish it")
    index, packages = read_index(folder), _packages(folder)
    signatures = sign_packages(packages, collection=collection, key=key)
    fsops.replace_file(folder / INDEX_FILE, signed_index(index, signatures).to_json())
    return tuple(f"{package.name} {package.version}" for package in packages)


def verify_folder(folder: Path, *, collection: str, keys: Sequence[TrustedKey]) -> dict[str, Path]:
    """Return for every package of a collection folder the file of the trusted key that signed it.

    Raises:
        NotFound: the folder holds no collection.
        InvalidPackage: a package breaks the format.
        IntegrityError: a package is not signed by one of the keys.
        MissingExtra: signing is not installed.
    """
    of, signatures, found = CollectionId.parse(collection), signatures_in(folder), {}
    for package in _packages(folder):
        name, version = f"{of}/{package.name}", package.version
        if package.digest not in signatures:
            raise IntegrityError(f"{name} {version} is not signed")
        key = check_signature(
            signatures[package.digest], package.read(MANIFEST_FILE), package=name, version=version, keys=keys
        )
        found[f"{name} {version}"] = key.path
    return found


def signatures_in(folder: Path) -> dict[str, str]:
    """Return the signatures in the index of a collection folder, by the digests of manifests; none without an index.

    Raises:
        FormatError: the index is invalid.
    """
    try:
        index = read_index(folder)
    except NotFound:
        return {}
    found = {release.manifest.sha256: release.extra.get(SIGNATURE_KEY) for release in index.releases}
    return {digest: signature for digest, signature in found.items() if isinstance(signature, str)}


def _packages(folder: Path) -> tuple[Package, ...]:
    with Worker() as worker:
        return read_collection(folder, verify=worker.verify)
