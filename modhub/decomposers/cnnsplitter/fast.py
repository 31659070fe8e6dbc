"""CNNSplitter: kernel masks found by a genetic algorithm.

Qi, Sun, Gao, Zhang, Li and Liu, "Patching Weak Convolutional Neural Network Models through Modularization and
Composition", ASE 2022, arXiv:2209.06116. Kernels that are about equally important to a class share a bit; populations
of bit strings, one per class, are crossed and mutated.

Recipe ``paper`` is in `modhub.decomposers.cnnsplitter.paper`. Recipe ``fast`` keeps the search and changes what it
asks. A module is judged by how well its logit, after the best scale and offset, follows its parent's, on the samples
that matter to its class. So no ensembles have to be tried, no labels are needed, and every class searches for itself.
The search starts from the kernels' saliency and moves at a fixed number of kept kernels, one level of retention after
the other; in between, scales and offsets settle as they do in GradSplitter, and what that shows about the kernels
orders the bits of the next level. Measured on a LeNet-5, long searches on few samples only learn these samples: three
generations on many, and fresh samples to decide, are what is left of the two hundred.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from modhub.decomposers.alignment import aligned_masks
from modhub.decomposers.cnnsplitter.genes import Genes, crossed, mutated
from modhub.decomposers.cnnsplitter.paper import NAME, PAPER, paper
from modhub.decomposers.gradsplitter.distillation import Recipe, relevant
from modhub.decomposers.gradsplitter.fast import Trainer
from modhub.decomposers.module_batch import ModuleBatch
from modhub.decomposers.options import Options, check_recipe, refuse_tied, silent
from modhub.decomposers.outcome import choose

if TYPE_CHECKING:
    import numpy.typing as npt

    from modhub.datasets import Dataset
    from modhub.decomposers.checkpoint import State
    from modhub.decomposers.gradsplitter.fast import Snapshot
    from modhub.decomposers.options import Progress
    from modhub.network.modules import Decomposition
    from modhub.network.network import Network

    Bits = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.floating]

RECIPES = ("fast", "paper")
COPIES = 40
"""Modules that are evaluated in one batch."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """Numbers of the search within a level of retention.

    Args:
        population: bit strings per class.
        elite: the best of them, which live on and have children.
        generations: how often the others are renewed.
        mutation: share of a child's bits that is drawn anew.
        pool: training samples that a level's modules are judged on.
        relevant: share of these that each module looks at, those whose margin for its class is highest.
    """

    population: int = 8
    elite: int = 3
    generations: int = 3
    mutation: float = 0.05
    pool: int = 1024
    relevant: float = 0.25


def cnnsplitter(
    network: Network,
    train: Dataset,
    validation: Dataset,
    *,
    options: Options | None = None,
    progress: Progress = silent,
) -> Decomposition:
    """Return the classes of a network as modules, masked by a genetic algorithm.

    Args:
        network: the parent, in normal form.
        train: inputs to learn from; recipe ``fast`` uses no labels.
        validation: held-out inputs with labels, for choosing how much to keep and calibrating.
        options: what to aim for.
        progress: called every few steps and after every generation or level of retention.

    Raises:
        UsageError: the recipe is unknown, or recipe ``fast`` is to tie channels.
        DecomposeError: nothing can be masked.
        InvalidData: the data does not fit the network, or recipe ``paper`` finds no labels.
    """
    options = options or Options()
    check_recipe(options.recipe, RECIPES, method=NAME)
    if options.recipe == "paper":
        return paper(network, train, validation, options=options, progress=progress)
    refuse_tied(options, method=NAME)
    recipe = Recipe(steps=125) if options.steps is None else Recipe(steps=options.steps)
    breeder = Breeder.prepare(network, train, validation, options=options, recipe=recipe, progress=progress)
    history = breeder.search()
    chosen = choose(history, max_loss=options.max_loss, parent=breeder.begun.parent_accuracy)
    return breeder.finish(chosen, history, validation=validation, train=train)


class Breeder(Trainer):
    """Modules whose masks are bred; their scales and offsets are trained as GradSplitter trains them."""

    method: ClassVar[str] = NAME
    publication: ClassVar[str] = PAPER
    numbers: ClassVar[Search] = Search()

    def climb(
        self,
        number: int,
        before: float,
        share: float,
        *,
        saved: State | None = None,
        fixed: torch.Tensor | None = None,
    ) -> Snapshot:
        """Return the modules after breeding masks for a share and letting scales and offsets settle."""
        if saved is not None and saved.values["phase"] == "training":
            return super().climb(number, before, share, saved=saved, fixed=saved.arrays["masks"])
        if fixed is None:
            fixed = aligned_masks(self.breed(number, share, saved), self.batch, multiple=self.options.align)
        return super().climb(number, before, share, fixed=fixed)

    def breed(self, number: int, share: float, saved: State | None = None) -> torch.Tensor:
        """Return the best masks found for a share of the channels, ``[modules, width]``."""
        numbers, count = self.numbers, self.batch.count(share)
        judge = Judge.of(self, (3, number))
        genes = self._genes()
        worth = group_worth(self.batch.latents.cpu().numpy(), genes)
        beginning = self._first(worth, genes.sizes, count, number)
        if saved is None:
            bits, losses, first = beginning, judge.losses(genes.masks(beginning)), 0
        else:
            bits, losses = saved.arrays["bits"].numpy(), saved.arrays["bit_losses"].numpy()
            first = int(saved.values["generation"])
        for generation in range(first, numbers.generations):
            self._keep_bits(number, generation, bits, losses)
            if self.clock.is_over():
                break
            bits, losses = best_first(bits, losses, numbers.elite)
            children = np.stack(
                [
                    self._children(own, worth[module], genes.sizes, count, (number, generation, module))
                    for module, own in enumerate(bits)
                ]
            )
            bits = np.concatenate([bits, children], axis=1)
            losses = np.concatenate([losses, judge.losses(genes.masks(children))], axis=1)
            self._tell_generation(number, generation, share, losses)
        # Who wins on the samples that the search saw may owe it to these, so others decide, and saliency may win too.
        bits = np.concatenate([best_first(bits, losses, numbers.elite)[0], beginning[:, :1]], axis=1)
        bits, _ = best_first(bits, Judge.of(self, (4, number)).losses(genes.masks(bits)), 1)
        return torch.from_numpy(genes.masks(bits)[:, 0]).to(self.batch.latents)

    def _genes(self) -> Genes:
        ends = np.cumsum([0, *(site.size for site in self.batch.maskable)])
        layers = [np.arange(first, last) for first, last in pairwise(ends)]
        return Genes.of(self.batch.latents.cpu().numpy(), layers)

    def _first(self, worth: Floats, sizes: npt.NDArray[np.int64], count: int, number: int) -> Bits:
        """Return the first population: what saliency says, and variations of it."""
        size = self.numbers.population
        found = np.zeros((len(worth), size, len(sizes)), dtype=np.bool_)
        for module, own in enumerate(worth):
            random = np.random.default_rng((self.options.seed, 1, number, module))
            noise = random.gumbel(size=(size, len(sizes))) * np.linspace(0, 1, size)[:, None]
            found[module] = within(np.zeros((size, len(sizes)), dtype=np.bool_), own + noise, sizes, count)
        return found

    def _children(
        self, parents: Bits, worth: Floats, sizes: npt.NDArray[np.int64], count: int, stream: tuple[int, int, int]
    ) -> Bits:
        random = np.random.default_rng((self.options.seed, 2, *stream))
        born = crossed(parents, self.numbers.population - self.numbers.elite, random)
        born = mutated(born, self.numbers.mutation, random)
        return within(born, worth + random.gumbel(size=born.shape), sizes, count)

    def _keep_bits(self, number: int, generation: int, bits: Bits, losses: Floats) -> None:
        self.checkpoint.save(
            lambda: self.state(
                {"phase": "breeding", "rung": number, "generation": generation},
                {"bits": torch.from_numpy(bits), "bit_losses": torch.from_numpy(losses)},
            )
        )

    def _tell_generation(self, number: int, generation: int, share: float, losses: Floats) -> None:
        # Breeding and settling take about as long as each other.
        done = (number - 1 + 0.5 * (generation + 1) / self.numbers.generations) / len(self.rungs)
        event = {"step": "training", "rung": number, "generation": generation + 1, "kept": share}
        loss = float(losses.min(axis=1).mean())
        self.progress({**event, "loss": loss, "left_s": self.clock.left_s(done)})


@dataclass(frozen=True, eq=False)
class Judge:
    """What tells how well modules follow their parent, on samples of each module's own.

    Args:
        batch: several copies of every module, with its scales and offsets.
        copies: how many.
        features: each module's samples, ``[modules, samples, ...]``.
        target: the parent's logits for them, ``[modules, samples]``.
        device: where torch computes.
    """

    batch: ModuleBatch
    copies: int
    features: torch.Tensor
    target: torch.Tensor
    device: str

    @classmethod
    def of(cls, trainer: Trainer, stream: tuple[int, int]) -> Judge:
        """Return a judge for the modules of a trainer as they are; `stream` tells which samples are drawn."""
        begun, options = trainer.begun, trainer.options
        numbers = Breeder.numbers
        random = np.random.default_rng((options.seed, *stream))
        pool = torch.from_numpy(random.permutation(len(begun.train.x))[: numbers.pool])
        target = begun.train.logits[pool]
        rows = relevant(target, share=numbers.relevant, seed=options.seed + stream[1])
        own = begun.batch.rows.tolist()
        copies = max(1, COPIES // len(own))
        batch = ModuleBatch(
            begun.batch.net,
            network=begun.network,
            sites=begun.sites,
            cut=begun.cut,
            rows=own * copies,
            maskable=begun.batch.maskable,
        ).to(options.device)
        for mine, theirs in zip(
            (*batch.scales, *batch.offsets), (*begun.batch.scales, *begun.batch.offsets), strict=True
        ):
            mine.data.copy_(theirs.data.repeat(copies, 1))
        return cls(batch, copies, begun.train.x[pool[rows]], target.gather(0, rows.T).T, options.device)

    @torch.no_grad()
    def losses(self, masks: Bits) -> Floats:
        """Return the share of the parent's logit that modules leave unexplained, ``[modules, p]``.

        That is one minus the squared correlation, what remains after the best scale and offset; one where the
        correlation is negative.

        Args:
            masks: the kernels they keep, ``[modules, p, width]``.
        """
        modules, count, width = masks.shape
        samples = self.features.shape[1]
        whole = torch.from_numpy(masks).to(torch.float32)
        found = []
        for part in torch.split(whole, self.copies, dim=1):
            short = self.copies - part.shape[1]
            full = torch.cat([part, part[:, -1:].expand(-1, short, -1)], dim=1)
            gates = full.transpose(0, 1).reshape(-1, width).to(self.device)
            features = self.features.flatten(0, 1).to(self.device)
            features = features.expand(self.copies, *features.shape).flatten(0, 1)
            scores = self.batch(features, gates, batch=samples).T.reshape(self.copies, modules, samples)
            found.append(unexplained(scores.cpu().double(), self.target.double())[: part.shape[1]].T)
        losses: Floats = torch.cat(found, dim=1).reshape(modules, count).numpy()
        return losses


def unexplained(scores: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return one minus the squared correlation along the last axis; one where it is negative."""
    scores, target = (values - values.mean(dim=-1, keepdim=True) for values in (scores, target))
    both = (scores * target).sum(dim=-1).clamp_min(0.0)
    return 1 - both.square() / (scores.square().sum(dim=-1) * target.square().sum(dim=-1)).clamp_min(1e-12)


def group_worth(latents: Floats, genes: Genes) -> Floats:
    """Return the logarithm of the mean latent of each group, ``[modules, bits]``; what was dropped is worth little."""
    totals = np.stack([np.bincount(group, own, genes.bits) for own, group in zip(latents, genes.group, strict=True)])
    worth: Floats = np.log(np.maximum(totals / genes.sizes, 1e-9))
    return worth


def within(bits: Bits, worth: Floats, sizes: npt.NDArray[np.int64], count: int) -> Bits:
    """Return chromosomes with at most `count` kernels: active groups stay by their worth, then others fill up.

    The groups are taken in that order until one does not fit.

    Args:
        bits: the chromosomes, ``[p, bits]``.
        worth: of each group, ``[p, bits]``.
        sizes: kernels per group.
        count: kernels that may be kept.
    """
    spread = 1 + np.abs(worth).max()
    order = np.argsort(-(worth + 2 * spread * bits), axis=1, kind="stable")
    fits = np.cumsum(sizes[order], axis=1) <= count
    result = np.zeros_like(bits)
    np.put_along_axis(result, order, fits, axis=1)
    return result


def best_first(bits: Bits, losses: Floats, count: int) -> tuple[Bits, Floats]:
    """Return the best `count` chromosomes of each class and their losses, best first."""
    order = np.argsort(losses, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(bits, order[..., None], axis=1), np.take_along_axis(losses, order, axis=1)
