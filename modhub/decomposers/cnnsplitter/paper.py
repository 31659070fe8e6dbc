"""CNNSplitter as published: one population of kernel masks per class, judged by the ensembles that they make.

Nothing is trained. A module is the parent with some kernels gone, its score the class's own logit. Kernels are ordered
per class by how much they fire on images that the parent is sure of, neighbours share a bit, and a genetic algorithm
per class searches the bits; all classes move on together, because a module's fitness is that of the best ensemble of
all classes that it is part of.

Recipe ``paper`` has the authors' numbers for a plain convolutional network on CIFAR-10. Two things were done by hand
and are automatic here: which layers are sensitive (those that lose more accuracy than the mean layer when only their
most important kernels stay), and which layers share their bits (those that a residual addition joins). Candidates of
all classes are evaluated in one batch, and the logits of those that live on are kept.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from modhub.decomposers.checkpoint import Checkpoint, State
from modhub.decomposers.clock import Clock
from modhub.decomposers.cnnsplitter.activity import activity
from modhub.decomposers.cnnsplitter.candidates import Candidates
from modhub.decomposers.cnnsplitter.ensembles import best_with, differences, one_ensemble, tournament
from modhub.decomposers.cnnsplitter.genes import Genes, crossed, mutated
from modhub.decomposers.options import AUTO, Options, silent
from modhub.decomposers.outcome import class_modules, provenance
from modhub.decomposers.start import start
from modhub.errors import InvalidData
from modhub.network.modules import Decomposition
from modhub.spec.manifest import Method

if TYPE_CHECKING:
    from typing import Self

    import numpy.typing as npt

    from modhub.datasets import Dataset
    from modhub.decomposers.cnnsplitter.ensembles import Group
    from modhub.decomposers.options import Progress
    from modhub.decomposers.start import Start
    from modhub.network.network import Network

    Bits = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.floating]

NAME = "cnnsplitter"
PAPER = "arXiv:2209.06116"


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """The authors' numbers.

    Args:
        population: modules per class.
        generations: how often they are renewed.
        parents: the best of them that have children.
        elite: the best of them that live on.
        mutation: share of a child's bits that is drawn anew.
        confidence: probability that the parent must give an image's class for the image to count for importance.
        sensitive: shares of a sensitive layer's groups to begin with.
        others: shares of another layer's groups to begin with.
        ratios: shares of a layer's kernels that its sensitivity is measured at.
        accuracy_weight: of the best ensemble's accuracy in the fitness; the rest is the difference of the modules.
        goal: accuracy below which the next generation cares more about accuracy.
        patience: generations without a better ensemble after which the search ends, None for never.
    """

    population: int = 100
    generations: int = 200
    parents: int = 50
    elite: int = 20
    mutation: float = 0.05
    confidence: float = 0.9
    sensitive: tuple[float, ...] = (0.6, 0.7, 0.8)
    others: tuple[float, ...] = (0.4, 0.5, 0.6, 0.7)
    ratios: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    accuracy_weight: float = 0.9
    goal: float = 0.9
    patience: int | None = None


def paper(
    network: Network,
    train: Dataset,
    validation: Dataset,
    *,
    options: Options | None = None,
    progress: Progress = silent,
    numbers: Numbers | None = None,
) -> Decomposition:
    """Return the classes of a network as modules, found by co-evolution.

    Args:
        network: the parent, in normal form.
        train: labelled inputs, to take importance from.
        validation: held-out labelled inputs, which ensembles are judged on.
        options: what to aim for; `steps` is the number of generations; `max_loss`, `keep`, `align` and `flip` have no
            effect, because the fitness alone decides.
        progress: called after every generation.
        numbers: the authors' by default.

    Raises:
        DecomposeError: nothing can be masked.
        InvalidData: the training data has no labels.
    """
    options = options or Options(recipe="paper")
    if train.y is None:
        raise InvalidData(
            "recipe 'paper' orders kernels by class, and the data has no labels", where="y", file=train.name
        )
    options = dataclasses.replace(options, cut="none" if options.cut == AUTO else options.cut)
    numbers = numbers or Numbers(generations=options.steps or Numbers.generations)
    explorer = Explorer.prepare(network, train, validation, options=options, numbers=numbers, progress=progress)
    explorer.explore()
    return explorer.finish(train=train, validation=validation)


@dataclass(frozen=True, eq=False)
class Judged:
    """A whole ensemble: a mask per class, and how good it is."""

    generation: int
    accuracy: float
    difference: float
    masks: torch.Tensor

    def value(self, numbers: Numbers) -> float:
        """Return what generations are compared by."""
        return numbers.accuracy_weight * self.accuracy + (1 - numbers.accuracy_weight) * self.difference


@dataclass
class Explorer:
    """Populations ``[classes, population, bits]`` with the logits of all modules, after `generation` generations."""

    begun: Start
    options: Options
    numbers: Numbers
    progress: Progress
    candidates: Candidates
    genes: Genes
    checkpoint: Checkpoint
    clock: Clock
    bits: Bits
    logits: torch.Tensor
    generation: int = 0
    best: Judged | None = None
    last_accuracy: float = 1.0
    history: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def prepare(
        cls,
        network: Network,
        train: Dataset,
        validation: Dataset,
        *,
        options: Options,
        numbers: Numbers,
        progress: Progress,
    ) -> Self:
        """Return an explorer with its first population, or the one of the checkpoint."""
        checkpoint = options.checkpoint or Checkpoint()
        begun = start(network, train, validation, options=options, flip=False, progress=progress)
        candidates = Candidates.of(begun)
        genes = Genes.of(class_importance(begun, numbers.confidence)[:, candidates.free], candidates.layers)
        saved = checkpoint.load()
        explorer = cls(
            begun=begun,
            options=options,
            numbers=numbers,
            progress=progress,
            candidates=candidates,
            genes=genes,
            checkpoint=checkpoint,
            clock=Clock.of(options, checkpoint),
            bits=np.zeros((begun.batch.modules_count, numbers.population, genes.bits), dtype=np.bool_),
            logits=torch.zeros(0),
        )
        if saved is None:
            explorer.populate()
        else:
            explorer.restore(saved)
        return explorer

    def populate(self) -> None:
        """Draw the first population and compute its logits."""
        shares = self.layer_shares()
        for number in range(len(self.bits)):
            random = np.random.default_rng((self.options.seed, 0, number))
            for own in self.bits[number]:
                for layer, choices in zip(self.genes.layers, shares, strict=True):
                    own[layer] = drawn_groups(layer.stop - layer.start, float(random.choice(choices)), random)
        self.logits = self.candidates.logits(self.masks(self.bits))

    def masks(self, bits: Bits) -> torch.Tensor:
        """Return the masks of chromosomes ``[classes, p, bits]``, ``[classes, p, width]``."""
        return self.candidates.masks(self.genes.masks(bits))

    def layer_shares(self) -> list[tuple[float, ...]]:
        """Return for each layer the shares of groups to begin with, few for those that are not sensitive."""
        accuracy = self.sensitivity().mean(axis=1)
        sensitive = accuracy < accuracy.mean()
        names = [site for site, layer in zip(self.begun.batch.maskable, self.candidates.of_site, strict=True) if layer]
        for site, own, is_sensitive in zip(names, accuracy, sensitive, strict=True):
            self.history.append(
                {"step": "layer", "layer": site.id, "accuracy": float(own), "sensitive": bool(is_sensitive)}
            )
        return [self.numbers.sensitive if own else self.numbers.others for own in sensitive]

    def sensitivity(self) -> Floats:
        """Return the composed accuracy when each layer alone keeps its most important kernels, ``[layers, ratios]``."""
        ratios = self.numbers.ratios
        bits = np.ones((len(self.bits), len(self.genes.layers), len(ratios), self.genes.bits), dtype=np.bool_)
        for number, layer in enumerate(self.genes.layers):
            for place, ratio in enumerate(ratios):
                kept = max(1, round(ratio * (layer.stop - layer.start)))
                bits[:, number, place, layer.start + kept : layer.stop] = False
        logits = self.candidates.logits(self.masks(bits.reshape(len(bits), -1, self.genes.bits)))
        right = logits.argmax(dim=0).numpy() == self.candidates.columns
        accuracy: Floats = right.mean(axis=1).reshape(len(self.genes.layers), len(ratios))
        return accuracy

    def explore(self) -> None:
        """Renew the populations until the generations, the patience or the time are over."""
        while self.generation < self.numbers.generations:
            self._keep()
            self._judge_and_renew()
            if self.clock.is_over() or self._is_out_of_patience():
                return

    def _is_out_of_patience(self) -> bool:
        patience = self.numbers.patience
        return patience is not None and self.best is not None and self.generation - self.best.generation >= patience

    def _judge_and_renew(self) -> None:
        """Give every module its fitness, remember the best ensemble, and let the fittest live on and have children."""
        masks = self.masks(self.bits)
        fitness, members = self._judge(masks)
        bits, logits = [], []
        children = []
        for number, values in enumerate(fitness):
            order = np.argsort(-values, kind="stable")
            # The best ensemble comes first, so that the next generation finds it as the first of every class.
            order = np.concatenate([[members[number]], order[order != members[number]]])
            random = np.random.default_rng((self.options.seed, self.generation + 1, number))
            born = crossed(
                self.bits[number][order[: self.numbers.parents]],
                self.numbers.population - self.numbers.elite,
                random,
            )
            children.append(mutated(born, self.numbers.mutation, random))
            bits.append(self.bits[number][order[: self.numbers.elite]])
            logits.append(self.logits[number][order[: self.numbers.elite]])
        self.generation += 1
        if self.generation < self.numbers.generations:
            offspring = np.stack(children)
            self.bits = np.concatenate([np.stack(bits), offspring], axis=1)
            self.logits = torch.cat([torch.stack(logits), self.candidates.logits(self.masks(offspring))], dim=1)

    def _judge(self, masks: torch.Tensor) -> tuple[Floats, list[int]]:
        """Return the fitness of every module, ``[classes, population]``, and the best ensemble's members."""
        numbers, columns = self.numbers, self.candidates.columns
        weights = {
            "weight": numbers.accuracy_weight + max(0.0, numbers.goal - self.last_accuracy),
            "apart_weight": 1 - numbers.accuracy_weight,
        }
        apart = differences(masks)
        random = np.random.default_rng((self.options.seed, self.generation + 1))
        groups = [tournament(self.logits, columns, apart, **weights, random=random)]
        if self.best is not None:
            groups.append(one_ensemble(self.logits, columns, apart, [0] * len(masks)))
        size = self.bits.shape[1]
        fitness = np.max([best_with(group, size=size, **weights) for group in groups], axis=0)
        winner = max(groups, key=lambda group: float(group.fitness(**weights).max()))
        place = int(winner.fitness(**weights).argmax())
        members = [0] * len(masks)
        for column, number in enumerate(winner.classes):
            members[number] = int(winner.members[place, column])
        self._remember(winner, place, masks[torch.arange(len(masks)), torch.tensor(members)], fitness)
        return fitness, members

    def _remember(self, group: Group, place: int, masks: torch.Tensor, fitness: Floats) -> None:
        accuracy, difference = float(group.accuracy[place]), float(group.difference[place])
        found = Judged(self.generation + 1, accuracy, difference, masks)
        if self.best is None or found.value(self.numbers) > self.best.value(self.numbers):
            self.best = found
        self.last_accuracy = accuracy
        event: dict[str, Any] = {
            "step": "generation",
            "generation": self.generation + 1,
            "kept": float(masks.mean()),
            "accuracy": accuracy,
            "difference": difference,
            "fitness": float(fitness.max()),
        }
        self.history.append(event)
        done = (self.generation + 1) / self.numbers.generations
        self.progress({**event, "loss": 1 - event["fitness"], "left_s": self.clock.left_s(done)})

    def _keep(self) -> None:
        best = [] if self.best is None else [self.best]
        self.checkpoint.save(
            lambda: State(
                values={
                    "generation": self.generation,
                    "last_accuracy": self.last_accuracy,
                    "history": self.history,
                    "best": [[b.generation, b.accuracy, b.difference] for b in best],
                },
                arrays={
                    "bits": torch.from_numpy(self.bits),
                    "logits": self.logits,
                    **({"best": best[0].masks} if best else {}),
                },
            )
        )

    def restore(self, saved: State) -> None:
        """Go on from a state."""
        self.bits, self.logits = saved.arrays["bits"].numpy(), saved.arrays["logits"]
        self.generation, self.last_accuracy = int(saved.values["generation"]), float(saved.values["last_accuracy"])
        self.history = list(saved.values["history"])
        for generation, accuracy, difference in saved.values["best"]:
            self.best = Judged(generation, accuracy, difference, saved.arrays["best"])

    def finish(self, *, train: Dataset, validation: Dataset) -> Decomposition:
        """Return the best ensemble's modules, calibrated and measured on the validation data."""
        if self.best is None:
            self._judge_and_renew()
        best = self.best
        if best is None:
            raise AssertionError("a generation always has a best ensemble")
        batch = self.begun.batch
        chosen = {"kept": float(best.masks.mean()), "accuracy": best.accuracy}
        self.progress({"step": "chosen", **chosen, "parent": self.begun.parent_accuracy})
        scores = self.candidates.all_logits(self.begun.validation.x, best.masks[:, None])[:, 0].T.contiguous()
        return Decomposition(
            parent=self.begun.network,
            sites=self.begun.sites,
            cut=self.begun.cut,
            modules=class_modules(
                scores.numpy(),
                network=self.begun.network,
                rows=batch.rows.tolist(),
                classes=train.classes,
                kept=batch.kept_channels(best.masks),
                affine=[{}] * batch.modules_count,
                validation=self.begun.validation,
                data=validation.name,
            ),
            method=Method(
                name=NAME,
                version="1",
                paper=PAPER,
                recipe="paper",
                parameters={"generations": self.generation, "population": self.numbers.population},
                seed=self.options.seed,
            ),
            history=tuple(self.history),
            **provenance(train, self.begun.validation),
        )


def class_importance(begun: Start, confidence: float) -> Floats:
    """Return how much each kernel fires for each class, ``[classes, width]``: the mean over images of the class.

    Only images that the parent gives their class with a probability of at least `confidence` count; where a class has
    none, all of its images do.
    """
    train = begun.train
    sure = train.logits.softmax(dim=1).numpy()
    rows = []
    for number in range(begun.batch.modules_count):
        own = np.flatnonzero(train.columns == number)
        if not len(own):
            raise InvalidData(f"no sample is of the class at position {begun.batch.rows[number]}", where="y")
        certain = own[sure[own, number] >= confidence]
        rows.append(activity(begun, train.x[certain if len(certain) else own]).mean(axis=0))
    return np.stack(rows)


def drawn_groups(count: int, share: float, random: np.random.Generator) -> Bits:
    """Return which of a layer's groups are active: a share of them, the more important ones likelier.

    They are drawn without replacement, with probabilities that fall by a tenth of an e-fold per rank.
    """
    falling = np.exp(-np.arange(count) / 10)
    active = max(1, int(count * share))
    chosen: Bits = np.zeros(count, dtype=np.bool_)
    chosen[random.choice(count, size=active, replace=False, p=falling / falling.sum())] = True
    return chosen
