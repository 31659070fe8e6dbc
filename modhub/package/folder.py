"""Packages and collections as folders, laid out as on every registry.

```
modhub.json            the index
base/1.0.0/...         a release: the manifest and the files it names
cat/1.0.0/...
```
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modhub import fsops
from modhub.errors import FormatError, InvalidPackage, NotFound
from modhub.package.package import MANIFEST_FILE, Package
from modhub.package.verify import verify as verify_here
from modhub.spec import limits
from modhub.spec.digests import sha256
from modhub.spec.index import Index, Release
from modhub.spec.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from modhub.fsops import Content
    from modhub.package.worker import Verifier
    from modhub.spec.digests import FileRecord

INDEX_FILE = "modhub.json"
BASE_REFERENCE = "./"


def collection_files(packages: Iterable[Package], *, summary: str = "") -> dict[str, Content]:
    """Return the files of a new collection, by their paths inside it."""
    files: dict[str, Content] = {}
    releases = []
    for package in packages:
        releases.append(Release.of(package.manifest, package.read(MANIFEST_FILE)))
        prefix = f"{package.name}/{package.version}"
        files.update({f"{prefix}/{name}": data for name, data in package.files.items()})
    empty = Index(summary=summary)
    index = empty.adding(releases, previous=sha256(empty.to_json()))
    return {INDEX_FILE: index.to_json(), **files}


def read_release(folder: Path) -> dict[str, Content]:
    """Return the files in a release folder by name; none is read beyond the size that the manifest announces.

    Large ones are not read at all.

    Raises:
        NotFound: there is no such folder, or it holds no manifest.
        FormatError: an entry is no regular file, or larger than announced.
    """
    names = fsops.list_folder(folder)
    if MANIFEST_FILE not in names:
        raise NotFound(f"there is no package in {str(folder)!r}: it holds no {MANIFEST_FILE}")
    manifest = fsops.read_file(folder / MANIFEST_FILE, limit=limits.MANIFEST_BYTES)
    announced = _announced(manifest)
    files: dict[str, Content] = {MANIFEST_FILE: manifest}
    for name in names:
        if name != MANIFEST_FILE:
            files[name] = _content(folder / name, announced[name]) if name in announced else b""
    return files


def _content(path: Path, record: FileRecord) -> Content:
    if record.size < fsops.LARGE_BYTES:
        return fsops.read_file(path, limit=record.size)
    return fsops.local_file(path, limit=record.size, sha256=record.sha256)


def _announced(manifest: bytes) -> Mapping[str, FileRecord]:
    try:
        return {record.path: record for record in Manifest.from_json(manifest).files}
    except FormatError:
        return {}  # Whoever verifies the files will say what is wrong with it.


def read_package(folder: Path, *, verify: Verifier = verify_here) -> tuple[Package, Package | None]:
    """Return the verified package in a release folder, and its base if that lies in the same collection folder.

    Raises:
        NotFound: there is no package here.
        InvalidPackage: with every problem found.
    """
    base = _sibling_base(folder, verify)
    return verify(read_release(folder), base=base, subject=str(folder)), base


def _sibling_base(folder: Path, verify: Verifier) -> Package | None:
    try:
        manifest = Manifest.from_json(fsops.read_file(folder / MANIFEST_FILE, limit=limits.MANIFEST_BYTES))
    except (FormatError, NotFound):
        return None
    for dependency in manifest.dependencies:
        version = dependency.version.removeprefix("==")
        if dependency.package.startswith(BASE_REFERENCE) and manifest.kind == "module":
            place = folder.resolve().parent.parent / dependency.package.removeprefix(BASE_REFERENCE) / version
            if (place / MANIFEST_FILE).is_file():
                return verify(read_release(place), subject=str(place))
    return None


def read_index(folder: Path) -> Index:
    """Return the index of a collection folder.

    Raises:
        NotFound: the folder holds no collection.
        FormatError: its index is invalid.
    """
    try:
        return Index.from_json(fsops.read_file(folder / INDEX_FILE, limit=limits.INDEX_BYTES))
    except NotFound:
        raise NotFound(f"there is no collection in {str(folder)!r}: it holds no {INDEX_FILE}") from None
    except FormatError as error:
        raise error.in_file(str(folder / INDEX_FILE)) from error


def read_collection(folder: Path, *, verify: Verifier = verify_here) -> tuple[Package, ...]:
    """Return the verified packages of a collection folder: bases first, then modules in their parent's class order.

    Raises:
        NotFound: the folder holds no collection.
        InvalidPackage: with every problem of every package.
    """
    index = read_index(folder)
    problems: list[FormatError] = []
    bases: dict[str, Package] = {}
    found: list[Package] = []
    for release in sorted(index.releases, key=lambda r: (r.kind != "base", r.name, r.number)):
        where = f"{release.name}/{release.version}"
        try:
            base = _base_of(release, bases)
            package = verify(read_release(folder / release.name / release.version), base=base, subject=where)
        except InvalidPackage as error:
            problems.extend(problem.in_file(f"{where}/{problem.file}") for problem in error.problems)
        except (FormatError, NotFound) as error:
            problems.append(FormatError(str(error), file=where))
        else:
            problems.extend(_index_problems(release, package))
            found.append(package)
            if release.kind == "base":
                bases[f"./{release.name}=={release.version}"] = package
    if problems:
        raise InvalidPackage(problems, subject=str(folder))
    return tuple(sorted(found, key=_class_order))


def _base_of(release: Release, bases: Mapping[str, Package]) -> Package | None:
    for dependency in release.dependencies:
        if release.kind == "module" and dependency.package.startswith(BASE_REFERENCE):
            key = f"{dependency.package}{dependency.version}"
            if key not in bases:
                problem = f"its base {dependency.package} {dependency.version} is not in the collection, or invalid"
                raise FormatError(problem, where="dependencies")
            return bases[key]
    return None


def _index_problems(release: Release, package: Package) -> list[FormatError]:
    listed = Release.of(package.manifest, package.read(MANIFEST_FILE))
    marks: dict[str, Any] = {"yanked": release.yanked, "deprecated": release.deprecated, "extra": release.extra}
    if replace(listed, **marks) == release:
        return []
    problem = f"lists {release.name} {release.version} with the manifest {release.manifest.sha256}, it is "
    problem += listed.manifest.sha256
    if listed.manifest == release.manifest:
        problem = f"says other things of {release.name} {release.version} than its {MANIFEST_FILE}"
    return [FormatError(problem, where="releases", file=INDEX_FILE)]


def _class_order(package: Package) -> tuple[bool, int, str]:
    first = package.manifest.classes[0].parent_index if package.manifest.classes else None
    return package.manifest.kind != "base", -1 if first is None else first, package.name
