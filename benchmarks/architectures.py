"""Row F11: which architectures are decomposed from an ONNX file, without a line of code for them.

Networks with random weights are exported by torch, and real trained ones are taken from ``MODHUB_BENCH_DATA``. Each is
loaded and analysed, and three modules that keep a random half of every site are cut out: told are how far their scores
are from those of the whole network with zeros in place of what was dropped, and whether a composite of them has the
bits that they have alone. The quick form takes five of torch's.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.drawn import drawn
from modhub import flow
from modhub.composer.join import join
from modhub.engines.runtime import Session
from modhub.network.load import load
from modhub.network.modules import ClassModule
from modhub.network.sites import find_sites
from modhub.network.slice import masked, sliced
from tests.support.torch_models import FAMILIES, exported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modhub.network.network import Network

MODULES, ROWS, OPSET = 3, 4, 20
QUICK = 5


def measure(*, full: bool) -> dict[str, Any]:
    """Return a row per network."""
    return {"rows": [row(name, network, seconds) for name, network, seconds in networks(full=full)]}


def networks(*, full: bool) -> Iterator[tuple[str, Network, float]]:
    """Yield the name of each network, the network, and the CPU seconds that loading it took."""
    for family in list(FAMILIES)[: None if full else QUICK]:
        data = exported(family, dynamo=True, opset=OPSET)
        started = time.process_time()
        yield f"{family}, random weights", load(data), time.process_time() - started
    folder = os.environ.get("MODHUB_BENCH_DATA")
    for path in sorted(Path(folder).glob("*.onnx")) if folder and full else ():
        started = time.process_time()
        yield path.stem, flow.load(path).network, time.process_time() - started


def row(name: str, network: Network, seconds: float) -> dict[str, Any]:
    """Return what was found in a network, and how exact its modules are."""
    started = time.process_time()
    sites = find_sites(network)
    analysed = time.process_time() - started
    free = [site for site in sites.after(network, "") if site.layers]
    random = np.random.default_rng(0)
    modules = [
        ClassModule(
            label=f"m{i}",
            row=i,
            kept=drawn(free, random, count=lambda size: -(-size // 2)),
        )
        for i in range(MODULES)
    ]
    x = inputs(network, random)
    cut = [sliced(network, sites, module) for module in modules]
    alone = np.concatenate([Session(own).run(x) for own in cut], axis=1)
    whole = np.concatenate([Session(masked(network, sites, module)).run(x) for module in modules], axis=1)
    together = Session(join([(module.label, own) for module, own in zip(modules, cut, strict=True)])).run(x)
    return {
        "network": name,
        "parameters": network.parameters,
        "sites": len(free),
        "channels": sum(site.size for site in free),
        "load s": round(seconds, 3),
        "analyse s": round(analysed, 3),
        "sliced - masked": float(f"{np.abs(alone - whole).max() / max(1.0, np.abs(whole).max()):.1e}"),
        "composed == alone": bool(np.array_equal(together, alone)),
    }


def inputs(network: Network, random: np.random.Generator) -> Any:
    """Return a small batch of inputs of a network's kind."""
    shape = (ROWS, *network.input.shape[1:])
    if network.input.dtype == "int64":
        return random.integers(0, 10, shape)
    return random.random(shape, dtype=np.float32)
