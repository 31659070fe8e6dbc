"""Why a lock holds what it holds, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modhub.spec.requirements import ClassRequirement, parse_requirement
from modhub.spec.versions import parse_version

if TYPE_CHECKING:
    from modhub.resolver.catalog import Candidate, Catalog
    from modhub.spec.lock import Lock, LockedModule


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One release of a lock, and the reasons for it, each a phrase."""

    name: str
    version: str
    form: str
    registry: str
    reasons: tuple[str, ...]


def explain_choices(lock: Lock, catalog: Catalog, *, old: Lock | None = None) -> tuple[Choice, ...]:
    """Return each release of a lock with the reasons for it.

    Args:
        lock: what was chosen.
        catalog: what it was chosen from.
        old: the lock whose versions were kept where they fit.
    """
    return tuple(
        Choice(
            name=module.name,
            version=module.version,
            form=module.form,
            registry=module.registry,
            reasons=tuple(_reasons(module, lock, catalog, old=old)),
        )
        for module in lock.modules
    )


def _reasons(module: LockedModule, lock: Lock, catalog: Catalog, *, old: Lock | None) -> list[str]:
    reasons = []
    for text in module.why:
        if text not in lock.requirements:
            reasons.append(f"needed by {text}")
            continue
        wanted = parse_requirement(text)
        reasons.append(f"asked for by {text}")
        if isinstance(wanted, ClassRequirement):
            count = len(tuple(catalog.providers(wanted.capability, origin=wanted.origin)))
            reasons.append(_choice_reason(module, lock, count=count, catalog=catalog, origin=wanted.origin))
    return [*reasons, _version_reason(module, list(catalog.releases(module.package, origin=module.registry)), old=old)]


def _choice_reason(module: LockedModule, lock: Lock, *, count: int, catalog: Catalog, origin: str | None) -> str:
    """Return why a package was taken of several that score a class."""
    if count == 1:
        return "the only package that scores it"
    others = [each.name for each in lock.modules if each.parent == module.parent and each.kind == "module"]
    shared = [name for name in others if name != module.name] if module.parent else []
    found = [each for each in catalog.releases(module.package, origin=origin) if each.release.version == module.version]
    bound = found[0].release.lower_bound("f1") if found else None
    told = [] if bound is None else [f"F1 at least {bound:.4g}"]
    told += [
        f"of one parent with {shared[0]}" if len(shared) == 1 else f"of one parent with {len(shared)} others"
    ] * bool(shared)
    return f"best of {count} packages that score it{': ' if told else ''}{', '.join(told)}"


def _version_reason(module: LockedModule, candidates: list[Candidate], *, old: Lock | None) -> str:
    kept = old.get(module.package) if old else None
    number = parse_version(module.version)
    newer = [each for each in candidates if each.release.version != module.version and each.number > number]
    if kept is not None and kept.version == module.version:
        return f"{module.version} kept from the lock" + (f", newest is {newer[-1].release.version}" if newer else "")
    if not newer:
        return "the only version" if len(candidates) == 1 else f"newest of {len(candidates)} versions"
    passed = ", ".join(f"{each.release.version}{' (yanked)' if each.release.yanked else ''}" for each in newer)
    return f"newest that will do; passed over: {passed}"
