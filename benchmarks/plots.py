"""A picture of each benchmark's result; RESULTS.md calls it what the first line of its function says is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import NullFormatter

from benchmarks import hundred, masks, modular, scaling, sensitivity, splitters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes

    Draw = Callable[[dict[str, Any], Axes], None]


def bars(axes: Axes, groups: Mapping[str, Sequence[float]], labels: Sequence[str], *, across: bool = True) -> None:
    """Draw bars beside each other: one per group at each label."""
    places, wide = np.arange(len(labels)), 0.8 / len(groups)
    for number, (name, values) in enumerate(groups.items()):
        at = places + (number - (len(groups) - 1) / 2) * wide
        drawn = axes.barh(at, values, wide, label=name) if across else axes.bar(at, values, wide, label=name)
        axes.bar_label(drawn, fmt="{:.3g}", padding=2, fontsize="x-small")
    if across:
        axes.set_yticks(places, labels)
        axes.invert_yaxis()
        axes.margins(x=0.12)
    else:
        axes.set_xticks(places, labels)
        axes.margins(y=0.12)
    if len(groups) > 1:
        axes.legend(fontsize="small", frameon=False)


def plain_numbers(axes: Axes) -> None:
    """Write the numbers of logarithmic axes in full."""
    for axis, scale in ((axes.xaxis, axes.get_xscale()), (axes.yaxis, axes.get_yscale())):
        if scale == "log":
            axis.set_major_formatter("{x:,.10g}")
            axis.set_minor_formatter(NullFormatter())


def split(values: dict[str, Any], axes: Axes) -> None:
    """Draw the accuracy of ten modules against the kernels they keep."""
    kept = [100 * row["kept"] for row in values["rows"]]
    for kind, style in (("learned", "o-"), ("random masks, trained scales", "s--"), ("random masks", "x:")):
        axes.plot(kept, [100 * row[kind]["10"] for row in values["rows"]], style, label=kind)
    axes.axhline(100 * values["parent"]["10"], color="black", linewidth=1, label="parent")
    axes.set(xlabel="kernels kept behind the trunk, %", ylabel="test accuracy of all ten modules, %", ylim=(0, 100))
    axes.legend(frameon=False)


def tasks(values: dict[str, Any], axes: Axes) -> None:
    """Draw the accuracy on tasks across data sets."""
    names = ("as they come", "calibrated", "from scratch")
    bars(axes, {name: [100 * row[name] for row in values["rows"]] for name in names}, data_of(values), across=False)
    axes.set(ylabel="test accuracy, %", ylim=(50, 108))
    axes.legend(ncols=3, fontsize="small", frameon=False, loc="upper center")


def data_of(values: dict[str, Any]) -> list[str]:
    """Return the names of the data sets."""
    return [row["data"] for row in values["rows"]]


def biased(values: dict[str, Any], axes: Axes) -> None:
    """Draw the accuracy of biased parents, and of their best modules composed."""
    kinds = {"accuracy, calibrated": "one parent's modules", "f1, calibrated": "the best of all parents"}
    for number, row in enumerate(values["rows"]):
        first = number == 0
        parents = [100 * value for value in row["parents"]]
        axes.plot([number] * len(parents), parents, "o", color="0.5", label="a parent" if first else None)
        for kind, (key, name) in enumerate(kinds.items()):
            axes.plot(number, 100 * row[key]["accuracy"], "sD"[kind], color=f"C{kind}", label=name if first else None)
    axes.set_xticks(range(len(values["rows"])), [f"{row['data']},\nseed {row['seed']}" for row in values["rows"]])
    axes.set(ylabel="test accuracy, %", xlim=(-0.5, len(values["rows"]) - 0.5))
    axes.legend(frameon=False)


def architectures(values: dict[str, Any], axes: Axes) -> None:
    """Draw the CPU seconds to find the sites of a network, by its parameters."""
    for trained, label in ((False, "random weights"), (True, "real")):
        rows = [row for row in values["rows"] if row["network"].endswith("random weights") != trained]
        axes.plot([row["parameters"] for row in rows], [row["analyse s"] for row in rows], "o", alpha=0.6, label=label)
    axes.set(xscale="log", yscale="log", xlabel="parameters", ylabel="CPU seconds")
    plain_numbers(axes)
    axes.legend(frameon=False)


def compose(values: dict[str, Any], axes: Axes) -> None:
    """Draw the time of a composite over its parent's, by the number of modules."""
    for number, case in enumerate(dict.fromkeys((row["cut"], row["masks"]) for row in values["rows"])):
        name = f"--cut {case[0]}{' --tied' if case[1] == 'tied' else ''}"
        for batch, style in ((1, ":x"), (32, "-o")):
            rows = [row for row in values["rows"] if (row["cut"], row["masks"], row["batch"]) == (*case, batch)]
            points = [(row["modules"], row["composite / parent"]) for row in rows]
            axes.plot(*zip(*points, strict=True), style, color=f"C{number}", label=f"{name}, batch {batch}")
    axes.plot((2, 5, 10), (0.95, 1.2, 1.7), "_", color="black", markersize=16, label="target")
    axes.set(xlabel="modules of one parent", ylabel="CPU time over the parent's", ylim=(0, None))
    axes.legend(frameon=False)


def pack(values: dict[str, Any], axes: Axes) -> None:
    """Draw the bytes of a collection over its parent's, by form."""
    forms = dict.fromkeys(row["form"] for row in values["rows"])
    counts = list(dict.fromkeys(row["modules"] for row in values["rows"]))
    found = {(row["form"], row["modules"]): row["of parent"] for row in values["rows"]}
    groups = {form: [found[form, count] for count in counts] for form in forms}
    bars(axes, groups, [f"{count} modules" for count in counts])
    axes.set(xscale="log", xlabel="bytes over the parent's")
    plain_numbers(axes)


def resolve(values: dict[str, Any], axes: Axes) -> None:
    """Draw the CPU seconds to resolve modules of one base."""
    points = [(row["modules"], row["seconds_cpu"]) for row in values["rows"]]
    axes.plot(*zip(*points, strict=True), "o-", label="modhub")
    axes.plot(30, 0.2, "_", color="black", markersize=16, label="target")
    axes.set(xscale="log", yscale="log", xlabel="modules of one base", ylabel="CPU seconds")
    plain_numbers(axes)
    axes.legend(frameon=False)


def hub(values: dict[str, Any], axes: Axes) -> None:
    """Draw the seconds to publish and to fetch eleven packages."""
    steps = ("publish", "fetch", "fetch again")
    found = {row["step"]: row["seconds"] for row in values["rows"]}
    bars(axes, {who: [found[f"{step}, {who}"] for step in steps] for who in ("huggingface_hub", "modhub")}, steps)
    axes.set_xlabel("seconds")


def start(values: dict[str, Any], axes: Axes) -> None:
    """Draw the CPU seconds of light commands."""
    rows = values["rows"]
    bars(axes, {"modhub": [row["seconds_cpu"] for row in rows]}, [f"modhub {row['command']}" for row in rows])
    axes.axvline(0.3, color="black", linewidth=1)
    axes.set_xlabel("CPU seconds of the process; the line is the target")


def processes(values: dict[str, Any], axes: Axes) -> None:
    """Draw the seconds of an epoch by the number of processes."""
    rows = values["rows"]
    bars(axes, {"training": [row["seconds an epoch"] for row in rows]}, [f"{row['processes']}" for row in rows])
    axes.set(xlabel="seconds of an epoch", ylabel="processes")


def patch(values: dict[str, Any], axes: Axes) -> None:
    """Draw the changes by patching weak models, glue `linear`."""
    rows = [row for row in values["rows"] if row["glue"] == "linear"]
    names = {"precision": "precision", "recall": "recall", "f1": "F1", "others": "other classes"}
    groups = {title: [100 * (row["after"][key] - row["before"][key]) for row in rows] for key, title in names.items()}
    bars(axes, groups, [row["weak model"] for row in rows], across=False)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_ylabel("change on test data, points")


def registry(values: dict[str, Any], axes: Axes) -> None:
    """Draw the milliseconds of a request while the registry grows."""
    rows = values["growth"]
    for name in ("newest ms", "by class ms", "by word ms", "info ms", "commit ms"):
        axes.plot([row["releases"] for row in rows], [row[name] for row in rows], "o-", label=name.removesuffix(" ms"))
    axes.set(xscale="log", yscale="log", xlabel="releases", ylabel="median milliseconds, one client")
    plain_numbers(axes)
    axes.legend(frameon=False)


PLOTS: dict[str, Draw] = {
    "split": split,
    "splitters": splitters.draw,
    "hundred": hundred.draw,
    "tasks": tasks,
    "biased": biased,
    "architectures": architectures,
    "compose": compose,
    "pack": pack,
    "resolve": resolve,
    "hub": hub,
    "start": start,
    "moda": modular.draw,
    "processes": processes,
    "sensitivity": sensitivity.draw,
    "weightmask": masks.draw,
    "patch": patch,
    "scale": scaling.draw,
    "registry": registry,
}
