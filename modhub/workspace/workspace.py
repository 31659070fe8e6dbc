"""`Workspace`: registries and a store, ready for use.

What reads networks is imported inside: searching needs none of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modhub._version import __version__
from modhub.errors import ResolveError, UsageError
from modhub.hub.client import Client
from modhub.hub.registries import open_registry
from modhub.hub.store import Store
from modhub.resolver.explain import Conflict
from modhub.resolver.options import Options
from modhub.resolver.solve import solve
from modhub.spec.requirements import PathRequirement, parse_requirement
from modhub.workspace.catalog import RegistryCatalog
from modhub.workspace.choices import Choice, explain_choices
from modhub.workspace.lockfile import read_lock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub.composer.compose import Part
    from modhub.package.package import Package
    from modhub.spec.lock import Lock

DEFAULT_REGISTRY = "seed:"


@dataclass(frozen=True)
class Workspace:
    """Registries and a store, ready for use."""

    client: Client

    @classmethod
    def open(cls, registries: Sequence[str] = (), *, store: Path | None = None, offline: bool = False) -> Workspace:
        """Return the workspace of some registries; without any, that of the embedded one.

        Raises:
            UsageError: a registry's address has an unknown form.
        """
        named = {name: open_registry(name) for name in registries or (DEFAULT_REGISTRY,)}
        return cls(Client(named, store=Store(store) if store else Store.of_user(), offline=offline))

    def catalog(self) -> RegistryCatalog:
        """Return what the resolver may choose from, as it is now."""
        return RegistryCatalog(self.client)

    def resolve(self, requirements: Sequence[str], *, options: Options | None = None, old: Lock | None = None) -> Lock:
        """Return a lock with exact releases for the requirements; see `modhub.flow.resolve`."""
        from modhub.package.pack import RUNTIME

        wanted = [parse_requirement(text) for text in requirements]
        paths = [str(requirement) for requirement in wanted if isinstance(requirement, PathRequirement)]
        if paths:
            raise UsageError(f"{paths[0]} is a path, not something a registry holds: compose takes it as it is")
        options, catalog = options or Options(), self.catalog()
        answer = solve(catalog, wanted, options=options if old is None else options.keeping(old))
        if isinstance(answer, Conflict):
            skipped = [f"\n  skipped {name}, which cannot be read: {error}" for name, error in catalog.skipped.items()]
            raise ResolveError(f"{answer}{''.join(skipped)}")
        return answer.lock(created_by=f"modhub {__version__}", target=RUNTIME)

    def explain(self, lock: Lock, *, old: Lock | None = None) -> tuple[Choice, ...]:
        """Return each release of a lock with the reasons for it."""
        return explain_choices(lock, self.catalog(), old=old)

    def install(self, lock: Lock) -> dict[str, Package]:
        """Return the packages of a lock by full name, bases first; see `modhub.flow.install`."""
        from modhub.package.verify import verify
        from modhub.workspace.parts import base_name

        files = self.with_registries_of(lock).client.fetch(lock)
        packages: dict[str, Package] = {}
        for module in sorted(lock.modules, key=lambda module: module.kind != "base"):
            base = packages.get(base_name(module) or "")
            packages[module.name] = verify(files[module.name], base=base, form=module.form, subject=module.name)
        return packages

    def with_registries_of(self, lock: Lock) -> Workspace:
        """Return this workspace with the registries that a lock names: it says where its releases come from.

        Raises:
            UsageError: a registry's address has an unknown form.
        """
        known = {backend.name for backend in self.client.registries.values()}
        named = dict.fromkeys(module.registry for module in lock.modules if module.registry not in known)
        if not named:
            return self
        backends = {**self.client.registries, **{name: open_registry(name) for name in named}}
        return Workspace(Client(backends, store=self.client.store, offline=self.client.offline))

    def gather(self, requirements: Sequence[str]) -> tuple[list[Part], str]:
        """Return what to compose, in the order asked, and the lock's text; see `modhub.flow.gather`."""
        from modhub.workspace.parts import parts_of_folder, parts_of_lock, path_of

        if len(requirements) == 1 and Path(requirements[0]).is_file():
            lock = read_lock(Path(requirements[0]))
            found = parts_of_lock(lock, self.install(lock))
            return [part for text in lock.requirements for part in found[text]], lock.to_toml()
        folders = {text: path for text in requirements if (path := path_of(text)) is not None}
        found = {text: parts_of_folder(path) for text, path in folders.items()}
        wanted = [text for text in requirements if text not in folders]
        if not wanted:
            return [part for text in requirements for part in found[text]], ""
        lock = self.resolve(wanted)
        solved = parts_of_lock(lock, self.install(lock))
        found.update({text: solved[str(parse_requirement(text))] for text in wanted})
        return [part for text in requirements for part in found[text]], lock.to_toml()
