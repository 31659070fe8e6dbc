"""Row S3: a composed model in ONNX Runtime against its parent, and against its modules run one by one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.data import resnet20
from modhub.composer.join import join
from modhub.engines.runtime import Session
from modhub.network.cost import macs
from modhub.network.modules import ClassModule
from modhub.network.sites import find_sites
from modhub.network.slice import sliced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub.network.network import Network

KEPT = 32
"""Channels of 64 that a module keeps in each layer behind the trunk: two blocks of ONNX Runtime's sixteen."""


def measure(*, full: bool) -> dict[str, Any]:
    """Return ratios of CPU time, one thread, medians of runs taken in turn."""
    network = resnet20()
    sites = find_sites(network)
    random = np.random.default_rng(0)
    behind = [site for site in sites.after(network, "relu_12") if site.layers]
    modules = [
        sliced(
            network,
            sites,
            ClassModule(
                label=str(row),
                row=row,
                kept={site.id: np.sort(random.choice(site.size, KEPT, replace=False)) for site in behind},
            ),
        )
        for row in range(10)
    ]
    rows = [
        compare(network, modules[:count], batch=batch, repeats=60 if full else 15)
        for count in (2, 5, 10)
        for batch in ((1, 32, 256) if full else (1, 32))
    ]
    return {"network": "ResNet-20, trunk up to the last stage, 32 of 64 channels kept (random masks)", "rows": rows}


def compare(parent: Network, modules: Sequence[Network], *, batch: int, repeats: int) -> dict[str, Any]:
    """Return one row: composite and separate sessions against the parent."""
    joined = join([(f"m{i}", module) for i, module in enumerate(modules)])
    x = np.random.default_rng(1).random((batch, 3, 32, 32), dtype=np.float32)
    whole, composite, alone = Session(parent), Session(joined), [Session(module) for module in modules]
    times: dict[str, list[float]] = {"parent": [], "composite": [], "separate": []}
    for _ in range(repeats):
        times["parent"].append(spent(lambda: whole.run(x)))
        times["composite"].append(spent(lambda: composite.run(x)))
        times["separate"].append(spent(lambda: [session.run(x) for session in alone]))
    median = {name: float(np.median(values)) for name, values in times.items()}
    identical = np.array_equal(composite.run(x), np.concatenate([session.run(x) for session in alone], axis=1))
    return {
        "modules": len(modules),
        "batch": batch,
        "composite / parent": round(median["composite"] / median["parent"], 3),
        "separate / parent": round(median["separate"] / median["parent"], 3),
        "MACs / parent": round(macs(joined) / macs(parent), 3),
        "bit-identical": bool(identical),
    }


def spent(work: Any) -> float:
    """Return the CPU seconds of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start
