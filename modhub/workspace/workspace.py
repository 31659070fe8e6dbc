"""`Workspace`: registries and a store, ready for use.

What reads networks is imported inside: searching needs none of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from modhub._version import __version__
from modhub.errors import ResolveError, UsageError
from modhub.hub.client import Client
from modhub.hub.registries import open_registry
from modhub.hub.store import Store
from modhub.resolver.explain import Conflict
from modhub.resolver.options import Options, with_runtime
from modhub.resolver.solve import solve
from modhub.spec.lock import Request
from modhub.spec.requirements import PathRequirement, parse_requirement
from modhub.workspace.catalog import RegistryCatalog
from modhub.workspace.choices import Choice, explain_choices
from modhub.workspace.lockfile import read_lock

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from modhub.composer.compose import Part
    from modhub.hub.backend import Backend
    from modhub.hub.signed_index import Trust
    from modhub.hub.transfer import Progress
    from modhub.package.package import Package
    from modhub.spec.lock import Lock
    from modhub.spec.names import PackageId
    from modhub.spec.requirements import Requirement
    from modhub.workspace.signatures import Signatures

DEFAULT_REGISTRY = "seed:"
SIGNED_FOLDER = "signed"
"""In the store: the signed metadata last seen of each registry."""


@dataclass(frozen=True)
class Workspace:
    """Registries and a store, ready for use.

    Args:
        client: the registries and the store.
        names: addresses of registries by the names that requirements may use for them.
        signatures: what is asked of the signatures of whatever is installed; None where nothing is.
        signed: whom to believe about the indexes of registries, by their names; those of others need no signature.
    """

    client: Client
    names: Mapping[str, str] = field(default_factory=dict)
    signatures: Signatures | None = None
    signed: Mapping[str, Trust] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        registries: Sequence[str] = (),
        *,
        store: Path | None = None,
        offline: bool = False,
        named: bool = True,
        private: bool = False,
        names: Mapping[str, str] | None = None,
        signatures: Signatures | None = None,
        signed: Mapping[str, Trust] | None = None,
    ) -> Workspace:
        """Return the workspace of some registries; without any, that of the embedded one.

        Args:
            registries: addresses; see `modhub.hub.registries`.
            store: folder of fetched files; the user's own by default.
            offline: read remote registries from the store only.
            named: whether a person named the registries, and not a lock; see `modhub.hub.tokens`.
            private: whether collections that are made there are shown to nobody else.
            names: addresses by the names that requirements may use for them.
            signatures: what is asked of the signatures of whatever is installed.
            signed: whom to believe about the indexes of registries, by their addresses.

        Raises:
            UsageError: a registry's address has an unknown form.
        """
        opened = {name: open_registry(name, named=named, private=private) for name in registries or (DEFAULT_REGISTRY,)}
        kept = Store(store) if store else Store.of_user()
        trusts = {open_registry(address, named=False).name: trust for address, trust in (signed or {}).items()}
        backends = {name: _as_signed(backend, trusts, kept) for name, backend in opened.items()}
        return cls(Client(backends, store=kept, offline=offline), names or {}, signatures, trusts)

    def catalog(self, requirements: Iterable[Requirement] = ()) -> RegistryCatalog:
        """Return what the resolver may choose from, as it is now, the origins of requirements included.

        Raises:
            UsageError: an origin is neither a name nor an address.
        """
        backends, origins = dict(self.client.registries), {}
        for origin in (each.origin for each in requirements if not isinstance(each, PathRequirement)):
            if origin is not None and origin not in origins:
                address = self.names.get(origin, origin)
                backend = backends.get(address) or self._open(address)
                known = next((name for name, each in backends.items() if each.name == backend.name), None)
                origins[origin] = known or address
                backends.setdefault(origins[origin], backend)
        client = Client(backends, store=self.client.store, offline=self.client.offline)
        return RegistryCatalog(client, searched=self.client.registries, origins=origins)

    def resolve(
        self,
        requirements: Sequence[str],
        *,
        options: Options | None = None,
        request: Request | None = None,
        old: Lock | None = None,
        upgrading: Collection[PackageId] = (),
    ) -> Lock:
        """Return a lock with exact releases for the requirements; see `modhub.flow.resolve`.

        Args:
            requirements: packages with versions, or classes.
            options: how to choose, where that is not what `request` says.
            request: how to choose, as the lock says it.
            old: a lock whose versions are kept where they still fit.
            upgrading: packages of it whose newest releases are wanted.
        """
        from modhub.package.pack import RUNTIME

        wanted = [parse_requirement(text) for text in requirements]
        paths = [str(requirement) for requirement in wanted if isinstance(requirement, PathRequirement)]
        if paths:
            raise UsageError(f"{paths[0]} is a path, not something a registry holds: compose takes it as it is")
        request = request or Request()
        options, catalog = with_runtime(options or Options.of(request), RUNTIME), self.catalog(wanted)
        answer = solve(catalog, wanted, options=options if old is None else options.keeping(old, upgrading=upgrading))
        if isinstance(answer, Conflict):
            skipped = [f"\n  skipped {name}, which cannot be read: {error}" for name, error in catalog.skipped.items()]
            raise ResolveError(f"{answer}{''.join(skipped)}")
        return answer.lock(created_by=f"modhub {__version__}", target=RUNTIME, request=request)

    def explain(self, lock: Lock, *, old: Lock | None = None) -> tuple[Choice, ...]:
        """Return each release of a lock with the reasons for it."""
        catalog = self.with_registries_of(lock).catalog(parse_requirement(text) for text in lock.requirements)
        return explain_choices(lock, catalog, old=old)

    def install(
        self, lock: Lock, *, progress: Progress | None = None, signatures: Signatures | None = None
    ) -> dict[str, Package]:
        """Return the packages of a lock by full name, bases first; see `modhub.flow.install`."""
        from modhub.workspace.parts import base_name
        from modhub.workspace.promises import check_promises
        from modhub.workspace.strangers import verifier

        packages: dict[str, Package] = {}
        client = self.with_registries_of(lock).client
        signatures = signatures or self.signatures
        with verifier(lock.modules, client) as verify:
            files = client.fetch(lock, progress=progress)
            if signatures is not None:
                signatures.check(lock, files, client)
            for module in sorted(lock.modules, key=lambda module: module.kind != "base"):
                base = packages.get(base_name(module) or "")
                package = verify(files[module.name], base=base, form=module.form, subject=module.name)
                check_promises(module, package, client)
                packages[module.name] = package
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
        backends = {**self.client.registries, **{name: self._open(name) for name in named}}
        client = Client(backends, store=self.client.store, offline=self.client.offline)
        return replace(self, client=client)

    def _open(self, address: str) -> Backend:
        """Return a registry that a requirement or a lock names, and no person."""
        return _as_signed(open_registry(address, named=False), self.signed, self.client.store)

    def gather(
        self, requirements: Sequence[str], *, lock: Lock | None = None, request: Request | None = None
    ) -> tuple[list[Part], str]:
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
        lock = lock or self.resolve(wanted, request=request)
        solved = parts_of_lock(lock, self.install(lock))
        found.update({text: solved[str(parse_requirement(text))] for text in wanted})
        return [part for text in requirements for part in found[text]], lock.to_toml()


def _as_signed(backend: Backend, trusts: Mapping[str, Trust], store: Store) -> Backend:
    """Return a registry that shows what its owner signed, where that was asked for."""
    trust = trusts.get(backend.name)
    if trust is None:
        return backend
    from modhub.hub.signed_index import SignedBackend

    return SignedBackend(backend, trust, folder=store.root / SIGNED_FOLDER)
