"""Rows S3 and S4: composed models in ONNX Runtime against their parents, and against their modules run one by one.

Run as a program it is one side of the comparison of memory: `python -m benchmarks.composing plain together 10`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks import memory
from benchmarks.data import resnet20
from benchmarks.drawn import drawn
from modhub.composer.join import join
from modhub.decomposers.cut import CHEAP, choose_cut
from modhub.decomposers.options import AUTO
from modhub.decomposers.ties import tied_columns
from modhub.engines.runtime import Session, onnx_runtime
from modhub.network.cost import macs
from modhub.network.modules import ClassModule
from modhub.network.onnx_file import WEIGHTS_FILE, to_onnx
from modhub.network.sites import find_sites
from modhub.network.slice import sliced
from modhub.network.trunk import trunk_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub.network.network import Array, Network

KEPT = 0.5
"""Share of the channels that a module keeps in each layer behind the trunk, in blocks of ONNX Runtime's sixteen."""

CASES = ((AUTO, "own"), (AUTO, "tied"), (CHEAP, "own"))
"""Words of `decompose --cut`, and whether layers that a residual stream adds up have masks of their own or, as with
`--tied`, one together."""

COUNTS = (2, 5, 10)
CHANNELS = 16
BATCH = 32


def measure(*, full: bool) -> dict[str, Any]:
    """Return ratios of CPU time on one thread: medians over runs of both sides in turn."""
    network = resnet20()
    sites = find_sites(network)
    repeats = 20 if full else 10
    cuts = {word: choose_cut(network, sites, word)[0] for word, _ in CASES}
    rows = []
    for word, masks in CASES:
        cut = cuts[word]
        modules = modules_behind(network, cut, tied=masks == "tied")
        share = macs(trunk_of(network, cut)) / macs(network)
        rows += [
            {
                "cut": word,
                "masks": masks,
                "MACs in the trunk": f"{100 * share:.0f} %",
                **compare(network, modules[:count], batch=batch, repeats=repeats),
            }
            for count in COUNTS
            for batch in ((1, 32, 256) if full else (1, 32))
        ]
    return {
        "network": "ResNet-20, half of the channels kept behind the trunk (random masks)",
        "cuts": cuts,
        "rows": rows,
        "parents": [compare_parents(strangers(count), repeats=repeats) for count in (COUNTS if full else (2, 10))],
        "memory": compare_memory(10) if memory.is_told() else None,
    }


def modules_behind(network: Network, cut: str, *, tied: bool = False) -> list[Network]:
    """Return a module per class with random masks behind a cut."""
    sites = find_sites(network)
    random = np.random.default_rng(0)
    behind = [site for site in sites.after(network, cut) if site.layers or tied]
    # Tied sites share their free choices: one of them is drawn, and the others follow.
    columns = tied_columns(sites, behind)[0] if tied else torch.arange(sum(site.size for site in behind))
    choices = [tuple(own.tolist()) for own in columns.split([site.size for site in behind])]
    first = {choice: site for site, choice in reversed(list(zip(behind, choices, strict=True)))}

    def kept(size: int) -> int:
        return max(CHANNELS, round(KEPT * size / CHANNELS) * CHANNELS)

    found = []
    for row in range(10):
        free = drawn(dict.fromkeys(first[choice] for choice in choices), random, count=kept)
        masks = {site.id: free[first[choice].id] for site, choice in zip(behind, choices, strict=True)}
        found.append(sliced(network, sites, ClassModule(label=str(row), row=row, kept=masks)))
    return found


def strangers(count: int) -> list[Network]:
    """Return modules of as many parents: of ResNet-20 and of copies of it with other weights, the whole net masked."""
    random = np.random.default_rng(2)
    parent = resnet20()
    found = []
    for number in range(count):
        arrays = {
            name: (array * random.uniform(0.9, 1.1, array.shape)).astype(array.dtype) if number else array
            for name, array in parent.arrays.items()
        }
        other = parent.replace(arrays={**parent.arrays, **{n: a for n, a in arrays.items() if a.dtype.kind == "f"}})
        found.append(modules_behind(other, "")[number])
    return found


def compare_parents(modules: Sequence[Network], *, repeats: int) -> dict[str, Any]:
    """Return one row: a composite of modules of different parents against their own sessions one after another."""
    joined = join([(f"m{i}", module) for i, module in enumerate(modules)])
    x = np.random.default_rng(1).random((BATCH, 3, 32, 32), dtype=np.float32)
    composite, alone = Session(joined), [Session(module) for module in modules]
    times: dict[str, list[float]] = {"composite": [], "separate": []}
    for _ in range(repeats):
        times["composite"].append(spent(lambda: composite.run(x)))
        times["separate"].append(spent(lambda: [session.run(x) for session in alone]))
    ratios = np.array(times["composite"]) / np.array(times["separate"])
    return {
        "parents": len(modules),
        "batch": BATCH,
        "composite / sum of sessions": round(float(np.median(ratios)), 3),
        "10 % and 90 % of runs": [round(float(value), 3) for value in np.quantile(ratios, (0.1, 0.9))],
    }


def compare_memory(count: int) -> list[dict[str, Any]]:
    """Return rows: the MiB that modules of different parents need, above a process that holds them and runs none."""
    found = {how: {side: _child(how, side, count) for side in SIDES} for how in SESSIONS}
    rows = []
    for how, sides in found.items():
        separate, together = (sides[side] - sides["idle"] for side in ("separate", "together"))
        plain = found["plain"]["separate"] - found["plain"]["idle"]
        rows.append(
            {
                "sessions": how,
                "parents": count,
                "batch": BATCH,
                "separate, MiB": round(separate, 1),
                "composite, MiB": round(together, 1),
                "composite / separate": round(together / separate, 3),
                "composite / separate plain ones": round(together / plain, 3),
            }
        )
    return rows


def _child(how: str, side: str, count: int) -> float:
    command = [sys.executable, "-m", "benchmarks.composing", how, side, str(count)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def peak(how: str, side: str, count: int) -> float:
    """Return the most MiB that this process ever held, after running one side of the comparison of memory."""
    modules = strangers(count)
    x = np.random.default_rng(1).random((BATCH, 3, 32, 32), dtype=np.float32)
    joined = join([(f"m{i}", module) for i, module in enumerate(modules)])
    opener = SESSIONS[how]
    # What both sides need anyway: the library, a session's fixed cost, the arrays.
    opener(modules[0])
    sessions = {"idle": [], "separate": modules, "together": [joined]}[side]
    opened = [opener(each) for each in sessions]
    for _ in range(3):
        for session in opened:
            session.run(x)
    return memory.held_kib(memory.MOST) / 1024


class Plain:
    """A network in a session of ONNX Runtime with the library's own choices, but for the one thread."""

    def __init__(self, network: Network) -> None:
        graph, weights = to_onnx(network)
        options = onnx_runtime().SessionOptions()
        options.intra_op_num_threads = 1
        options.add_external_initializers_from_files_in_memory([WEIGHTS_FILE], [weights], [len(weights)])
        self._input = network.input.name
        self._session = onnx_runtime().InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def run(self, x: Array) -> Array:
        """Return the scores of inputs."""
        (scores,) = self._session.run(None, {self._input: x})
        return np.asarray(scores)


SIDES = ("idle", "separate", "together")
SESSIONS: dict[str, type[Plain | Session]] = {"plain": Plain, "modhub's": Session}
"""How networks are opened: as ONNX Runtime does by itself, and as modhub tells it to."""


def compare(parent: Network, modules: Sequence[Network], *, batch: int, repeats: int) -> dict[str, Any]:
    """Return one row: composite and separate sessions against the parent."""
    joined = join([(f"m{i}", module) for i, module in enumerate(modules)])
    x = np.random.default_rng(1).random((batch, 3, 32, 32), dtype=np.float32)
    whole, composite, alone = Session(parent), Session(joined), [Session(module) for module in modules]
    # One image takes less than a millisecond.
    calls = range(max(1, BATCH // batch))
    times: dict[str, list[float]] = {"parent": [], "composite": [], "separate": []}
    for _ in range(repeats):
        times["parent"].append(spent(lambda: [whole.run(x) for _ in calls]))
        times["composite"].append(spent(lambda: [composite.run(x) for _ in calls]))
        times["separate"].append(spent(lambda: [session.run(x) for session in alone for _ in calls]))
    ratios = {name: np.array(values) / np.array(times["parent"]) for name, values in times.items()}
    identical = np.array_equal(composite.run(x), np.concatenate([session.run(x) for session in alone], axis=1))
    return {
        "modules": len(modules),
        "batch": batch,
        "composite / parent": round(float(np.median(ratios["composite"])), 3),
        "10 % and 90 % of runs": [round(float(value), 3) for value in np.quantile(ratios["composite"], (0.1, 0.9))],
        "separate / parent": round(float(np.median(ratios["separate"])), 3),
        "MACs / parent": round(macs(joined) / macs(parent), 3),
        "bit-identical": bool(identical),
    }


def spent(work: Any) -> float:
    """Return the CPU seconds of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    print(peak(sys.argv[1], sys.argv[2], int(sys.argv[3])))
