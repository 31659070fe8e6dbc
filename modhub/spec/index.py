"""`modhub.json`: every release of every package of one collection.

It does not name its owner, so a collection can be mirrored unchanged. It only grows: a release, once listed, stays
as it is but for `yanked` and `deprecated`. Each revision holds the digest of the one before.

Laws: ``Index.from_dict(i.to_dict()) == i``; ``Index.from_json(data).to_json() == data`` for bytes that `to_json` wrote;
``i.adding(releases, previous=...)`` follows ``i``, and adding the same releases again changes nothing.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from modhub.errors import FormatError, NotFound, VersionTaken
from modhub.spec import limits
from modhub.spec.digests import FileRecord, check_sha256
from modhub.spec.document import (
    JSON,
    Fields,
    check_format,
    flag,
    format_json,
    list_of,
    merged,
    natural,
    one_of,
    parse_json,
    table_of,
    text,
)
from modhub.spec.licences import all_of
from modhub.spec.manifest import (
    check_capabilities,
    check_forms,
    check_licenses,
    check_release,
    check_time,
    union_of_files,
)
from modhub.spec.ports import SEMANTICS, InputPort
from modhub.spec.provenance import Dependency, Metric, Runtime
from modhub.spec.versions import parse_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Self

    from packaging.version import Version

    from modhub.spec.manifest import Manifest

FORMAT = "modhub/index@1"
MANIFEST_FILE = "module.json"


@dataclass(frozen=True, kw_only=True)
class Release:
    """One version of one package: what searching and resolving need of its manifest.

    Args:
        manifest: the record of its `module.json`.
        semantic: what its output means: ``logit``, ``logits`` or ``scores``.
        calibrated: whether its scores are calibrated.
        parent: the fingerprint of the network it was cut from.
        method: the name of the system that made it.
        yanked: why nobody should choose it any more; existing locks still install it.
        deprecated: what to use instead; it may still be chosen.

    Raises:
        FormatError: a field is invalid; `where` is its path.
    """

    name: str
    version: str
    kind: str
    summary: str
    license: str
    licenses: Mapping[str, str] = field(default_factory=dict, hash=False)
    created: str
    manifest: FileRecord
    forms: Mapping[str, tuple[FileRecord, ...]] = field(hash=False)
    classes: tuple[str, ...]
    provides: tuple[str, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    input: InputPort
    semantic: str
    calibrated: bool
    runtime: Runtime
    parent: str | None = None
    method: str | None = None
    metrics: Mapping[str, Metric] = field(default_factory=dict, hash=False)
    yanked: str | None = None
    deprecated: str | None = None
    extra: Mapping[str, JSON] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Check what a type cannot say."""
        check_release(kind=self.kind, name=self.name, version=self.version, license=self.license)
        check_licenses(self.licenses)
        check_time(self.created, where="created")
        check_capabilities(self.provides)
        check_forms(self.forms)
        if self.manifest.path != MANIFEST_FILE:
            raise FormatError(f"expected {MANIFEST_FILE}, got {self.manifest.path}", where="manifest.path")
        if self.parent is not None:
            check_sha256(self.parent, where="parent")

    @property
    def files(self) -> tuple[FileRecord, ...]:
        """The files of all forms, each once, sorted by name; without the manifest."""
        return union_of_files(self.forms)

    @property
    def number(self) -> Version:
        """The version as a value that compares."""
        return parse_version(self.version)

    @property
    def terms(self) -> str:
        """The licence expression of the whole release: that of the package and those of its parts."""
        return all_of((self.license, *self.licenses.values())) if self.licenses else self.license

    @property
    def size(self) -> int:
        """Bytes to fetch in the smallest form, manifest included, dependencies not."""
        return self.manifest.size + min(sum(file.size for file in files) for files in self.forms.values())

    def lower_bound(self, metric: str) -> float | None:
        """Return the low end of a metric's interval, what may be relied on; none where it was not measured."""
        found = self.metrics.get(metric)
        return found.lower_bound if found else None

    @classmethod
    def of(cls, manifest: Manifest, manifest_bytes: bytes) -> Self:
        """Return the entry of a package, from its manifest and the bytes that hold it."""
        return cls(
            name=manifest.name,
            version=manifest.version,
            kind=manifest.kind,
            summary=manifest.summary,
            license=manifest.license,
            licenses=manifest.licenses,
            created=manifest.created,
            manifest=FileRecord.of(MANIFEST_FILE, data=manifest_bytes),
            forms=manifest.forms,
            classes=tuple(label.name for label in manifest.classes),
            provides=manifest.provides,
            dependencies=manifest.dependencies,
            input=manifest.input,
            semantic=manifest.output.semantic,
            calibrated=manifest.output.calibration is not None,
            runtime=manifest.runtime,
            parent=manifest.parent.sha256 if manifest.parent else None,
            method=manifest.method.name if manifest.method else None,
            metrics=manifest.metrics,
        )

    @classmethod
    def from_dict(cls, document: object) -> Self:
        """Return the release that a JSON object holds.

        Raises:
            FormatError: a key is missing or has a bad value; `where` is its path.
        """
        fields = Fields(document)
        return cls(
            name=fields.required("name", text),
            version=fields.required("version", text),
            kind=fields.required("kind", text),
            summary=fields.required("summary", text),
            license=fields.required("license", text),
            licenses=fields.optional("licenses", table_of(text), {}),
            created=fields.required("created", text),
            manifest=fields.required("manifest", FileRecord.from_dict),
            forms=fields.required("forms", table_of(list_of(FileRecord.from_dict))),
            classes=fields.required("classes", list_of(text)),
            provides=fields.optional("provides", list_of(text), ()),
            dependencies=fields.optional("dependencies", list_of(Dependency.from_dict), ()),
            input=fields.required("input", InputPort.from_dict),
            semantic=fields.required("semantic", one_of(*SEMANTICS)),
            calibrated=fields.required("calibrated", flag),
            runtime=fields.required("runtime", Runtime.from_dict),
            parent=fields.optional("parent", text),
            method=fields.optional("method", text),
            metrics=fields.optional("metrics", table_of(Metric.from_dict), {}),
            yanked=fields.optional("yanked", text),
            deprecated=fields.optional("deprecated", text),
            extra=fields.rest(),
        )

    def to_dict(self) -> dict[str, JSON]:
        """Return the JSON object that `from_dict` reads."""
        known = {
            "name": self.name,
            "version": self.version,
            "kind": self.kind,
            "summary": self.summary,
            "license": self.license,
            "licenses": dict(self.licenses) or None,
            "created": self.created,
            "manifest": self.manifest.to_dict(),
            "forms": {form: [file.to_dict() for file in files] for form, files in self.forms.items()},
            "classes": list(self.classes),
            "provides": list(self.provides),
            "dependencies": [dependency.to_dict() for dependency in self.dependencies],
            "input": self.input.to_dict(),
            "semantic": self.semantic,
            "calibrated": self.calibrated,
            "runtime": self.runtime.to_dict(),
            "parent": self.parent,
            "method": self.method,
            "metrics": {name: metric.to_dict() for name, metric in self.metrics.items()},
            "yanked": self.yanked,
            "deprecated": self.deprecated,
        }
        return merged(known, self.extra)


@dataclass(frozen=True, kw_only=True)
class Index:
    """The releases of one collection, sorted by name and version.

    Args:
        revision: how many times the index was written before this one.
        previous: the digest of the bytes of the revision before; none for revision 0.
        summary: one line on the collection.

    Raises:
        FormatError: the releases are not sorted, or one occurs twice.
    """

    format: str = FORMAT
    revision: int = 0
    previous: str | None = None
    summary: str = ""
    releases: tuple[Release, ...] = ()
    extra: Mapping[str, JSON] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Check the chain's link and the order."""
        check_format(self.format, expected=FORMAT)
        if self.previous is not None:
            check_sha256(self.previous, where="previous")
        if (self.revision == 0) != (self.previous is None):
            raise FormatError("expected a digest from revision 1 on, and none before", where="previous")
        keys = [_order(release) for release in self.releases]
        for position, (first, second) in enumerate(pairwise(keys)):
            if not first < second:
                problem = "expected releases sorted by name and version, each once"
                raise FormatError(problem, where=f"releases[{position + 1}]")

    def find(self, name: str) -> tuple[Release, ...]:
        """Return the releases of a package, oldest version first."""
        return tuple(release for release in self.releases if release.name == name)

    def get(self, name: str, version: str) -> Release | None:
        """Return one release, or none."""
        return next((release for release in self.find(name) if release.version == version), None)

    def adding(self, releases: Iterable[Release], *, previous: str) -> Index:
        """Return the next revision, which lists these releases too; the same index where they are all listed.

        Args:
            releases: what to add; those listed with the same manifest are left as they are.
            previous: the digest of this revision's bytes.

        Raises:
            VersionTaken: a version is listed with another manifest.
        """
        known = {_order(release): release for release in self.releases}
        for release in releases:
            listed = known.setdefault(_order(release), release)
            if listed.manifest.sha256 != release.manifest.sha256:
                raise VersionTaken(f"{release.name} {release.version} is already published with other content")
        if len(known) == len(self.releases):
            return self
        return self._next(tuple(known[key] for key in sorted(known)), previous=previous)

    def yanking(self, name: str, version: str, *, reason: str | None, previous: str) -> Index:
        """Return the next revision, where a release is yanked for a reason, or no longer where that is none.

        Raises:
            NotFound: there is no such release.
        """
        release = self._listed(name, version)
        return self._replacing(release, dataclasses.replace(release, yanked=reason), previous=previous)

    def deprecating(self, name: str, version: str, *, reason: str | None, previous: str) -> Index:
        """Return the next revision, where a release is deprecated, or no longer where the reason is none.

        Raises:
            NotFound: there is no such release.
        """
        release = self._listed(name, version)
        return self._replacing(release, dataclasses.replace(release, deprecated=reason), previous=previous)

    def check_follows(self, older: Index) -> None:
        """Check that this index may come after an older one: it only grew.

        Raises:
            FormatError: the revision went back, or a release is missing or changed in more than yanked and deprecated.
        """
        if self.revision < older.revision or (self.revision == older.revision and self != older):
            problem = f"expected a revision after {older.revision}, got {self.revision}"
            raise FormatError(problem, where="revision")
        mine = {_order(release): release for release in self.releases}
        for release in older.releases:
            found = mine.get(_order(release))
            name = f"{release.name} {release.version}"
            if found is None:
                raise FormatError(f"{name} was published and is missing", where="releases")
            if dataclasses.replace(found, yanked=release.yanked, deprecated=release.deprecated) != release:
                raise FormatError(f"{name} was published and is changed", where="releases")

    @classmethod
    def from_dict(cls, document: object) -> Self:
        """Return the index that a JSON object holds.

        Raises:
            FormatError: a key is missing or has a bad value; `where` is its path.
        """
        fields = Fields(document)
        found = fields.required("format", text)
        check_format(found, expected=FORMAT)
        return cls(
            format=found,
            revision=fields.required("revision", natural),
            previous=fields.optional("previous", text),
            summary=fields.optional("summary", text, ""),
            releases=fields.required("releases", list_of(Release.from_dict)),
            extra=fields.rest(),
        )

    def to_dict(self) -> dict[str, JSON]:
        """Return the JSON object that `from_dict` reads."""
        known = {
            "format": self.format,
            "revision": self.revision,
            "previous": self.previous,
            "summary": self.summary,
            "releases": [release.to_dict() for release in self.releases],
        }
        return merged(known, self.extra)

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Return the index that the bytes of a `modhub.json` hold.

        Raises:
            FormatError: the bytes are not strict JSON within `limits.INDEX_BYTES`, or no valid index.
        """
        return cls.from_dict(parse_json(data, limit=limits.INDEX_BYTES))

    def to_json(self) -> bytes:
        """Return the bytes of `modhub.json`; equal indexes give equal bytes."""
        return format_json(self.to_dict())

    def _next(self, releases: tuple[Release, ...], *, previous: str) -> Index:
        return dataclasses.replace(self, releases=releases, revision=self.revision + 1, previous=previous)

    def _listed(self, name: str, version: str) -> Release:
        release = self.get(name, version)
        if release is None:
            raise NotFound(f"there is no release {name} {version}")
        return release

    def _replacing(self, old: Release, new: Release, *, previous: str) -> Index:
        if new == old:
            return self
        return self._next(tuple(new if release is old else release for release in self.releases), previous=previous)


def _order(release: Release) -> tuple[str, Version]:
    return release.name, release.number
