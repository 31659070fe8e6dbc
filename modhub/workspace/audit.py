"""Looking again at what a lock holds: has anything come to light since it was written?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modhub.composer.licences import joined_licence
from modhub.errors import ComposeError, FormatError, HubError, IntegrityError, InvalidPackage, NotFound
from modhub.fsops import bytes_of
from modhub.package.package import MANIFEST_FILE
from modhub.workspace.parts import base_name
from modhub.workspace.promises import check_promises
from modhub.workspace.strangers import verifier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modhub.package.package import Package
    from modhub.package.worker import Verifier
    from modhub.spec.index import Release
    from modhub.spec.lock import Lock, LockedModule
    from modhub.workspace.workspace import Workspace

ERROR, WARNING = "error", "warning"
INTEGRITY = "integrity"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something about a locked release that its user should know.

    Args:
        severity: ``error``, or ``warning`` for what may stay as it is.
        kind: ``yanked``, ``deprecated``, ``licence``, ``integrity``, ``format`` or ``unknown``, where a registry
            could not be asked.
        name: the release's full name, ``lock`` where it concerns all of them.
        version: its version.
        problem: what is wrong. A signature that is missing or wrong is a matter of integrity too.
    """

    severity: str
    kind: str
    name: str
    version: str
    problem: str


def audit(lock: Lock, workspace: Workspace) -> tuple[Finding, ...]:
    """Return what is to be known of a lock's releases, those of one release together, in the lock's order.

    Every file is hashed and every package checked anew: structure, operators, finite weights.

    Raises:
        UsageError: the lock names a registry by an address of an unknown form.
    """
    workspace = workspace.with_registries_of(lock)
    packages: dict[str, Package] = {}
    found: dict[str, list[Finding]] = {}
    with verifier(lock.modules, workspace.client) as verify:
        for module in sorted(lock.modules, key=lambda module: module.kind != "base"):
            found[module.name] = [*_marks(module, workspace), *_contents(module, workspace, packages, verify)]
    return (*(finding for module in lock.modules for finding in found[module.name]), *_licences(lock))


def _marks(module: LockedModule, workspace: Workspace) -> Iterator[Finding]:
    """Yield what the registry says of a release now."""
    collection = module.package.collection
    try:
        index = workspace.client.index(collection, registry=module.registry)
    except IntegrityError as error:
        yield _finding(module, ERROR, INTEGRITY, str(error))
        return
    except (HubError, FormatError) as error:
        yield _finding(module, ERROR, "unknown", f"its registry cannot be asked: {error}")
        return
    release = index.get(module.package.name, module.version)
    if release is None:
        yield _finding(module, ERROR, INTEGRITY, f"{module.registry} does not list it any more")
        return
    yield from _changes(module, release)


def _changes(module: LockedModule, release: Release) -> Iterator[Finding]:
    if release.manifest.sha256 != module.manifest_sha256:
        problem = f"the registry lists it with the manifest {release.manifest.sha256}, the lock with another"
        yield _finding(module, ERROR, INTEGRITY, problem)
    if release.yanked is not None:
        yield _finding(module, ERROR, "yanked", release.yanked)
    if release.deprecated is not None:
        yield _finding(module, WARNING, "deprecated", release.deprecated)


def _contents(
    module: LockedModule, workspace: Workspace, packages: dict[str, Package], verify: Verifier
) -> Iterator[Finding]:
    """Yield what is wrong with the files of a release, and keep the package where nothing is."""
    try:
        files = workspace.client.fetch_module(module)
        if workspace.signatures is not None:
            workspace.signatures.check_module(module, bytes_of(files[MANIFEST_FILE]), workspace.client)
        base = packages.get(base_name(module) or "")
        package = verify(files, base=base, form=module.form, subject=module.name)
        check_promises(module, package, workspace.client)
        packages[module.name] = package
    except (IntegrityError, NotFound) as error:
        yield _finding(module, ERROR, INTEGRITY, str(error))
    except InvalidPackage as error:
        for problem in error.problems:
            yield _finding(module, ERROR, "format", str(problem))
    except FormatError as error:
        yield _finding(module, ERROR, "format", str(error))
    except HubError as error:
        yield _finding(module, ERROR, "unknown", f"its files cannot be fetched: {error}")


def _licences(lock: Lock) -> Iterator[Finding]:
    """Yield why the licences of the releases do not go together."""
    try:
        joined_licence(module.license for module in lock.modules)
    except ComposeError as error:
        yield Finding(severity=ERROR, kind="licence", name="lock", version="", problem=str(error))


def _finding(module: LockedModule, severity: str, kind: str, problem: str) -> Finding:
    return Finding(severity=severity, kind=kind, name=module.name, version=module.version, problem=problem)
