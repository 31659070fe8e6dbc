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
            count = len(tuple(catalog.providers(wanted.capability)))
            reasons.append(
                f"best of {count} packages that score it" if count > 1 else "the only package that scores it"
            )
    return [*reasons, _version_reason(module, list(catalog.releases(module.package)), old=old)]


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
