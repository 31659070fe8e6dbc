"""A weak model's class taken over by a module.

The weak model and the module run side by side on one input, the module behind adapters where its own differs; `glue`
puts the module's score into the class's place. The patched model has the weak model's classes in their order. Both
networks stay as they are, so nothing is retrained but the glue.

Qi et al., "Patching Weak Convolutional Neural Network Models through Modularization and Composition" (ASE 2022), and
the replacement of MODA (arXiv:2411.01074).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modhub.composer.adapters import adapted
from modhub.composer.composite import Composite, provenance
from modhub.composer.glue import ODDS_LIMIT, Glue, Seen, fit, outcome
from modhub.composer.join import SCORES, Merge
from modhub.composer.licences import joined_licence, notice
from modhub.composer.part import METHOD
from modhub.engines.golden import GOLDEN_FILE, INPUT, TOLERANCE, golden_input
from modhub.engines.golden import SCORES as GOLDEN_SCORES
from modhub.engines.runtime import Session
from modhub.errors import ComposeError, InvalidData, UsageError
from modhub.network.cost import macs
from modhub.network.network import BATCH, Network, Node
from modhub.network.onnx_file import WEIGHTS_FILE, fingerprint, to_onnx
from modhub.package.materialise import network_of
from modhub.package.pack import RUNTIME, record, seal
from modhub.package.package import GRAPH_FILE
from modhub.spec import limits
from modhub.spec.manifest import ClassLabel, DataSource, Dependency, Manifest, Method, Metric
from modhub.spec.ports import OutputPort

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy.typing as npt

    from modhub.composer.part import Part
    from modhub.datasets import Dataset
    from modhub.engines.model import Model
    from modhub.network.network import Array, Attribute
    from modhub.package.package import Package

STRATEGY = "patch"
NOTICE_FILE, LOCK_FILE = "NOTICE", "modhub.lock"
UNKNOWN = "LicenseRef-Unknown"


@dataclass(frozen=True, kw_only=True)
class Patched:
    """A patched model, how it came about, and what it changed.

    Args:
        composite: the model, as `compose` returns one.
        glue: the glue that was taken.
        adapters: what happens to the input on its way to the module, in words.
        changes: on validation data, and on test data where there is any: ``before`` and ``after``, each with the
            class's precision, recall and F1, and the accuracy on the other classes and on all.
    """

    composite: Composite
    glue: Glue
    adapters: tuple[str, ...]
    changes: Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to patch, and what to call the result.

    Args:
        label: the class of the weak model that the module takes over.
        glue: ``linear`` (a small map learned on data, both networks standing still), ``minmax`` (CNNSplitter's),
            ``none``, or that of a plugin.
        adapters: ``layout``, ``range``, ``channels``, ``resize``: what may be done to the module's input.
        seed: of the split of the data.
        name: the result's package name.
        version: its version.
        created: RFC 3339 time in UTC.
        license: the weak model's licence, an SPDX expression.
    """

    label: str
    glue: str = "linear"
    adapters: tuple[str, ...] = ()
    seed: int = 0
    name: str = "patched"
    version: str = "1.0.0"
    created: str = "2026-01-01T00:00:00Z"
    license: str = UNKNOWN


@dataclass(frozen=True, eq=False)
class Pair:
    """The weak model and the module on one input, not yet glued."""

    weak: Network
    module: Network
    columns: tuple[str, ...]
    column: int

    def see(self, data: Dataset) -> Seen:
        """Return what both say of labelled samples of the weak model's classes.

        Raises:
            InvalidData: the data has no labels, does not fit, or lacks a class.
        """
        data.check_fits(self.weak.input)
        labels = columns_of(data, self.columns)
        inside = labels >= 0
        x = data.x[inside]
        return Seen(Session(self.weak).run(x), Session(self.module).run(x)[:, 0], labels[inside])


def patch(
    weak: Model,
    part: Part,
    options: Options,
    *,
    data: Dataset | None = None,
    test: Dataset | None = None,
    lock: str = "",
) -> Patched:
    """Return a weak model whose class is scored by a module.

    Args:
        weak: the model to patch, with the names of its columns.
        part: a module, or a composite of which the column of the class is taken.
        options: which class, and how.
        data: labelled samples that neither was trained on, for fitting the glue; a fifth of them chooses and measures.
        test: more labelled samples, to measure on alone.
        lock: the text of the lock that pins the module.

    Raises:
        ComposeError: the inputs differ and no adapter was declared, the module does not score the class, a licence
            forbids it, or the result fails its own check.
        InvalidData: the data does not fit, or lacks samples.
        UsageError: the weak model has no such class.
    """
    joined_licence([options.license, part.package.manifest.license])
    pair, words = _paired(weak, part, options.label, options.adapters)
    train, validation = (None, None) if data is None else map(pair.see, data.split(seed=options.seed))
    chosen = fit(options.glue, column=pair.column, train=train, validation=validation, width=len(pair.columns))
    network = glued(pair, chosen).replace(metadata=provenance([part], lock))
    measured = {"validation": validation, "test": None if test is None else pair.see(test)}
    changes = {
        name: {
            "before": outcome(seen.logits, seen.labels, pair.column),
            "after": outcome(chosen.apply(seen.logits, seen.score), seen.labels, pair.column),
        }
        for name, seen in measured.items()
        if seen is not None
    }
    package = pack_patched(
        network,
        part,
        options,
        pair=pair,
        glue=chosen,
        golden=checked(network, pair, chosen),
        about={"changes": changes, "adapters": list(words), "data": data, "lock": lock},
    )
    composite = Composite(
        package=package,
        network=network,
        strategy=STRATEGY,
        why=f"{part.label} takes over the class {options.label!r}",
        shared_nodes=0,
        cost=macs(network) / max(1, macs(pair.weak) + macs(pair.module)),
    )
    return Patched(composite=composite, glue=chosen, adapters=words, changes=changes)


def _paired(weak: Model, part: Part, label: str, adapters: Collection[str]) -> tuple[Pair, tuple[str, ...]]:
    if label not in weak.columns:
        raise UsageError(f"the model has no class {label!r}; its classes are {', '.join(weak.columns)}")
    names = [own.name for own in part.package.manifest.classes]
    if part.package.manifest.kind == "base":
        raise ComposeError(f"{part.label} is a base, not a module: ask for one of its modules")
    if label not in names and len(names) > 1:
        raise ComposeError(f"{part.label} scores {', '.join(names)}, not {label!r}")
    # A module of one class may call it otherwise: who asks for it says that it is the same.
    index = names.index(label) if label in names else 0
    module = network_of(part.package, part.base)
    if len(names) > 1:
        module = picked(module, index)
    module, words = adapted(module, weak.network.input, adapters)
    return Pair(weak.network, module, weak.columns, weak.columns.index(label)), words


def picked(network: Network, column: int) -> Network:
    """Return a network with one of its columns as its output."""
    name, index = f"{network.output}.picked", f"{network.output}.index"
    node = Node(op="Gather", inputs=(network.output, index), outputs=(name,), attributes={"axis": 1}, name=name)
    arrays = {**network.arrays, index: np.array([column], dtype=np.int64)}
    return network.replace(nodes=(*network.nodes, node), arrays=arrays, output=name, output_shape=(BATCH, 1))


def columns_of(data: Dataset, columns: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the column of each sample's class, -1 where the model has none for it.

    Raises:
        InvalidData: the data has no labels, or its classes are not those of the columns.
    """
    names = data.classes or tuple(columns)[: data.class_count]
    if data.classes is None and data.class_count > len(columns):
        problem = f"label {data.class_count - 1} is out of range, the model has {len(columns)} classes"
        raise InvalidData(problem, where="y", file=data.name)
    positions = np.array([columns.index(name) if name in columns else -1 for name in names], dtype=np.int64)
    if not (positions >= 0).any():
        raise InvalidData(f"none of its classes is one of {', '.join(columns)}", where="classes", file=data.name)
    result: npt.NDArray[np.int64] = positions[data.labels]
    return result


@dataclass
class Tail:
    """Nodes that are put behind two networks."""

    merge: Merge
    count: int = 0

    def add(self, op: str, *operands: str | Array, attributes: Mapping[str, Attribute] | None = None) -> str:
        """Add an operator; arrays among its operands are stored. Returns the name of its result."""
        names = []
        for operand in operands:
            name = operand if isinstance(operand, str) else self._fresh()
            if not isinstance(operand, str):
                self.merge.arrays[name] = operand
            names.append(name)
        output = self._fresh()
        self.merge.nodes.append(
            Node(op=op, inputs=tuple(names), outputs=(output,), attributes=attributes or {}, name=output)
        )
        return output

    def _fresh(self) -> str:
        self.count += 1
        while f"glue/{self.count}" in self.merge.taken:
            self.count += 1
        self.merge.taken.add(f"glue/{self.count}")
        return f"glue/{self.count}"

    def odds(self, logits: str, width: int) -> str:
        """Add the log-odds of each class against all others, as `modhub.composer.glue.odds`."""
        probability = self.add("Softmax", logits, attributes={"axis": 1})
        others = self.add("MatMul", probability, (1 - np.eye(width)).astype(np.float32))
        logarithms = [
            self.add("Log", self.add("Clip", value, np.array(ODDS_LIMIT, np.float32)))
            for value in (probability, others)
        ]
        return self.add("Sub", *logarithms)


def glued(pair: Pair, glue: Glue) -> Network:
    """Return both networks and the glue as one network with output ``scores``."""
    width, start = len(pair.columns), pair.weak.input.name
    merge = Merge(taken={start, SCORES})
    logits = merge.add(pair.weak, prefix="weak", input_name=start)
    score = merge.add(pair.module, prefix="module", input_name=start)
    tail = Tail(merge)
    if glue.reads == "probabilities":
        read = tail.add("Softmax", logits, attributes={"axis": 1})
    else:
        read = tail.odds(logits, width) if glue.reads == "odds" else logits
    both = tail.add("Concat", read, score, attributes={"axis": 1})
    weights = (glue.matrix.astype(np.float32), glue.offset.astype(np.float32))
    mapped = tail.add("Gemm", both, *weights, attributes={"transB": 1})
    last = tail.odds(mapped, width) if glue.gives == "logits" else mapped
    merge.nodes.append(Node(op="Identity", inputs=(last,), outputs=(SCORES,), name=SCORES))
    return Network(
        nodes=tuple(merge.nodes),
        arrays=merge.arrays,
        input=pair.weak.input,
        output=SCORES,
        output_shape=(BATCH, width),
    )


def checked(network: Network, pair: Pair, glue: Glue) -> dict[str, Array]:
    """Return the golden input and scores, after comparing them with both networks run alone and glued in NumPy.

    Raises:
        ComposeError: a score differs, or is not finite.
    """
    x = golden_input(pair.weak.input)
    scores = Session(network).run(x)
    expected = glue.apply(Session(pair.weak).run(x), Session(pair.module).run(x)[:, 0])
    # What is compared may be hundreds large: rounding grows with it.
    difference = float((np.abs(scores - expected) / np.maximum(1.0, np.abs(expected))).max())
    if not difference <= 10 * TOLERANCE:
        raise ComposeError(f"the patched model scores {difference:.2g} differently than its parts and the glue")
    return {INPUT: x, GOLDEN_SCORES: scores}


def pack_patched(
    network: Network,
    part: Part,
    options: Options,
    *,
    pair: Pair,
    glue: Glue,
    golden: Mapping[str, Array],
    about: Mapping[str, Any],
) -> Package:
    """Return a patched model as a package of kind ``composite``."""
    from safetensors.numpy import save

    graph, weights = to_onnx(network)
    licences = {"the patched model": options.license, part.label: part.package.manifest.license}
    files = {
        GRAPH_FILE: graph,
        WEIGHTS_FILE: weights,
        GOLDEN_FILE: save({key: np.ascontiguousarray(value) for key, value in golden.items()}),
        NOTICE_FILE: notice(licences).encode(),
        **({LOCK_FILE: about["lock"].encode()} if about["lock"] else {}),
    }
    data: Dataset | None = about["data"]
    summary = f"Scores {len(pair.columns)} classes; {options.label!r} is scored by {part.package.name}"
    registered = part.reference.count("/") == 2
    dependency = (
        Dependency(package=part.reference, version=f"=={part.package.version}", sha256=part.package.digest)
        if registered
        else None
    )
    manifest = Manifest(
        kind="composite",
        name=options.name,
        version=options.version,
        created=options.created,
        summary=summary[: limits.SUMMARY_LENGTH],
        license=joined_licence(licences.values()),
        classes=tuple(ClassLabel(name=name) for name in pair.columns),
        input=network.input,
        output=OutputPort(name=SCORES, shape=(BATCH, len(pair.columns)), semantic="scores"),
        dependencies=(dependency,) if dependency is not None else (),
        runtime=RUNTIME,
        method=Method(
            name=METHOD,
            version="1",
            parameters={
                "strategy": STRATEGY,
                "class": options.label,
                "glue": glue.kind,
                "adapters": about["adapters"],
                "parents": sorted({fingerprint(pair.weak), *part.parents}),
                # Extremes of a score say nothing about odds.
                "calibrated": glue.gives == "logits" or (glue.reads == "odds" and part.is_calibrated),
            },
        ),
        data=DataSource(name=data.name, split="train", samples=len(data), sha256=data.sha256) if data else None,
        metrics=_metrics(network, about["changes"]),
        forms={"standalone": tuple(record(path, content) for path, content in sorted(files.items()))},
    )
    return seal(manifest, files)


def _metrics(network: Network, changes: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, Metric]:
    """Return the size, and the measured numbers before and after on the last data there is: the test's, if any."""
    found = {"parameters": Metric(value=float(network.parameters)), "macs": Metric(value=float(macs(network)))}
    for split, sides in changes.items():
        for side, numbers in sides.items():
            for name, value in numbers.items():
                found[f"{name}_{side}"] = Metric(value=round(value, 6), split=split)
    return found
