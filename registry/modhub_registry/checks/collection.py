"""What a commit may do to a modhub collection: add releases that are valid, mark them, and nothing else to them.

A repository is a collection from the commit on that gives it a `modhub.json`. Folders are compared by their digests,
so a commit costs what it adds, however many releases there are already.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from modhub.errors import FormatError
from modhub.spec import limits
from modhub.spec.digests import sha256
from modhub.spec.index import MANIFEST_FILE, Index, Release
from modhub.spec.manifest import Manifest
from modhub_registry.checks.versions import INDEX_FILE
from modhub_registry.errors import InvalidCollection
from modhub_registry.storage.trees import File, Folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from modhub.spec.digests import FileRecord
    from modhub_registry.checks.inspector import Job
    from modhub_registry.storage.registry import Registry
    from modhub_registry.storage.trees import Entry, Listing

FULL = "full"


@dataclasses.dataclass(frozen=True)
class State:
    """The files of a collection at one commit."""

    registry: Registry
    connection: Connection
    root: str

    def read(self, path: str, *, limit: int) -> bytes | None:
        """Return the bytes of a file, or None where there is none.

        Raises:
            FormatError: it is larger than the limit.
        """
        found = self.registry.trees.find(self.connection, self.root, path)
        if not isinstance(found, File):
            return None
        if found.size > limit:
            raise FormatError(f"has {found.size} bytes, more than {limit}", file=path)
        return b"".join(self.registry.blobs.read(found.sha256, start=0, length=found.size))

    def folder_id(self, release: Release) -> str | None:
        """Return the digest of a release's folder, or None where there is none."""
        found = self.registry.trees.find(self.connection, self.root, f"{release.name}/{release.version}")
        return found.id if isinstance(found, Folder) else None

    def files(self, release: Release) -> Listing:
        """Return the entries of a release's folder."""
        id = self.folder_id(release)
        return self.registry.trees.folder(self.connection, id) if id else {}


def check_commit(registry: Registry, *, before: str, after: str, new: Mapping[str, str]) -> None:
    """Check that a commit may turn one state of a repository into another.

    Args:
        new: folders of the state after that may not be stored yet; they are, where the repository is a collection.

    Raises:
        InvalidCollection: with all the reasons.
    """
    with registry.database.reading() as connection:
        old = State(registry, connection, before)
        old_index = old.read(INDEX_FILE, limit=limits.INDEX_BYTES)
    if old_index is None and f'"{INDEX_FILE}"' not in new.get(after, ""):
        return
    with registry.database.writing() as connection:
        registry.trees.store(connection, new)
    with registry.database.reading() as connection:
        old, now = State(registry, connection, before), State(registry, connection, after)
        added, problems = _compare(old, now, old_index)
        jobs = [] if problems else [_job(now, release) for release in added]
    if not problems and registry.settings.checks == FULL:
        problems = registry.inspector.problems_of(jobs)
    if problems:
        raise InvalidCollection("\n".join([f"the collection would be invalid, {_count(problems)}:", *_few(problems)]))


def _compare(old: State, now: State, old_index: bytes | None) -> tuple[list[Release], list[str]]:
    """Return the releases that are new, and what is wrong with the index and with what it lists."""
    try:
        data = now.read(INDEX_FILE, limit=limits.INDEX_BYTES)
        if data is None:
            return [], [f"{INDEX_FILE}: a collection keeps its index"]
        index = Index.from_json(data)
        listed = Index() if old_index is None else Index.from_json(old_index)
        if old_index is not None:
            _check_chain(index, listed, data, old_index)
    except FormatError as error:
        return [], [str(error if error.file else error.in_file(INDEX_FILE))]
    known = {(release.name, release.version): release for release in listed.releases}
    added = [release for release in index.releases if (release.name, release.version) not in known]
    problems = [*_changed_releases(old, now, listed.releases)]
    for release in added:
        problems += _release_problems(now, release, index)
    return added, problems


def _check_chain(index: Index, old: Index, data: bytes, old_data: bytes) -> None:
    """Check that an index continues another one.

    Raises:
        FormatError: it does not.
    """
    if data == old_data:
        return
    index.check_follows(old)
    if index.revision == old.revision + 1 and index.previous != sha256(old_data):
        raise FormatError(f"expected {sha256(old_data)}, the digest of the index before", where="previous")


def _changed_releases(old: State, now: State, releases: Iterable[Release]) -> Iterator[str]:
    for release in releases:
        if old.folder_id(release) != now.folder_id(release):
            yield f"{release.name}/{release.version}: this release is published: its files never change"


def _release_problems(now: State, release: Release, index: Index) -> Iterator[str]:
    """Yield where a new release is not the one that the index promises."""
    place = f"{release.name}/{release.version}"
    found = now.files(release)
    if not found:
        yield f"{INDEX_FILE}: lists {place}, which has no files"
        return
    manifest_problem = _file_problem(found.get(MANIFEST_FILE), release.manifest)
    if manifest_problem:
        yield f"{place}/{MANIFEST_FILE}: {manifest_problem}"
        return
    try:
        data = now.read(f"{place}/{MANIFEST_FILE}", limit=limits.MANIFEST_BYTES) or b""
        manifest = Manifest.from_json(data)
        described = Release.of(manifest, data)
    except FormatError as error:
        yield str(error if error.file else error.in_file(f"{place}/{MANIFEST_FILE}"))
        return
    yield from _files_problems(place, found, manifest)
    described = dataclasses.replace(
        described, yanked=release.yanked, deprecated=release.deprecated, extra=release.extra
    )
    if described != release:
        yield f"{INDEX_FILE}: what it says of {release.name} {release.version} is not what {place}/{MANIFEST_FILE} says"
    yield from _dependency_problems(release, index)


def _files_problems(place: str, found: Listing, manifest: Manifest) -> Iterator[str]:
    records = {record.path: record for record in manifest.files}
    for path in sorted(records.keys() | found.keys() - {MANIFEST_FILE}):
        problem = _file_problem(found.get(path), records[path]) if path in records else "is not named by the manifest"
        if problem:
            yield f"{place}/{path}: {problem}"


def _file_problem(entry: Entry | None, record: FileRecord) -> str:
    """Return what is wrong with a file; empty where nothing is."""
    if not isinstance(entry, File):
        return "is missing"
    if (entry.size, entry.sha256) != (record.size, record.sha256):
        return f"has {entry.size} bytes and the sha256 {entry.sha256}; promised are {record.size} and {record.sha256}"
    return ""


def _dependency_problems(release: Release, index: Index) -> Iterator[str]:
    for dependency in release.dependencies:
        if not dependency.is_local:
            continue
        name, version = dependency.package.removeprefix("./"), dependency.version.removeprefix("==")
        needed = index.get(name, version)
        if needed is None:
            yield f"{release.name}/{release.version}: needs {name} {version}, which is not in the collection"
        elif needed.manifest.sha256 != dependency.sha256:
            yield f"{release.name}/{release.version}: needs another {name} {version} than the one in the collection"


def _job(now: State, release: Release) -> Job:
    """Return what is needed to look into a release: its files by digest, and those of its base."""
    files = {name: entry.sha256 for name, entry in now.files(release).items() if isinstance(entry, File)}
    base: dict[str, str] = {}
    for dependency in release.dependencies:
        if release.kind == "module" and dependency.is_local:
            path = f"{dependency.package.removeprefix('./')}/{dependency.version.removeprefix('==')}"
            folder = now.registry.trees.find(now.connection, now.root, path)
            if isinstance(folder, Folder):
                listing = now.registry.trees.folder(now.connection, folder.id)
                base = {name: entry.sha256 for name, entry in listing.items() if isinstance(entry, File)}
    return {"subject": f"{release.name}/{release.version}", "files": files, "base": base}


def _count(problems: Sequence[str]) -> str:
    return f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"


def _few(problems: Sequence[str]) -> list[str]:
    left = len(problems) - limits.PROBLEMS
    return [f"  - {problem}" for problem in problems[: limits.PROBLEMS]] + (
        [f"  - and {left} more"] if left > 0 else []
    )
