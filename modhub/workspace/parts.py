"""From packages to what is composed: each module with its base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modhub.composer.compose import Part
from modhub.errors import InvalidRequirement, NotFound
from modhub.package.folder import INDEX_FILE, read_collection, read_package
from modhub.package.package import MANIFEST_FILE
from modhub.package.worker import Worker
from modhub.spec.requirements import PackageRequirement, PathRequirement, parse_requirement
from modhub.spec.versions import parse_version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modhub.package.package import Package
    from modhub.spec.lock import Lock, LockedModule


def parts_of_lock(lock: Lock, packages: Mapping[str, Package]) -> dict[str, list[Part]]:
    """Return for each requirement of a lock the modules that it asked for, ready to compose."""
    return {
        text: [
            Part(reference=module.name, package=packages[module.name], base=packages.get(base_name(module) or ""))
            for module in lock.modules
            if asks_for(text, module)
        ]
        for text in lock.requirements
    }


def asks_for(requirement: str, module: LockedModule) -> bool:
    """Tell whether a requirement of a lock asked for a module, rather than for something that depends on it."""
    parsed = parse_requirement(requirement)
    named = not isinstance(parsed, PackageRequirement) or parsed.package == module.package
    return named and requirement in module.why


def base_name(module: LockedModule) -> str | None:
    """Return the full name of the base that a locked delta is cut from, or None."""
    return next((depends.partition("==")[0] for depends in module.depends), None)


def path_of(text: str) -> Path | None:
    """Return the folder that a requirement names, or None where it names something of a registry.

    A path is written as one, or leads to a folder that holds a package, a collection, or a package's versions in one.
    """
    try:
        parsed = parse_requirement(text)
    except InvalidRequirement:
        parsed = None
    if isinstance(parsed, PathRequirement):
        return Path(parsed.path).expanduser()
    path = Path(text)
    holds = any((path / name).is_file() for name in (INDEX_FILE, MANIFEST_FILE))
    return path if holds or _is_inside_collection(path) else None


def _is_inside_collection(folder: Path) -> bool:
    """Tell whether a folder holds the versions of one package of a collection."""
    return (folder.parent / INDEX_FILE).is_file() and folder.is_dir() and not (folder / MANIFEST_FILE).is_file()


def parts_of_folder(folder: Path) -> list[Part]:
    """Return the module in a package folder, or those of a collection folder in their parent's class order.

    Of each package in a collection the newest version counts; ``split/cat`` is that of one.

    Raises:
        NotFound: there is neither.
        InvalidPackage: with every problem found.
    """
    if _is_inside_collection(folder):
        found = [part for part in parts_of_folder(folder.parent) if part.package.name == folder.name]
        if not found:
            raise NotFound(f"{str(folder.parent)!r} is a collection without a module {folder.name!r}")
        return found
    with Worker() as worker:
        if not (folder / INDEX_FILE).is_file():
            package, base = read_package(folder, verify=worker.verify)
            return [Part(reference=package.name, package=package, base=base)]
        packages = read_collection(folder, verify=worker.verify)
    bases = {package.digest: package for package in packages if package.manifest.kind == "base"}
    return [
        Part(reference=f"{folder.resolve().name}/{package.name}", package=package, base=_base_of(package, bases))
        for package in newest(packages)
        if package.manifest.kind != "base"
    ]


def _base_of(package: Package, bases: Mapping[str, Package]) -> Package | None:
    return next((bases[need.sha256] for need in package.manifest.dependencies if need.sha256 in bases), None)


def newest(packages: Sequence[Package]) -> list[Package]:
    """Return the newest version of each package, in their order."""
    best: dict[str, Package] = {}
    for package in packages:
        known = best.get(package.name)
        if known is None or parse_version(known.version) < parse_version(package.version):
            best[package.name] = package
    return [package for package in packages if best[package.name] is package]
