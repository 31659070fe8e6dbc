"""MODA: modules of a network that was trained to be modular, cut out without learning anything more.

Ngo, Hassan and others, "Improving DNN Modularization via Activation-Driven Training", arXiv:2411.01074. Training is
`ModularityLoss`, or `modhub train --objective moda`; here the modules are extracted.

Recipe ``paper`` keeps a channel for a class if it is not exactly zero for at least 90 % of the class's training
samples, and at least 0.5 % of each site. On large feature maps that keeps nearly everything, because some position is
always positive, and after a GELU or SiLU nothing is ever exactly zero.

Recipe ``fast`` ranks channels by what they do to the class's own score (`effect`), which depends neither on resolution
nor on exact zeros, and keeps as few as validation data allows. Where too much is lost, it gives the layers of a module
the means and variances that they have in the parent (`Repair`). Nothing is learned by either recipe.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from modhub.decomposers.cut import choose_cut
from modhub.decomposers.features import features
from modhub.decomposers.moda.activity import activity
from modhub.decomposers.moda.effect import channel_weights, drawn, effect
from modhub.decomposers.moda.loss import ModularityLoss
from modhub.decomposers.moda.repair import Repair
from modhub.decomposers.options import AUTO, Options, check_recipe, refuse_tied, silent
from modhub.decomposers.outcome import calibrated_accuracy, choose, class_modules, provenance
from modhub.engines.torch_engine import to_torch
from modhub.errors import DecomposeError
from modhub.network.modules import ClassModule, Decomposition, kernels, kernels_kept
from modhub.network.sites import find_sites
from modhub.network.slice import sliced
from modhub.spec.manifest import Method

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from modhub.datasets import Dataset
    from modhub.decomposers.features import Features
    from modhub.decomposers.moda.activity import Activity
    from modhub.decomposers.options import Progress
    from modhub.network.modules import Affine, Channels
    from modhub.network.network import Network
    from modhub.network.sites import Site, Sites

__all__ = ["ModularityLoss", "moda"]

NAME = "moda"
PAPER = "arXiv:2411.01074"
RECIPES = ("fast", "paper")
TAU = 0.9
"""Share of a class's samples for which a channel must be active; the paper's."""

LEAST = 0.005
"""Share of each site that is kept whatever its activity; the paper's."""

FREQUENCY, EFFECT = "frequency", "effect"
"""Rules that channels are kept by; the first is the paper's."""

ROUNDS = 6
"""Levels of retention that recipe ``fast`` tries after the smallest that is asked for."""

SAMPLES = 512
"""Samples that the effect of channels is taken from."""

BATCH = 256


@dataclass(frozen=True)
class Rung:
    """The modules at one level of retention, and how well they compose on validation data."""

    share: float
    accuracy: float
    rule: str
    threshold: float
    kept: list[dict[str, Channels]]
    affine: list[dict[str, Affine]]
    scores: npt.NDArray[np.float32]

    @property
    def repaired(self) -> bool:
        """Tell whether the modules have their parent's statistics."""
        return any(self.affine)

    def report(self) -> dict[str, Any]:
        """Return the numbers as plain values; the step is called by its rule."""
        numbers = {"kept": self.share, "accuracy": self.accuracy, "threshold": self.threshold}
        return {"step": self.rule, **numbers, "repaired": self.repaired}


def moda(
    network: Network,
    train: Dataset,
    validation: Dataset,
    *,
    options: Options | None = None,
    progress: Progress = silent,
) -> Decomposition:
    """Return the classes of a network as modules, by which channels are active for them.

    Args:
        network: the parent, in normal form; best trained with `ModularityLoss`.
        train: inputs to watch the activations of. Where they have no labels, the parent's own answers count.
        validation: held-out inputs with labels, for choosing how much to keep and calibrating.
        options: what to aim for. `steps` and `flip` have no effect; recipe ``paper`` decides itself how much to keep,
            and has no trunk unless one is asked for.
        progress: called after every level of retention.

    Raises:
        UsageError: the recipe is unknown, or recipe ``fast`` shall tie channels.
        DecomposeError: nothing can be masked, or nothing is read where activity can be seen.
        InvalidData: the data does not fit the network.
    """
    options = options or Options()
    check_recipe(options.recipe, RECIPES, method=NAME)
    if options.recipe == "fast":
        refuse_tied(options, method=NAME)
    extraction = Extraction.prepare(network, train, validation, options=options, progress=progress)
    if options.recipe == "paper":
        history = [extraction.rung(extraction.by_frequency(TAU), rule=FREQUENCY, threshold=TAU)]
        progress(history[0].report())
    else:
        history = extraction.climb(progress)
    return extraction.finish(history, train=train, validation=validation)


@dataclass(frozen=True, eq=False)
class Extraction:
    """A parent whose activity is known, over the samples that were watched."""

    network: Network
    sites: Sites
    cut: str
    maskable: tuple[Site, ...]
    rows: tuple[int, ...]
    activity: Activity
    watched: torch.Tensor
    held_out: Features
    options: Options

    @classmethod
    def prepare(
        cls, network: Network, train: Dataset, validation: Dataset, *, options: Options, progress: Progress
    ) -> Extraction:
        """Return an extraction with the cut chosen and the activity of each class measured."""
        sites = find_sites(network)
        wish = "none" if options.recipe == "paper" and options.cut == AUTO else options.cut
        cut, maskable = choose_cut(network, sites, wish)
        rows = options.classes or tuple(range(int(network.output_shape[-1])))
        progress({"step": "trunk", "cut": cut, "sites": len(maskable), "kernels": sum(s.size for s in maskable)})
        seen = features(network, train, cut=cut, rows=rows, flip=False)
        held_out = features(network, validation, cut=cut, rows=rows, flip=False)
        progress({"step": "parent", "accuracy": held_out.accuracy(held_out.logits)})
        columns = seen.columns if train.y is not None else seen.logits.argmax(dim=1).numpy()
        found = activity(
            network, sites, cut=cut, features=seen.x, columns=columns, classes=len(rows), device=options.device
        )
        if not any(found.seen[_channels(sites, site)].any() for site in maskable):
            raise DecomposeError("no layer reads the channels of a site where their activity can be seen")
        return cls(network, sites, cut, maskable, rows, found, seen.x, held_out, options)

    def by_frequency(self, tau: float) -> list[dict[str, Channels]]:
        """Return each module's channels by the paper's rule: active for a share of at least `tau` of the samples."""
        return self._masks(self.activity.frequency, tau, least=self._most_frequent(tau), align=1)

    def by_effect(self, threshold: float) -> list[dict[str, Channels]]:
        """Return each module's channels that reach a threshold by our rule, in whole blocks of `align`."""
        return self._masks(self.effect, threshold, least={}, align=self.options.align)

    @cached_property
    def effect(self) -> npt.NDArray[np.float64]:
        """Return what each channel does to each module's score, ``[modules, channels]``, for the weights it costs.

        It is divided by the square root of the channel's weights, halfway between counting channels and counting
        weights: at equal size that kept up to a point more of a ResNet's accuracy than counting channels.
        """
        some, device = drawn(self.watched, SAMPLES), self.options.device
        found = effect(self.network, self.sites, cut=self.cut, features=some, rows=self.rows, device=device)
        return np.asarray(found / np.sqrt(np.maximum(1.0, channel_weights(self.network, self.sites))))

    @cached_property
    def repair(self) -> Repair:
        """Return what brings modules to their parent's statistics."""
        return Repair.of(self.network, self.sites, cut=self.cut, features=self.watched, device=self.options.device)

    def _most_frequent(self, tau: float) -> dict[str, int]:
        """Return per site the most channels that any class keeps: what a class with too few of them gets (the paper).

        It is taken before any mask is filled up, so the order of classes does not matter.
        """
        return {
            site.id: int((self.activity.frequency[:, _channels(self.sites, site)] >= tau).sum(axis=1).max())
            for site in self.maskable
        }

    def _masks(
        self, ranks: npt.NDArray[np.float64], threshold: float, *, least: Mapping[str, int], align: int
    ) -> list[dict[str, Channels]]:
        result = []
        for own, strength in zip(ranks, self.activity.strength, strict=True):
            kept = {}
            for site in self.maskable:
                channels = _channels(self.sites, site)
                if not self.activity.seen[channels].all():
                    continue
                floor = max(1, int(LEAST * site.size))
                # Where most channels are silent for a class, the threshold may be zero.
                chosen = (own[channels] >= threshold) & (own[channels] > 0)
                count = int(chosen.sum())
                count = count if count >= floor else max(floor, least.get(site.id, 0))
                count = min(site.size, -(-count // align) * align)
                # By rank; among equals by strength, then by position.
                order = np.lexsort((np.arange(site.size), -strength[channels], -own[channels]))
                kept[site.id] = np.sort(order[:count])
            result.append(self.sites.settle(kept))
        return result

    def threshold_for(self, share: float) -> float:
        """Return what a share of all modules' channels reach by our rule."""
        channels = np.concatenate([_channels(self.sites, site) for site in self.maskable])
        channels = channels[self.activity.seen[channels]]
        return float(np.quantile(self.effect[:, channels], 1 - share))

    def climb(self, progress: Progress) -> list[Rung]:
        """Return rungs from the largest modules to the smallest, closing in on the fewest channels that are enough.

        The goal is tried first, and then the geometric mean between the last that lost too much and the last that did
        not: weights go with the square of the channels.
        """
        fails, passes = self.options.keep, 1.0
        rungs = [self.effective(fails)]
        progress(rungs[0].report())
        while len(rungs) <= ROUNDS and passes > fails and not self.is_within(rungs[0]):
            share = float(np.sqrt(fails * passes))
            rungs.append(self.effective(share))
            progress(rungs[-1].report())
            fails, passes = (fails, share) if self.is_within(rungs[-1]) else (share, passes)
        return sorted(rungs, key=lambda rung: -rung.share)

    def is_within(self, rung: Rung) -> bool:
        """Tell whether modules lose no more validation accuracy than is allowed."""
        return 100 * (self.parent_accuracy - rung.accuracy) <= self.options.max_loss

    def effective(self, share: float) -> Rung:
        """Return the modules that keep a share of the channels by our rule, repaired where they lose too much.

        Modules that are not repaired can be merged into one network, so they are taken where they are good enough.
        """
        threshold = self.threshold_for(share)
        kept = self.by_effect(threshold)
        plain = self.rung(kept, rule=EFFECT, threshold=threshold)
        if self.is_within(plain):
            return plain
        affine = [
            self.repair.of_module(ClassModule(label=str(row), row=row, kept=own))
            for row, own in zip(self.rows, kept, strict=True)
        ]
        repaired = self.rung(kept, rule=EFFECT, threshold=threshold, affine=affine)
        return max(plain, repaired, key=lambda rung: rung.accuracy)

    @property
    def parent_accuracy(self) -> float:
        """Return the parent's validation accuracy among the chosen classes, from 0 to 1."""
        return self.held_out.accuracy(self.held_out.logits)

    def rung(
        self,
        kept: list[dict[str, Channels]],
        *,
        rule: str,
        threshold: float,
        affine: list[dict[str, Affine]] | None = None,
    ) -> Rung:
        """Return modules with their scores on validation data."""
        affine = affine or [{} for _ in kept]
        modules = [
            ClassModule(label=str(row), row=row, kept=own, affine=numbers)
            for row, own, numbers in zip(self.rows, kept, affine, strict=True)
        ]
        scores = self.scores(modules)
        own = [kernels_kept(self.maskable, one) / max(1, kernels(self.maskable)) for one in kept]
        accuracy = calibrated_accuracy(scores, self.held_out)
        return Rung(float(np.mean(own)), accuracy, rule, threshold, kept, affine, scores)

    @torch.no_grad()
    def scores(self, modules: Sequence[ClassModule]) -> npt.NDArray[np.float32]:
        """Return the raw scores of modules on the validation data, ``[n, modules]``, each cut out and run."""
        start, device, columns = self.cut or self.network.input.name, self.options.device, []
        for module in modules:
            net = to_torch(sliced(self.network, self.sites, module)).to(device)
            parts = [net.run({start: part.to(device)}) for part in torch.split(self.held_out.x, BATCH)]
            columns.append(torch.cat(parts)[:, 0].cpu().numpy())
        return np.stack(columns, axis=1)

    def finish(self, history: list[Rung], *, train: Dataset, validation: Dataset) -> Decomposition:
        """Return the modules of the best rung, calibrated and measured on the validation data."""
        chosen = choose(history, max_loss=self.options.max_loss, parent=self.parent_accuracy)
        return Decomposition(
            parent=self.network,
            sites=self.sites,
            cut=self.cut,
            modules=class_modules(
                chosen.scores,
                network=self.network,
                rows=self.rows,
                classes=train.classes,
                kept=chosen.kept,
                affine=chosen.affine,
                validation=self.held_out,
                data=validation.name,
            ),
            method=Method(
                name=NAME,
                version="1",
                paper=PAPER,
                recipe=self.options.recipe,
                parameters={
                    "keep": self.options.keep,
                    "max_loss": self.options.max_loss,
                    "rule": chosen.rule,
                    "threshold": round(chosen.threshold, 6),
                    "repaired": chosen.repaired,
                },
                seed=self.options.seed,
            ),
            history=tuple(rung.report() for rung in history),
            **provenance(train, self.held_out),
        )


def _channels(sites: Sites, site: Site) -> npt.NDArray[np.int64]:
    """Return the numbers of a site's channels."""
    return np.arange(sites.offsets[site.id], sites.offsets[site.id] + site.size)
