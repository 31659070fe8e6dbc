"""What modules keep of their parent and have in common, measured once for each release, in a process of its own.

Releases never change, so neither do these numbers. They are kept in memory, the last used ones.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import OrderedDict
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Lock, Semaphore
from typing import TYPE_CHECKING, Any

from modhub_registry.pages.catalogue import release_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub.spec.index import Release
    from modhub_registry.pages.catalogue import Collection
    from modhub_registry.routes.asked import Session
    from modhub_registry.storage.blobs import Blobs
    from modhub_registry.storage.trees import File

PATIENCE_S = 20.0
"""For one measurement, and for the turn that it waits for."""

AT_ONCE = 4
"""Pages that wait for a measurement; others are shown without."""

DRAWN_BYTES = 512 << 20
"""Files of a base and its modules together."""

DRAWN_MODULES = 48
"""Modules that are compared with one another."""

KEPT_ANSWERS = 256

DELTA_FILE = "delta.safetensors"

Measured = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be measured: the digests that name it, and the files of the base and of each module."""

    key: str
    parts: tuple[dict[str, File], ...]


class Draughtsman:
    """Measures, one at a time, and remembers."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Measured] = OrderedDict()
        self._places, self._turn, self._lock = Semaphore(AT_ONCE), Lock(), Lock()

    def measured(self, blobs: Blobs, plan: Plan | None) -> Measured:
        """Return what some modules of one base keep, and have in common; a ``problem`` where that is not known."""
        if plan is None:
            return {"problem": "there are no masks over a base in this collection"}
        if sum(file.size for part in plan.parts for file in part.values()) > DRAWN_BYTES:
            return {"problem": f"the files have more than {DRAWN_BYTES >> 20} MiB, which is not drawn here"}
        return self._remembered(plan.key) or self._asked(blobs, plan)

    def _asked(self, blobs: Blobs, plan: Plan) -> Measured:
        busy = {"problem": "others are being drawn; load the page again in a moment"}
        if not self._places.acquire(blocking=False):
            return busy
        try:
            if not self._turn.acquire(timeout=PATIENCE_S):
                return busy
            try:
                return self._remembered(plan.key) or self._remember(plan.key, _measure(blobs, plan.parts))
            finally:
                self._turn.release()
        finally:
            self._places.release()

    def _remembered(self, key: str) -> Measured | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _remember(self, key: str, measured: Measured) -> Measured:
        with self._lock:
            self._kept[key] = measured
            if len(self._kept) > KEPT_ANSWERS:
                self._kept.popitem(last=False)
        return measured


def plan_of(session: Session, collection: Collection, modules: Sequence[Release]) -> Plan | None:
    """Return what to measure of some modules over one base; None where they have no masks over a base.

    Args:
        modules: as `over_one_base` returns them; no more than `DRAWN_MODULES` are taken.
    """
    chosen = [module for module in modules[:DRAWN_MODULES] if has_masks(module)]
    base = base_of(collection, chosen[0]) if chosen else None
    if base is None:
        return None
    parts = tuple(release_files(session, collection, each) for each in (base, *chosen))
    return Plan(key=" ".join(each.manifest.sha256 for each in (base, *chosen)), parts=parts)


def base_of(collection: Collection, module: Release) -> Release | None:
    """Return the base in the collection that a module's masks are over."""
    for need in module.dependencies:
        if need.is_local:
            found = collection.index.get(need.package.removeprefix("./"), need.version.removeprefix("=="))
            if found is not None and found.kind == "base" and found.manifest.sha256 == need.sha256:
                return found
    return None


def over_one_base(collection: Collection) -> list[Release]:
    """Return the newest modules over the collection's newest base, in the order of the parent's classes."""
    bases = [release for release in collection.newest() if release.kind == "base"]
    if not bases:
        return []
    base = max(bases, key=lambda release: release.number)
    order = {label: number for number, label in enumerate(base.classes)}
    modules = [
        release for release in collection.newest() if has_masks(release) and base_of(collection, release) == base
    ]
    return sorted(modules, key=lambda release: (order.get(release.classes[0], len(order)), release.name))


def has_masks(release: Release) -> bool:
    """Tell whether a release is a module of masks over a base."""
    return release.kind == "module" and any(file.path == DELTA_FILE for file in release.files)


def _measure(blobs: Blobs, parts: Sequence[dict[str, File]]) -> Measured:
    with ExitStack() as stack:
        paths = [
            {name: str(stack.enter_context(blobs.as_file(file.sha256))) for name, file in part.items()}
            for part in parts
        ]
        job = json.dumps({"base": paths[0], "modules": paths[1:]})
        command = [sys.executable, "-m", "modhub_registry.pages.draw_worker"]
        try:
            done = subprocess.run(  # noqa: S603  Our own module, and the job comes by standard input.
                command, input=job, capture_output=True, text=True, encoding="utf-8", timeout=PATIENCE_S, check=False
            )
        except subprocess.TimeoutExpired:
            return {"problem": f"measuring took more than {PATIENCE_S:.0f} s"}
    if done.returncode:
        return {"problem": "measuring took more memory than it may"}
    answer: Measured = json.loads(done.stdout)
    return answer
