"""The decomposer: a ladder of densities, and the smallest one that loses little enough."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from modhub.decomposers.options import Options, refuse_tied, silent
from modhub.decomposers.outcome import choose, class_modules, provenance
from modhub.decomposers.weightmask.masks import density
from modhub.decomposers.weightmask.recipe import find_recipe
from modhub.decomposers.weightmask.training import Trainer
from modhub.network.modules import Decomposition
from modhub.network.sites import find_sites
from modhub.spec.manifest import Method, Metric

if TYPE_CHECKING:
    from modhub.datasets import Dataset
    from modhub.decomposers.options import Progress
    from modhub.decomposers.weightmask.training import Rung
    from modhub.network.modules import ClassModule
    from modhub.network.network import Network

NAME = "weightmask"
PAPER = "arXiv:2112.13208"


def weightmask(
    network: Network,
    train: Dataset,
    validation: Dataset,
    *,
    options: Options | None = None,
    progress: Progress = silent,
) -> Decomposition:
    """Return the classes of a network as modules, each a mask over its weights.

    Args:
        network: the parent, in normal form; its weights stay as they are.
        train: inputs to learn from; without labels, the parent's own answers are learned.
        validation: held-out inputs with labels, for choosing the density and calibrating.
        options: what to aim for; `keep` is the lowest density to try, `align` has no effect.
        progress: called after every density.

    Raises:
        UsageError: the recipe is unknown.
        DecomposeError: nothing can be masked.
        InvalidData: the data does not fit the network.
    """
    options = options or Options()
    recipe = find_recipe(options.recipe)
    refuse_tied(options, method=NAME)
    if options.steps is not None:
        recipe = dataclasses.replace(recipe, steps=options.steps)
    trainer = Trainer.prepare(
        network, train, validation, options=options, recipe=recipe, progress=progress, sharing=options.sharing
    )
    history = trainer.search()
    chosen = choose(history, max_loss=options.max_loss, parent=trainer.parent_accuracy)
    progress({**chosen.report(), "step": "chosen", "parent": trainer.parent_accuracy})
    return outcome(trainer, chosen, history, train=train, validation=validation)


def outcome(
    trainer: Trainer, chosen: Rung, history: list[Rung], *, train: Dataset, validation: Dataset
) -> Decomposition:
    """Return the modules of one rung, calibrated and measured on the validation data."""
    options = trainer.options
    trainer.heads.put(chosen.heads)
    nothing: list[dict[str, object]] = [{} for _ in trainer.rows]
    modules = class_modules(
        chosen.scores,
        network=trainer.network,
        rows=trainer.rows,
        classes=train.classes,
        kept=nothing,  # type: ignore[arg-type]
        affine=nothing,  # type: ignore[arg-type]
        validation=trainer.validation,
        data=validation.name,
    )
    return Decomposition(
        parent=trainer.network,
        sites=find_sites(trainer.network),
        cut=trainer.cut,
        modules=tuple(_masked(module, i, trainer, chosen) for i, module in enumerate(modules)),
        method=Method(
            name=NAME,
            version="1",
            paper=PAPER,
            recipe=options.recipe,
            parameters={
                "keep": options.keep,
                "max_loss": options.max_loss,
                "steps": trainer.recipe.steps,
                "sharing": options.sharing,
            },
            seed=options.seed,
        ),
        history=tuple(rung.report() for rung in history),
        **provenance(train, trainer.validation),
    )


def _masked(module: ClassModule, i: int, trainer: Trainer, chosen: Rung) -> ClassModule:
    """Return a module with its masks, and with what was measured of all of them together."""
    weights = {name: own[i].cpu().numpy() for name, own in zip(trainer.names, chosen.masks, strict=True)}
    split, n = "validation", int((trainer.validation.columns >= 0).sum())
    together = {
        "composed_accuracy": Metric(value=chosen.parallel, split=split, n=n),
        "union_accuracy": Metric(value=chosen.union, split=split, n=n),
        "density": Metric(value=density([own[i] for own in chosen.masks]), n=trainer.size),
        **{name: Metric(value=value, n=trainer.size) for name, value in chosen.sharing().items()},
    }
    head = trainer.heads.packed()[i]
    return dataclasses.replace(module, weights=weights, head=head, metrics={**module.metrics, **together})
