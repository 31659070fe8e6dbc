"""`module.json`: what a package is, needs, provides and weighs.

Laws: ``Manifest.from_dict(m.to_dict()) == m``; ``Manifest.from_json(data).to_json() == data`` for bytes that `to_json`
wrote, by this version or by a later minor one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from modhub.errors import FormatError
from modhub.spec import limits
from modhub.spec.digests import FileRecord
from modhub.spec.document import (
    JSON,
    Fields,
    check_format,
    format_json,
    inside,
    list_of,
    merged,
    parse_json,
    shown,
    table_of,
    text,
)
from modhub.spec.licences import all_of
from modhub.spec.names import PACKAGE_NAME, check_package_name
from modhub.spec.ports import InputPort, OutputPort
from modhub.spec.provenance import ClassLabel, DataSource, Dependency, Method, Metric, Parent, Runtime
from modhub.spec.versions import parse_version

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

__all__ = [
    "FORMAT",
    "ClassLabel",
    "DataSource",
    "Dependency",
    "Manifest",
    "Method",
    "Metric",
    "Parent",
    "Runtime",
]

FORMAT = "modhub/manifest@1"
KINDS = ("base", "module", "composite")
LICENSED_PARTS = ("code", "weights", "data")
CAPABILITY = re.compile(rf"[a-z]+:{PACKAGE_NAME.pattern}")
TIMESTAMP = re.compile(r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?Z")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything that a package says about itself.

    Args:
        license: an SPDX expression in canonical form.
        licenses: those of some parts, ``code``, ``weights`` or ``data``, where they have others than the whole.
        created: when it was packed, RFC 3339 in UTC.
        provides: capabilities, such as ``class:cat``.
        forms: how the weights travel: ``delta`` or ``standalone``, each with its files.
        card: the model card for people. It is in no form, because nothing needs it to run.
        extra: keys that this version does not know; they are written again.

    Raises:
        FormatError: a field is invalid; `where` is its path.
    """

    format: str = FORMAT
    kind: str
    name: str
    version: str
    summary: str
    license: str
    licenses: Mapping[str, str] = field(default_factory=dict, hash=False)
    homepage: str | None = None
    authors: tuple[str, ...] = ()
    created: str
    classes: tuple[ClassLabel, ...]
    input: InputPort
    output: OutputPort
    provides: tuple[str, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    runtime: Runtime
    parent: Parent | None = None
    method: Method | None = None
    data: DataSource | None = None
    metrics: Mapping[str, Metric] = field(default_factory=dict, hash=False)
    forms: Mapping[str, tuple[FileRecord, ...]] = field(hash=False)
    card: FileRecord | None = None
    extra: Mapping[str, JSON] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Check what a type cannot say."""
        check_format(self.format, expected=FORMAT)
        check_release(kind=self.kind, name=self.name, version=self.version, license=self.license)
        check_licenses(self.licenses)
        check_capabilities(self.provides)
        check_forms(self.forms)
        if self.card is not None:
            _check_card(self.card, files=union_of_files(self.forms))
        if len(self.summary) > limits.SUMMARY_LENGTH:
            problem = f"expected at most {limits.SUMMARY_LENGTH} characters, got {len(self.summary)}"
            raise FormatError(problem, where="summary")
        check_time(self.created, where="created")
        _check_unique([label.name for label in self.classes], where="classes")
        _check_unique([dependency.package for dependency in self.dependencies], where="dependencies")
        if "delta" in self.forms and not self.dependencies:
            raise FormatError("a delta is masks over a base, so the base must be a dependency", where="dependencies")

    @property
    def terms(self) -> str:
        """The licence expression of the whole package: that of the package and those of its parts."""
        return all_of((self.license, *self.licenses.values())) if self.licenses else self.license

    @property
    def files(self) -> tuple[FileRecord, ...]:
        """The files of all forms and the card, each once, sorted by name."""
        return union_of_files({**self.forms, "card": (self.card,)} if self.card else self.forms)

    @classmethod
    def from_dict(cls, document: object) -> Self:
        """Return the manifest that a JSON object holds.

        Raises:
            FormatError: a key is missing or has a bad value; `where` is its path.
        """
        fields = Fields(document)
        return cls(
            format=_known_format(fields),
            kind=fields.required("kind", text),
            name=fields.required("name", text),
            version=fields.required("version", text),
            summary=fields.required("summary", text),
            license=fields.required("license", text),
            licenses=fields.optional("licenses", table_of(text), {}),
            homepage=fields.optional("homepage", text),
            authors=fields.optional("authors", list_of(text), ()),
            created=fields.required("created", text),
            classes=fields.required("classes", list_of(ClassLabel.from_dict)),
            input=fields.required("input", InputPort.from_dict),
            output=fields.required("output", OutputPort.from_dict),
            provides=fields.optional("provides", list_of(text), ()),
            dependencies=fields.optional("dependencies", list_of(Dependency.from_dict), ()),
            runtime=fields.required("runtime", Runtime.from_dict),
            parent=fields.optional("parent", Parent.from_dict),
            method=fields.optional("method", Method.from_dict),
            data=fields.optional("data", DataSource.from_dict),
            metrics=fields.optional("metrics", table_of(Metric.from_dict), {}),
            forms=fields.required("forms", table_of(list_of(FileRecord.from_dict))),
            card=fields.optional("card", FileRecord.from_dict),
            extra=fields.rest(),
        )

    def to_dict(self) -> dict[str, JSON]:
        """Return the JSON object that `from_dict` reads."""
        known = {
            "format": self.format,
            "kind": self.kind,
            "name": self.name,
            "version": self.version,
            "summary": self.summary,
            "license": self.license,
            "licenses": dict(self.licenses) or None,
            "homepage": self.homepage,
            "authors": list(self.authors),
            "created": self.created,
            "classes": [label.to_dict() for label in self.classes],
            "input": self.input.to_dict(),
            "output": self.output.to_dict(),
            "provides": list(self.provides),
            "dependencies": [dependency.to_dict() for dependency in self.dependencies],
            "runtime": self.runtime.to_dict(),
            "parent": self.parent.to_dict() if self.parent else None,
            "method": self.method.to_dict() if self.method else None,
            "data": self.data.to_dict() if self.data else None,
            "metrics": {name: metric.to_dict() for name, metric in self.metrics.items()},
            "forms": {form: [file.to_dict() for file in files] for form, files in self.forms.items()},
            "card": self.card.to_dict() if self.card else None,
        }
        return merged(known, self.extra)

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Return the manifest that the bytes of a `module.json` hold.

        Raises:
            FormatError: the bytes are not strict JSON within `limits.MANIFEST_BYTES`, or no valid manifest.
        """
        return cls.from_dict(parse_json(data, limit=limits.MANIFEST_BYTES))

    def to_json(self) -> bytes:
        """Return the bytes of `module.json`; equal manifests give equal bytes."""
        return format_json(self.to_dict())


def check_release(*, kind: str, name: str, version: str, license: str) -> None:
    """Check the fields that a manifest and an index entry share.

    Raises:
        FormatError: one is invalid; `where` says which.
    """
    if kind not in KINDS:
        raise FormatError(f"expected one of {', '.join(KINDS)}; got {shown(kind)}", where="kind")
    with inside("name"):
        check_package_name(name)
    with inside("version"):
        parse_version(version)
    check_license(license)


def check_license(expression: str) -> None:
    """Check an SPDX licence expression.

    Raises:
        FormatError: it is none, or not in canonical form; `where` is ``license``.
    """
    try:
        canonical = str(canonicalize_license_expression(expression))
    except InvalidLicenseExpression as error:
        problem = f"expected an SPDX expression like MIT or LicenseRef-Name, got {shown(expression)}"
        raise FormatError(problem, where="license") from error
    if canonical != expression:
        raise FormatError(f"expected {shown(canonical)}, got {shown(expression)}", where="license")


def check_licenses(licenses: Mapping[str, str]) -> None:
    """Check the SPDX licence expressions of a package's parts.

    Raises:
        FormatError: there is no such part, or its expression is none; `where` is ``licenses`` or starts with it.
    """
    for part, expression in licenses.items():
        if part not in LICENSED_PARTS:
            raise FormatError(f"expected {', '.join(LICENSED_PARTS)}; got {shown(part)}", where="licenses")
        try:
            check_license(expression)
        except FormatError as error:
            raise FormatError(error.problem, where=f"licenses.{part}") from error


def check_time(text: str, *, where: str) -> None:
    """Check a point in time.

    Raises:
        FormatError: it is not RFC 3339 in UTC, or there is no such day.
    """
    try:
        is_time = bool(TIMESTAMP.fullmatch(text) and datetime.fromisoformat(text))
    except ValueError:
        is_time = False
    if not is_time:
        raise FormatError(f"expected UTC like 2026-11-21T00:00:00Z, got {shown(text)}", where=where)


def check_capabilities(provides: tuple[str, ...]) -> None:
    """Check capabilities such as ``class:cat``.

    Raises:
        FormatError: one is malformed or occurs twice.
    """
    for position, capability in enumerate(provides):
        if not CAPABILITY.fullmatch(capability):
            raise FormatError(f"expected one like class:cat, got {shown(capability)}", where=f"provides[{position}]")
    _check_unique(provides, where="provides")


def check_forms(forms: Mapping[str, tuple[FileRecord, ...]]) -> None:
    """Check that forms name no file in two ways.

    Raises:
        FormatError: there is no form, a form's name is invalid, there are too many files, or two records of one
            name differ (names are compared without case, as some file systems do).
    """
    if not forms:
        raise FormatError("expected at least one of delta and standalone", where="forms")
    for form, files in forms.items():
        if not PACKAGE_NAME.fullmatch(form):
            raise FormatError(f"expected a form like delta or standalone, got {shown(form)}", where="forms")
        _check_unique([file.path for file in files], where=f"forms.{form}")
    if len(union_of_files(forms)) > limits.FILES_PER_RELEASE:
        raise FormatError(f"expected at most {limits.FILES_PER_RELEASE} files", where="forms")
    seen: dict[str, FileRecord] = {}
    for file in (file for form in sorted(forms) for file in forms[form]):
        if seen.setdefault(file.path.casefold(), file) != file:
            raise FormatError(f"the file {shown(file.path)} is named in two ways", where="forms")


def union_of_files(forms: Mapping[str, tuple[FileRecord, ...]]) -> tuple[FileRecord, ...]:
    """Return the files of all forms, each once, sorted by name."""
    return tuple(file for _, file in sorted({file.path: file for files in forms.values() for file in files}.items()))


def _check_card(card: FileRecord, *, files: tuple[FileRecord, ...]) -> None:
    if card.path.casefold() in {file.path.casefold() for file in files}:
        raise FormatError(f"the file {shown(card.path)} is in a form, too", where="card")


def _known_format(fields: Fields) -> str:
    # The format is checked before any other key is read: another major version may differ in all of them.
    found = fields.required("format", text)
    check_format(found, expected=FORMAT)
    return found


def _check_unique(names: tuple[str, ...] | list[str], *, where: str) -> None:
    if len(set(names)) < len(names):
        duplicate = next(name for position, name in enumerate(names) if name in names[:position])
        raise FormatError(f"{shown(duplicate)} occurs twice", where=where)
