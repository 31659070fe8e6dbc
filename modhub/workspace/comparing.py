"""Does a lock still say what resolving would say?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.errors import NotFound, ResolveError
from modhub.spec.requirements import parse_requirement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modhub.spec.lock import Lock, LockedModule, Request
    from modhub.workspace.workspace import Workspace

ASPECTS = ("version", "registry", "form", "manifest_sha256", "files", "depends", "parent", "input", "license", "why")
"""What of a module resolving decides. Its revision may be any that lists it."""


def differences(lock: Lock, workspace: Workspace, *, requirements: Sequence[str], request: Request) -> tuple[str, ...]:
    """Return in what a lock differs from the request or from its registries, a sentence each; nothing where it holds.

    Releases that came later are no difference: pins are kept.

    Args:
        lock: what is looked at.
        workspace: where the releases were looked for; the registries that the lock names are always asked.
        requirements: what is asked for now.
        request: how.

    Raises:
        InvalidRequirement: one cannot be read.
        HubError: a registry cannot be read.
    """
    requirements = [str(parse_requirement(text)) for text in requirements]
    asked = [*_asked(lock, requirements=requirements), *_request(lock.request, request)]
    everywhere = workspace.with_registries_of(lock)
    listed = [line for module in lock.modules for line in _listed(module, everywhere)]
    if asked or listed:
        return (*asked, *listed)
    try:
        now = workspace.resolve(requirements, request=request, old=lock)
    except ResolveError as error:
        return (str(error),)
    return tuple(_modules(lock, now))


def _asked(lock: Lock, *, requirements: Sequence[str]) -> Iterator[str]:
    yield from (f"{text} is asked for, and the lock lacks it" for text in requirements if text not in lock.requirements)
    yield from (f"the lock has {text}, which nobody asks for" for text in lock.requirements if text not in requirements)
    if sorted(requirements) == sorted(lock.requirements) and tuple(requirements) != lock.requirements:
        yield "the requirements are in another order"


def _request(locked: Request, asked: Request) -> Iterator[str]:
    was, now = locked.to_dict(), asked.to_dict()
    for key in sorted({*was, *now}):
        if was.get(key) != now.get(key):
            yield f"{key} was {_said(was.get(key))} when the lock was made, and is {_said(now.get(key))}"


def _said(value: object) -> str:
    return "left open" if value is None else str(value)


def _listed(module: LockedModule, workspace: Workspace) -> Iterator[str]:
    """Yield in what the registry's release is not the locked one."""
    label = f"{module.name} {module.version}"
    try:
        index = workspace.client.index(module.package.collection, registry=module.registry)
    except NotFound as error:
        yield f"{label}: {error}"
        return
    release = index.get(module.package.name, module.version)
    if release is None:
        yield f"{module.registry} has no {label}"
    elif release.manifest.sha256 != module.manifest_sha256:
        found, locked = release.manifest.sha256, module.manifest_sha256
        yield f"{module.registry} lists {label} with the manifest {found:.12}, the lock has {locked:.12}"
    elif release.forms.get(module.form) != module.files:
        yield f"{module.registry} lists other files of {label} than the lock has"


def _modules(lock: Lock, now: Lock) -> Iterator[str]:
    for module in now.modules:
        locked = lock.get(module.package)
        if locked is None:
            yield f"{module.name} {module.version} is needed, and the lock lacks it"
            continue
        for aspect in ASPECTS:
            if getattr(locked, aspect) != getattr(module, aspect):
                name = aspect.replace("_", "-")
                yield f"{name} of {module.name} {locked.version}: the lock does not say what resolving says"
    for module in lock.modules:
        if now.get(module.package) is None:
            yield f"the lock has {module.name} {module.version}, which nothing needs"
