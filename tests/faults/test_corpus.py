"""C1: the hostile corpus through everything that reads packages of strangers, in time and without a crash."""

from __future__ import annotations

import copy
import dataclasses
import statistics
import sys
import time
from typing import TYPE_CHECKING

import pytest
import torch

from modhub import flow
from modhub.engines.torch_engine import to_torch
from modhub.errors import FormatError, IntegrityError, InvalidPackage, ModhubError
from modhub.hub.client import Client
from modhub.hub.memory import MemoryBackend
from modhub.hub.publication import release_of
from modhub.hub.store import Store
from modhub.package.package import Package
from modhub.package.worker import Worker
from modhub.spec.digests import sha256
from modhub.spec.index import Index
from modhub.spec.lock import Lock, LockedModule
from modhub.spec.manifest import Manifest
from modhub.workspace import Workspace
from modhub_registry.settings import Limits
from tests.hub.packages import PETS
from tests.server.collections import lines
from tests.server.service import header, served
from tests.support.corpus import Sample, samples
from tests.support.figures import STRESS
from tests.support.hostile_graphs import CODE
from tests.support.networks import inputs_for
from tests.support.samples import packages, small_network

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from modhub.network.network import Network
    from modhub.spec.index import Release
    from tests.support.figures import Figures

pytestmark = pytest.mark.slow

SAMPLES = samples()
SLOWEST_S = 30.0
"""Ten on a machine of one's own. Each install and each composition starts a process, which takes most of the time."""


def some(count: int) -> list[Sample]:
    """Return so many samples of all groups, the same every time; all of them with MODHUB_STRESS."""
    return SAMPLES if STRESS else SAMPLES[:: max(1, len(SAMPLES) // count)][:count]


def tell(figures: Figures, way: str, times: list[float], **more: int) -> None:
    """Note how long it took, and check that nobody waits too long."""
    slowest, median = max(times), statistics.median(times)
    figures.tell(
        "C1", way, samples=len(times), refused=len(times), crashed=0, slowest_s=slowest, median_s=median, **more
    )
    assert slowest < SLOWEST_S


def test_the_worker_of_check_refuses_all_of_it(figures: Figures) -> None:
    times = []
    with Worker() as worker:
        bases: dict[str, Package] = {}
        # Somebody's good package in between is still taken.
        for number, sample in enumerate(SAMPLES):
            base = None
            if sample.base is not None:
                if sample.base.digest not in bases or worker.is_dead:
                    bases = {}
                    bases[sample.base.digest] = worker.verify(sample.base.files)
                base = bases[sample.base.digest]
            began = time.monotonic()
            with pytest.raises(InvalidPackage) as caught:
                worker.verify(sample.files, base=base)
            times.append(time.monotonic() - began)
            assert sample.problem in str(caught.value), sample.id
            if number % 50 == 0:
                assert worker.verify(packages()[0].files).name == "base"
    tell(figures, "check", times, controls_accepted=len(SAMPLES) // 50 + 1)


def release_files(name: str, files: Iterable[tuple[str, bytes]]) -> dict[str, bytes]:
    """Return the files of a release by their paths in the collection."""
    return {f"{name}/1.0.0/{path}": data for path, data in files}


def collection(sample: Sample) -> dict[str, bytes] | None:
    """Return the files of a collection that holds a sample; None where its manifest is none."""
    try:
        manifest = Manifest.from_json(sample.files["module.json"])
    except (FormatError, KeyError):
        return None
    package = Package(manifest=manifest, files=sample.files)
    base = sample.base or packages()[0]
    releases = {(each.manifest.name, each.manifest.version): each for each in (base, package)}
    index = Index().adding([release_of(each) for each in releases.values()], previous=sha256(Index().to_json()))
    files = {"modhub.json": index.to_json()}
    for (name, version), each in releases.items():
        files |= {f"{name}/{version}/{path}": data for path, data in each.contents().items()}
    return files


def test_a_server_takes_none_of_it(tmp_path: Path, figures: Figures) -> None:
    times = []
    with served(tmp_path, limits=Limits(requests_per_minute=0)) as service:
        for number, sample in enumerate(some(150)):
            files = collection(sample) or {
                **(collection(SAMPLES[0]) or {}),
                **release_files("cat", sample.files.items()),
            }
            assert service.call("POST", "/api/repos/create", {"name": f"r{number}"}, user="alice").status == 200
            began = time.monotonic()
            answer = service.commit(f"alice/r{number}", header(), *lines(files))
            times.append(time.monotonic() - began)
            assert answer.status in {400, 413}, (sample.id, answer)
            assert service.call("GET", f"/alice/r{number}/resolve/main/modhub.json").status == 404
        assert service.call("GET", "/healthz").status == 200
    tell(figures, "upload to a server", times)


def in_a_lock(release: Release, registry: str) -> LockedModule:
    """Return what a lock says of a release, in whatever form it has."""
    form = next(iter(release.forms))
    return LockedModule(
        name=str(PETS.package(release.name)),
        version=release.version,
        kind=release.kind,
        registry=registry,
        manifest_sha256=release.manifest.sha256,
        form=form,
        files=release.forms[form],
        classes=release.classes,
        license=release.license,
        depends=tuple(str(PETS.package("base")) for _ in release.dependencies),
    )


def test_installing_refuses_all_of_it(tmp_path: Path, figures: Figures) -> None:
    times = []
    for number, sample in enumerate(each for each in some(14) if each.group != "manifest"):
        backend = MemoryBackend(remote=True)
        base = sample.base or packages()[0]
        package = Package(manifest=Manifest.from_json(sample.files["module.json"]), files=sample.files)
        client = Client({"it": backend}, store=Store(tmp_path / str(number)))
        try:
            client.publish(PETS, [base, package])
        except InvalidPackage:
            continue  # Its files are not those that it names: nobody can publish it.
        began = time.monotonic()
        snapshot = client.snapshot(PETS)
        modules = [in_a_lock(each, snapshot.registry) for each in snapshot.index.releases]
        with pytest.raises((InvalidPackage, IntegrityError, FormatError)):
            Workspace(client).install(
                Lock(created_by="tests", requirements=(), modules=tuple(modules), target=package.manifest.runtime)
            )
        times.append(time.monotonic() - began)
    assert len(times) > 4
    tell(figures, "install", times)


def test_composing_refuses_all_of_it(tmp_path: Path, figures: Figures) -> None:
    times = []
    for number, sample in enumerate(some(12)):
        folder = tmp_path / str(number) / "cat" / "1.0.0"
        folder.mkdir(parents=True)
        base = tmp_path / str(number) / "base" / "1.0.0"
        base.mkdir(parents=True)
        for place, files in ((base, (sample.base or packages()[0]).contents()), (folder, sample.files)):
            for path, data in files.items():
                if "/" not in path and ".." not in path:
                    (place / path).write_bytes(data)
        began = time.monotonic()
        with pytest.raises(ModhubError):
            flow.gather([str(folder)], workspace=Workspace.open(store=tmp_path / "store"))
        times.append(time.monotonic() - began)
    tell(figures, "compose", times)


def every_name(network: Network) -> list[str]:
    """Return the names of all values and arrays."""
    return sorted({network.input.name, *network.arrays, *network.producers()})


def renamed(network: Network, names: dict[str, str]) -> Network:
    """Return the same network under other names."""

    def of(values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(names.get(value, value) for value in values)

    nodes = tuple(dataclasses.replace(node, inputs=of(node.inputs), outputs=of(node.outputs)) for node in network.nodes)
    port = copy.copy(network.input)
    # A port checks its name; whoever gets around that has still no code run.
    object.__setattr__(port, "name", names[network.input.name])
    arrays = {names[name]: array for name, array in network.arrays.items()}
    return network.replace(nodes=nodes, arrays=arrays, input=port, output=names[network.output])


HOSTILE_NAMES = (
    CODE,
    'W"), __import__("os").system("true"), getattr(self, "W',
    "x=__import__('os').system('true')",
    "self",
    "forward",
    "__class__",
    "a b",
    "\n",
    "",
    "../../x",
    "lambda",
    "\x1b[31m",
)


def test_names_are_no_code_to_the_torch_engine(figures: Figures) -> None:
    """The reader refuses such names; the engine would not care if it did not."""
    events: list[str] = []
    watching = [True]

    def hook(event: str, _arguments: object) -> None:
        if watching[0] and event in {"os.system", "exec", "compile", "subprocess.Popen", "pickle.find_class"}:
            events.append(event)

    network = small_network()
    x = inputs_for(network, batch=2)
    expected = to_torch(network).forward(torch.from_numpy(x))
    sys.addaudithook(hook)
    try:
        for hostile in HOSTILE_NAMES:
            names = {name: f"{hostile}{number}" for number, name in enumerate(every_name(network))}
            found = to_torch(renamed(network, names)).forward(torch.from_numpy(x))
            assert torch.equal(found, expected), hostile
    finally:
        watching[0] = False
    assert events == []
    figures.tell("C1", "torch engine, names that are code", samples=len(HOSTILE_NAMES), executed=0)
