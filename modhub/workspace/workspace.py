"""Where a person works: the registries they use, their store, and what to do with requirements there.

It joins the hub with the resolver and the composer, which do not know each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from modhub import fsops
from modhub._version import __version__
from modhub.composer.compose import Part
from modhub.errors import FormatError, InvalidRequirement, NotFound, ResolveError, UsageError
from modhub.hub.client import Client
from modhub.hub.registries import open_registry
from modhub.hub.store import Store
from modhub.package.folder import INDEX_FILE, read_collection, read_package
from modhub.package.pack import RUNTIME
from modhub.package.package import MANIFEST_FILE
from modhub.package.verify import verify
from modhub.resolver.catalog import Candidate
from modhub.resolver.explain import Conflict
from modhub.resolver.options import Options
from modhub.resolver.solve import solve
from modhub.spec import limits
from modhub.spec.digests import sha256
from modhub.spec.lock import Lock, LockedModule
from modhub.spec.names import PackageId
from modhub.spec.requirements import PackageRequirement, PathRequirement, parse_requirement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub.package.package import Package
    from modhub.resolver.resolution import Resolution
    from modhub.spec.requirements import Requirement

LOCK_FILE = "modhub.lock"
DEFAULT_REGISTRY = "seed:"


@dataclass(frozen=True)
class Workspace:
    """Registries and a store, ready for use."""

    client: Client

    @classmethod
    def open(
        cls, registries: Sequence[str] = (), *, store: Path | None = None, offline: bool = False
    ) -> Workspace:
        """Return the workspace of some registries; without any, that of the embedded one.

        Raises:
            UsageError: a registry's address has an unknown form.
        """
        named = {name: open_registry(name) for name in registries or (DEFAULT_REGISTRY,)}
        place = Store(store) if store else Store.of_user()
        return cls(Client(named, store=place, offline=offline))

    def catalog(self) -> RegistryCatalog:
        """Return what the resolver may choose from."""
        return RegistryCatalog(self.client)

    def resolve(self, requirements: Sequence[str], *, options: Options | None = None, old: Lock | None = None) -> Lock:
        """Return a lock with exact releases for the requirements.

        Raises:
            InvalidRequirement: a requirement cannot be parsed.
            ResolveError: nothing satisfies them all; says why.
        """
        wanted = [parse_requirement(text) for text in requirements]
        paths = [str(requirement) for requirement in wanted if isinstance(requirement, PathRequirement)]
        if paths:
            raise UsageError(f"{paths[0]} is a path, not something a registry holds: compose takes it as it is")
        return self._solved(wanted, options=options, old=old).lock(created_by=f"modhub {__version__}", target=RUNTIME)

    def _solved(self, wanted: Sequence[Requirement], *, options: Options | None, old: Lock | None) -> Resolution:
        options = options or Options()
        if old is not None:
            pins = {module.package: module.version for module in old.modules}
            options = replace(options, pins=pins)
        answer = solve(self.catalog(), wanted, options=options)
        if isinstance(answer, Conflict):
            raise ResolveError(str(answer))
        return answer

    def install(self, lock: Lock) -> dict[str, Package]:
        """Return the packages of a lock, fetched into the store where they were not, and verified.

        Raises:
            IntegrityError: bytes differ from what the lock promises.
            InvalidPackage: a package breaks the format.
            HubError: a registry cannot be read.
        """
        files = self.client.fetch(lock)
        packages: dict[str, Package] = {}
        for module in sorted(lock.modules, key=lambda module: module.kind != "base"):
            base = packages.get(base_name(module) or "")
            packages[module.name] = verify(files[module.name], base=base, form=module.form, subject=module.name)
        return packages

    def gather(self, requirements: Sequence[str]) -> tuple[list[Part], str]:
        """Return what to compose, in the order asked, and the lock's text; see `modhub.flow.gather`."""
        if len(requirements) == 1 and Path(requirements[0]).is_file():
            lock = read_lock(Path(requirements[0]))
            found = self.parts(lock)
            return [part for text in lock.requirements for part in found.get(text, ())], lock.to_toml()
        paths = {text: parts_of_folder(Path(text)) for text in requirements if is_path(text)}
        others = [text for text in requirements if text not in paths]
        lock_text, found = "", dict(paths)
        if others:
            lock = self.resolve(others)
            lock_text, solved = lock.to_toml(), self.parts(lock)
            found.update({text: solved[str(parse_requirement(text))] for text in others})
        return [part for text in requirements for part in found[text]], lock_text

    def parts(self, lock: Lock) -> dict[str, list[Part]]:
        """Return for each requirement of a lock the modules that it asked for, ready to compose."""
        packages = self.install(lock)
        parts: dict[str, list[Part]] = {text: [] for text in lock.requirements}
        for module in lock.modules:
            part = Part(
                reference=module.name, package=packages[module.name], base=packages.get(base_name(module) or "")
            )
            for text in parts:
                if asks_for(text, module):
                    parts[text].append(part)
        return parts


def asks_for(requirement: str, module: LockedModule) -> bool:
    """Tell whether a requirement of a lock asked for a module, rather than for something that depends on it."""
    parsed = parse_requirement(requirement)
    named = not isinstance(parsed, PackageRequirement) or parsed.package == module.package
    return named and requirement in module.why


def is_path(text: str) -> bool:
    """Tell whether a requirement is a path: written as one, or the name of a folder that is there."""
    return isinstance(parse_path_or_none(text), PathRequirement) or (Path(text) / INDEX_FILE).is_file()


def parse_path_or_none(text: str) -> Requirement | None:
    """Return a parsed requirement, or None where it is none."""
    try:
        return parse_requirement(text)
    except InvalidRequirement:
        return None


def parts_of_folder(folder: Path) -> list[Part]:
    """Return the module in a package folder, or all modules of a collection folder in their parent's class order.

    Raises:
        NotFound: there is neither.
        InvalidPackage: with every problem found.
    """
    if not (folder / INDEX_FILE).is_file():
        package, base = read_package(folder)
        return [Part(reference=f"local/{folder.resolve().parent.parent.name}/{package.name}", package=package, base=base)]
    packages = read_collection(folder)
    bases = {sha256(package.files[MANIFEST_FILE]): package for package in packages if package.manifest.kind == "base"}
    return [
        Part(
            reference=f"local/{folder.resolve().name}/{package.name}",
            package=package,
            base=next((bases[need.sha256] for need in package.manifest.dependencies if need.sha256 in bases), None),
        )
        for package in packages
        if package.manifest.kind != "base"
    ]


def read_lock(path: Path) -> Lock:
    """Return a lock file's content.

    Raises:
        NotFound: there is no such file.
        FormatError: it is no valid lock.
    """
    try:
        return Lock.from_toml(fsops.read_file(path, limit=limits.LOCK_BYTES).decode("utf-8"))
    except FormatError as error:
        raise (error if error.file else error.in_file(str(path))) from error
    except UnicodeDecodeError as error:
        raise FormatError("is no UTF-8 text", file=str(path)) from error


class RegistryCatalog:
    """What the registries of a client hold, as the resolver asks for it; indexes are read when they are needed."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def releases(self, package: PackageId) -> tuple[Candidate, ...]:
        """Return every release of a package, from the first registry that has its collection."""
        for name in self.client.registries:
            try:
                snapshot = self.client.snapshot(package.collection, registry=name)
            except NotFound:
                continue
            return tuple(
                Candidate(package=package, release=release, registry=snapshot.registry, revision=snapshot.revision)
                for release in snapshot.index.find(package.name)
            )
        return ()

    def providers(self, capability: str) -> tuple[PackageId, ...]:
        """Return the packages of all registries that provide a capability such as ``class:cat``."""
        found: dict[PackageId, None] = {}
        for name in self.client.registries:
            for collection in self.client.collections(registry=name):
                for release in self.client.index(collection, registry=name).releases:
                    if capability in release.provides:
                        found[collection.package(release.name)] = None
        return tuple(found)


def base_name(module: LockedModule) -> str | None:
    """Return the full name of the base that a locked delta is cut from, or None."""
    for depends in module.depends:
        return depends.partition("==")[0]
    return None
