"""What publishing some packages changes in a collection; no I/O.

The plan is made anew for each attempt, from the index as it is then. Packages that are listed with the same bytes
are left alone, so that a publish whose answer was lost can be repeated.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modhub.errors import FormatError, InvalidPackage
from modhub.fsops import LocalFile
from modhub.hub.backend import CARD_FILE, INDEX_FILE
from modhub.hub.card import render_card
from modhub.package.signing import SIGNATURE_KEY
from modhub.spec.digests import FileRecord
from modhub.spec.index import MANIFEST_FILE, Release
from modhub.spec.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from modhub.fsops import Content
    from modhub.package.package import Package
    from modhub.spec.index import Index
    from modhub.spec.names import CollectionId


@dataclass(frozen=True, kw_only=True)
class Publication:
    """The next index, and the releases it adds with all their files by path in the collection."""

    index: Index
    published: tuple[Release, ...] = ()
    unchanged: tuple[Release, ...] = ()
    files: Mapping[str, Content]

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(len(data) for data in self.files.values())


def plan_publication(
    packages: Sequence[Package], *, index: Index, digest: str, signatures: Mapping[str, str] | None = None
) -> Publication:
    """Return what publishing the packages adds to an index; `digest` is that of the index's bytes.

    Signatures are given by the digests of the manifests that they sign.

    Raises:
        VersionTaken: a version is listed with other content.
        InvalidPackage: a package needs one of this collection that is neither listed nor among the packages.
    """
    releases = [_signed(release_of(package), signatures or {}) for package in packages]
    after = index.adding(releases, previous=digest)
    published, unchanged, files = [], [], {}
    for package, release in zip(packages, releases, strict=True):
        if index.get(release.name, release.version):
            unchanged.append(release)
            continue
        published.append(release)
        files.update({f"{release.name}/{release.version}/{path}": data for path, data in package.files.items()})
    _raise_all(problem for release in published for problem in missing_dependencies(release, index=after))
    return Publication(index=after, published=tuple(published), unchanged=tuple(unchanged), files=files)


def commit_changes(index: Index, files: Mapping[str, Content], *, collection: CollectionId) -> dict[str, Content]:
    """Return all files of a commit: those of the releases, the index, and the card made from it."""
    card = render_card(index, collection=collection)
    return {**files, INDEX_FILE: index.to_json(), CARD_FILE: card.encode("utf-8")}


def signed_index(index: Index, signatures: Mapping[str, str]) -> Index:
    """Return an index that nobody has seen yet, with the signatures of its releases."""
    return dataclasses.replace(index, releases=tuple(_signed(release, signatures) for release in index.releases))


def _signed(release: Release, signatures: Mapping[str, str]) -> Release:
    signature = signatures.get(release.manifest.sha256)
    if signature is None:
        return release
    return dataclasses.replace(release, extra={**release.extra, SIGNATURE_KEY: signature})


def release_of(package: Package) -> Release:
    """Return the entry of a package in an index."""
    return Release.of(package.manifest, package.read(MANIFEST_FILE))


def check_packages(packages: Sequence[Package]) -> None:
    """Check that each package is what its manifest says: an index that lists a broken one could not take it back.

    Raises:
        InvalidPackage: files are missing, unnamed or changed, or two packages have one name and version.
    """
    problems = [problem for package in packages for problem in file_problems(package)]
    names = [f"{package.manifest.name} {package.manifest.version}" for package in packages]
    twice = sorted({name for name in names if names.count(name) > 1})
    _raise_all([*problems, *(FormatError("is there twice", where=name) for name in twice)])


def file_problems(package: Package) -> Iterator[FormatError]:
    """Yield where the files of a package differ from its manifest."""
    place = f"{package.manifest.name}/{package.manifest.version}"
    yield from _manifest_problems(package, file=f"{place}/{MANIFEST_FILE}")
    records = {record.path: record for record in package.manifest.files}
    for path in sorted(records.keys() | package.files.keys() - {MANIFEST_FILE}):
        if path not in records:
            yield FormatError("is not named by the manifest", file=f"{place}/{path}")
        elif path not in package.files:
            yield FormatError("is missing", file=f"{place}/{path}")
        elif not is_content(package.files[path], records[path]):
            yield FormatError("has other content than the manifest says", file=f"{place}/{path}")


def is_content(data: Content, record: FileRecord) -> bool:
    """Tell whether bytes are those of a record; those of a local file are hashed when they are copied."""
    if isinstance(data, LocalFile):
        return (data.size, data.sha256) == (record.size, record.sha256)
    found = FileRecord.of(record.path, data=data)
    return (found.size, found.sha256) == (record.size, record.sha256)


def missing_dependencies(release: Release, *, index: Index) -> Iterator[FormatError]:
    """Yield the dependencies within the collection that an index does not list with the promised digest."""
    for dependency in release.dependencies:
        if not dependency.is_local:
            continue
        name, version = dependency.package.removeprefix("./"), dependency.version.removeprefix("==")
        found = index.get(name, version)
        where = f"{release.name}/{release.version}"
        if found is None:
            yield FormatError(f"needs {name} {version}, which is not in the collection", where=where)
        elif found.manifest.sha256 != dependency.sha256:
            yield FormatError(f"needs another {name} {version} than the one in the collection", where=where)


def _manifest_problems(package: Package, *, file: str) -> Iterator[FormatError]:
    if MANIFEST_FILE not in package.files:
        yield FormatError("is missing", file=file)
        return
    try:
        manifest = Manifest.from_json(package.read(MANIFEST_FILE))
    except FormatError as error:
        yield error.in_file(file)
        return
    if manifest != package.manifest:
        yield FormatError("is not the manifest of the package", file=file)


def _raise_all(problems: Iterable[FormatError]) -> None:
    if found := list(problems):
        raise InvalidPackage(found, subject="publication")
