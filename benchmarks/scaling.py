"""Row S11, growth: large parents with random weights, loaded, analysed and packed into up to 1000 class modules.

Each parent is made by one process and split by another, whose memory is the one that counts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import memory
from benchmarks.drawn import drawn

MIB = 1 << 20
KEPT = 0.5


def measure(*, full: bool) -> dict[str, Any]:
    """Return seconds and memory for each parent and number of modules."""
    modules = (10, 100, 1000) if full else (10, 100)
    parents = ("transformer 100 M", "ResNet-50, 1000 classes") if full else ("ResNet-50, 1000 classes",)
    return {"kept": KEPT, "rows": [row for parent in parents for row in _rows(parent, modules)]}


def draw(values: dict[str, Any], axes: Any) -> None:
    """Draw the seconds against the number of modules, with each parent's memory beside its name."""
    for parent in dict.fromkeys(row["parent"] for row in values["rows"]):
        rows = [row for row in values["rows"] if row["parent"] == parent]
        memory = max(row["memory at most / model"] for row in rows)
        counts = [row["modules"] for row in rows]
        axes.plot(
            counts, [row["pack and write, CPU s"] for row in rows], "o-", label=f"{parent}: {memory} x its memory"
        )
    axes.set(xscale="log", yscale="log", xlabel="modules", ylabel="pack and write, CPU seconds")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:,.10g}")
    axes.legend(frameon=False)


def _rows(parent: str, modules: tuple[int, ...]) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "parent.onnx"
        _call("make", parent, str(model))
        rows = [json.loads(_call("split", str(model), str(count))) for count in modules]
    return [{"parent": parent, **row} for row in rows]


def _call(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks.scaling", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def make(parent: str, path: Path) -> None:
    """Write a parent with random weights as ONNX."""
    import torch

    from modhub.engines.export import from_torch

    torch.manual_seed(0)
    if parent.startswith("ResNet"):
        model, example = resnet50(), torch.zeros(2, 3, 64, 64)
    else:
        model, example = transformer(), torch.zeros(2, 32, dtype=torch.int64)
    path.write_bytes(from_torch(model.eval(), example))


def resnet50(classes: int = 1000) -> Any:
    """Return a network of ResNet-50's shape (He et al. 2016): 16 bottleneck blocks, 25.6 million parameters."""
    import torch
    from torch import nn

    class Bottleneck(nn.Module):
        def __init__(self, incoming: int, width: int, stride: int) -> None:
            super().__init__()
            out = 4 * width
            self.layers = nn.Sequential(
                *(nn.Conv2d(incoming, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
                *(nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
                *(nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)),
            )
            changes = stride > 1 or incoming != out
            self.shortcut = (
                nn.Sequential(nn.Conv2d(incoming, out, 1, stride, bias=False), nn.BatchNorm2d(out))
                if changes
                else nn.Identity()
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.layers(x) + self.shortcut(x))

    blocks: list[nn.Module] = []
    incoming = 64
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(count):
            blocks.append(Bottleneck(incoming, width, stride if i == 0 else 1))
            incoming = 4 * width
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1), *blocks),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, classes)),
    )


def transformer(classes: int = 1000) -> Any:
    """Return a text classifier of BERT-base's shape (Devlin et al. 2019): 12 layers, 101 million weights."""
    import torch
    from torch import nn

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(20_000, 768)
            layer = nn.TransformerEncoderLayer(768, 12, 3072, activation="gelu", batch_first=True, norm_first=True)
            self.encoder = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)
            self.head = nn.Linear(768, classes)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.encoder(self.embedding(x)).mean(dim=1))

    return Classifier()


def split(path: Path, count: int) -> dict[str, Any]:
    """Return seconds and memory of loading, analysing and packing a parent into so many modules with random masks."""
    from modhub import flow
    from modhub.network.cost import macs
    from modhub.network.modules import ClassModule, Decomposition
    from modhub.network.sites import find_sites
    from modhub.package.pack import Release, pack_base, pack_module
    from modhub.spec.manifest import Method

    flow.load("sample:cifar10-resnet20")  # What libraries take is no matter of the parent.
    size, before = path.stat().st_size, memory.held_kib() * 1024
    memory.forget_peak()
    clock = _Clock()
    network = flow.load(path).network
    loaded, seconds = memory.held_kib(memory.MOST) * 1024, {"load": clock.lap()}
    sites = find_sites(network)
    seconds["analyse"] = clock.lap()
    free = [site for site in sites.sites if site.layers and not site.pinned]
    random = np.random.default_rng(0)
    whole = Decomposition(parent=network, sites=sites, cut="", modules=(), method=Method(name="random", version="1"))
    release, written, parent_macs = Release(), 0, macs(network)
    with tempfile.TemporaryDirectory() as folder:
        base = pack_base(whole, release)
        flow.write_package(base, Path(folder) / base.name)
        written, base = base.size, base.without_files()
        for i in range(count):
            kept = drawn(free, random, count=lambda size: max(1, int(KEPT * size)))
            module = ClassModule(label=f"class-{i}", row=i, kept=kept)
            package = pack_module(whole, module, release, name=f"class-{i}", base=base, parent_macs=parent_macs)
            flow.write_package(package, Path(folder) / package.name)
            written += package.size
        seconds["pack and write"] = clock.lap()
    return {
        "parameters": network.parameters,
        "sites": len(free),
        "modules": count,
        **{f"{name}, CPU s": round(value, 2) for name, value in seconds.items()},
        "ms a module": round(1000 * seconds["pack and write"] / count, 1),
        "memory loaded / model": round((loaded - before) / size, 2),
        "memory at most / model": round((memory.held_kib(memory.MOST) * 1024 - before) / size, 2),
        "bytes / model": round(written / size, 3),
    }


class _Clock:
    """CPU seconds since the last lap."""

    def __init__(self) -> None:
        self.last = time.process_time()

    def lap(self) -> float:
        now = time.process_time()
        self.last, passed = now, now - self.last
        return passed


if __name__ == "__main__":
    verb, *words = sys.argv[1:]
    if verb == "make":
        make(words[0], Path(words[1]))
    else:
        print(json.dumps(split(Path(words[0]), int(words[1]))))
