"""`modhub.lock`: the exact releases and digests that satisfy a request. TOML, sorted, stable under diff.

Like PEP 751 it is enough to install from without resolving, like uv's it keeps sizes and sources, like Cargo's it is
one flat list.

Laws: ``Lock.from_toml(lock.to_toml()) == lock``; ``Lock.from_toml(text).to_toml() == text`` for text that `to_toml`
wrote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modhub.errors import FormatError
from modhub.spec import limits
from modhub.spec.digests import FileRecord, check_sha256
from modhub.spec.document import (
    JSON,
    Fields,
    check_size,
    check_tree,
    flag,
    inside,
    list_of,
    merged,
    natural,
    number,
    one_of,
    shown,
    text,
)
from modhub.spec.manifest import KINDS
from modhub.spec.names import PackageId
from modhub.spec.ports import SEMANTICS
from modhub.spec.provenance import Runtime, real
from modhub.spec.versions import parse_version

if TYPE_CHECKING:
    from typing import Self

VERSION = "1"


@dataclass(frozen=True, kw_only=True)
class LockedModule:
    """One release of a lock, in the form that is installed.

    Args:
        name: the full name, ``owner/collection/name``.
        registry: where it comes from, such as ``hf://`` or ``file:///data/modules``.
        revision: the registry's commit that was read, where it has one.
        files: the files of `form`; the manifest is apart, as `manifest_sha256`.
        depends: what it needs, such as ``acme/pets/base==1.0.0``; each is in the lock too.
        parent: the fingerprint of the network it was cut from.
        input: the key of its input contract, `InputPort.key`; equal keys take the same input.
        semantic: what its output means: ``logit``, ``logits`` or ``scores``.
        calibrated: whether its scores are calibrated.
        license: the SPDX expression of all of it.
        why: what asked for it: requirements, and releases that need it, such as ``acme/pets/cat 1.0.0``.

    Raises:
        FormatError: a field is invalid; `where` is its path.
    """

    name: str
    version: str
    kind: str
    registry: str
    revision: str | None = None
    manifest_sha256: str
    form: str
    files: tuple[FileRecord, ...]
    depends: tuple[str, ...] = ()
    parent: str | None = None
    input: str | None = None
    semantic: str | None = None
    calibrated: bool | None = None
    classes: tuple[str, ...]
    license: str
    why: tuple[str, ...] = ()
    extra: Mapping[str, JSON] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Check name, version and digest."""
        with inside("name"):
            PackageId.parse(self.name)
        with inside("version"):
            parse_version(self.version)
        check_sha256(self.manifest_sha256, where="manifest-sha256")
        if self.parent is not None:
            check_sha256(self.parent, where="parent")
        if self.input is not None:
            check_sha256(self.input, where="input")

    @property
    def package(self) -> PackageId:
        """The name as a value."""
        return PackageId.parse(self.name)

    @classmethod
    def from_dict(cls, document: object) -> Self:
        """Return the release that a table holds.

        Raises:
            FormatError: a key is missing or has a bad value; `where` is its path.
        """
        fields = Fields(document)
        return cls(
            name=fields.required("name", text),
            version=fields.required("version", text),
            kind=fields.required("kind", one_of(*KINDS)),
            registry=fields.required("registry", text),
            revision=fields.optional("revision", text),
            manifest_sha256=fields.required("manifest-sha256", text),
            form=fields.required("form", text),
            files=fields.required("files", list_of(FileRecord.from_dict)),
            depends=fields.optional("depends", list_of(text), ()),
            parent=fields.optional("parent", text),
            input=fields.optional("input", text),
            semantic=fields.optional("semantic", one_of(*SEMANTICS)),
            calibrated=fields.optional("calibrated", flag),
            classes=fields.required("classes", list_of(text)),
            license=fields.required("license", text),
            why=fields.optional("why", list_of(text), ()),
            extra=fields.rest(),
        )

    def to_dict(self) -> dict[str, JSON]:
        """Return the table that `from_dict` reads."""
        known = {
            "name": self.name,
            "version": self.version,
            "kind": self.kind,
            "registry": self.registry,
            "revision": self.revision,
            "manifest-sha256": self.manifest_sha256,
            "form": self.form,
            "files": [file.to_dict() for file in self.files],
            "depends": list(self.depends),
            "parent": self.parent,
            "input": self.input,
            "semantic": self.semantic,
            "calibrated": self.calibrated,
            "classes": list(self.classes),
            "license": self.license,
            "why": list(self.why),
        }
        return merged(known, self.extra)


@dataclass(frozen=True, kw_only=True)
class Request:
    """How the requirements of a lock were to be satisfied; what is absent was left open.

    Args:
        prefer: which provider of a class wins.
        prerelease: whether pre-releases will do.
        strategy: how the modules are to be joined, where that excludes some.
        apart: whether the modules need not fit into one model.
        calibrating: whether the scores were to be calibrated afterwards.
        licenses: the licences and levels allowed, sorted.
        licence_conflicts: ``warn`` where these are no reason to refuse.
        min_f1: the least F1 of a module.
        max_size: the most bytes of a module.
        onnxruntime: the version that is to run the answer.

    Raises:
        FormatError: a field is invalid; `where` is its path.
    """

    prefer: str | None = None
    prerelease: bool | None = None
    strategy: str | None = None
    apart: bool | None = None
    calibrating: bool | None = None
    licenses: tuple[str, ...] | None = None
    licence_conflicts: str | None = None
    min_f1: float | None = None
    max_size: int | None = None
    onnxruntime: str | None = None
    extra: Mapping[str, JSON] = field(default_factory=dict, hash=False)

    @classmethod
    def from_dict(cls, document: object) -> Self:
        """Return the request that a table holds.

        Raises:
            FormatError: a key has a bad value; `where` is its path.
        """
        fields = Fields(document)
        return cls(
            prefer=fields.optional("prefer", text),
            prerelease=fields.optional("prerelease", flag),
            strategy=fields.optional("strategy", text),
            apart=fields.optional("apart", flag),
            calibrating=fields.optional("calibrating", flag),
            licenses=fields.optional("licenses", list_of(text)),
            licence_conflicts=fields.optional("licence-conflicts", text),
            min_f1=fields.optional("min-f1", number),
            max_size=fields.optional("max-size", natural),
            onnxruntime=fields.optional("onnxruntime", text),
            extra=fields.rest(),
        )

    def to_dict(self) -> dict[str, JSON]:
        """Return the table that `from_dict` reads."""
        known = {
            "prefer": self.prefer,
            "prerelease": self.prerelease,
            "strategy": self.strategy,
            "apart": self.apart,
            "calibrating": self.calibrating,
            "licenses": None if self.licenses is None else list(self.licenses),
            "licence-conflicts": self.licence_conflicts,
            "min-f1": real(self.min_f1),
            "max-size": self.max_size,
            "onnxruntime": self.onnxruntime,
        }
        return merged(known, self.extra)


@dataclass(frozen=True, kw_only=True)
class Lock:
    """A resolved request.

    Args:
        version: the major version of the format, and a minor one after a dot.
        created_by: the program that wrote it, such as ``modhub 0.1.0``.
        requirements: what was asked for, in the order asked.
        request: how that was to be satisfied.
        modules: the releases, bases among them, sorted by name.
        target: the newest operator set, IR and ONNX Runtime that any of them needs.

    Raises:
        FormatError: another major version, or the modules are not sorted or not closed under `depends`.
    """

    version: str = VERSION
    created_by: str
    requirements: tuple[str, ...]
    request: Request = field(default_factory=Request)
    modules: tuple[LockedModule, ...]
    target: Runtime
    extra: Mapping[str, JSON] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Check version, order and dependencies."""
        if not re.fullmatch(rf"{VERSION}(\.[0-9]{{1,6}})?", self.version):
            raise FormatError(f"expected lock version {VERSION}, got {shown(self.version)}", where="lock-version")
        names = [module.name for module in self.modules]
        if names != sorted(set(names)):
            raise FormatError("expected modules sorted by name, each once", where="module")
        locked = {f"{module.name}=={module.version}" for module in self.modules}
        for position, module in enumerate(self.modules):
            if missing := sorted(set(module.depends) - locked):
                raise FormatError(f"{shown(missing[0])} is not in the lock", where=f"module[{position}].depends")

    def get(self, package: PackageId) -> LockedModule | None:
        """Return the locked release of a package, or none."""
        return next((module for module in self.modules if module.name == str(package)), None)

    @classmethod
    def from_toml(cls, text_of_lock: str) -> Self:
        """Return the lock that a TOML text holds.

        Raises:
            FormatError: it is too long, no TOML, or no valid lock; `where` is the path to the fault.
        """
        check_size(text_of_lock.encode("utf-8", "replace"), limit=limits.LOCK_BYTES)
        document = parse_toml(text_of_lock)
        check_tree(document)
        return cls.from_dict(document)

    def to_toml(self) -> str:
        """Return the text of `modhub.lock`; equal locks give equal text."""
        import tomli_w

        return tomli_w.dumps(_sorted(self.to_dict()))

    @classmethod
    def from_dict(cls, document: object) -> Self:
        """Return the lock that a table holds.

        Raises:
            FormatError: a key is missing or has a bad value; `where` is its path.
        """
        fields = Fields(document)
        return cls(
            version=fields.required("lock-version", text),
            created_by=fields.required("created-by", text),
            requirements=fields.required("requirements", list_of(text)),
            request=fields.optional("request", Request.from_dict, Request()),
            modules=fields.optional("module", list_of(LockedModule.from_dict), ()),
            target=fields.required("target", Runtime.from_dict),
            extra=fields.rest(),
        )

    def to_dict(self) -> dict[str, JSON]:
        """Return the table that `from_dict` reads."""
        known = {
            "lock-version": self.version,
            "created-by": self.created_by,
            "requirements": list(self.requirements),
            "request": self.request.to_dict() or None,
            "target": self.target.to_dict(),
            "module": [module.to_dict() for module in self.modules] or None,
        }
        return merged(known, self.extra)


def _sorted(table: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return a table with its keys sorted at every depth; lists keep their order."""
    return {key: _sorted_value(value) for key, value in sorted(table.items())}


def _sorted_value(value: JSON) -> JSON:
    if isinstance(value, Mapping):
        return _sorted(value)
    return [_sorted_value(item) for item in value] if isinstance(value, list) else value


def parse_toml(document: str) -> dict[str, object]:
    """Return the tables of a TOML text.

    Raises:
        FormatError: it is no TOML, or nested too deeply.
    """
    import tomllib

    try:
        return tomllib.loads(document)
    except RecursionError as error:
        raise FormatError(f"is nested deeper than {limits.DOCUMENT_DEPTH} levels") from error
    except ValueError as error:
        raise FormatError(f"not TOML: {error}") from error
