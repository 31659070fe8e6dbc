"""GradSplitter: kernel masks learned by gradient.

Qi, Sun, Zhang, Zhao and Gao, "Reusing Convolutional Neural Network Models through Modularization and Composition",
ACM TOSEM 2023, arXiv:2311.04438. One latent number per kernel and class; the forward
pass uses a hard 0/1 mask, the gradient goes straight through; all modules are trained jointly against a retention goal.

Recipe ``fast`` differs from the paper where measurements said so: the modules learn to reproduce their parent's own
logit (no labels needed, and modules of one parent stay comparable), start from the parent itself with a retention
schedule instead of a penalty, share a cached trunk, carry a scale and an offset per kept kernel, and end in a
calibrated score.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from modhub.decomposers.cut import choose_cut
from modhub.decomposers.module_batch import ModuleBatch
from modhub.decomposers.options import Options, silent
from modhub.engines.runtime import Session
from modhub.engines.torch_engine import to_torch
from modhub.errors import DecomposeError
from modhub.metrics import accuracy, detection, fit_platt
from modhub.network.modules import ClassModule, Decomposition
from modhub.network.sites import find_sites
from modhub.network.trunk import trunk_of
from modhub.spec.manifest import DataSource, Method

if TYPE_CHECKING:
    import numpy.typing as npt

    from collections.abc import Iterator

    from modhub.datasets import Dataset
    from modhub.decomposers.options import Progress
    from modhub.network.network import Network
    from modhub.network.sites import Sites

    Floats = npt.NDArray[np.float32]

NAME = "gradsplitter"
PAPER = "arXiv:2311.04438"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Numbers of the training; chosen on validation data of ResNet-20 on CIFAR-10.

    Retention falls rung by rung. Within a rung it falls during the first `search_share` of the steps (cubic, as in
    Zhu and Gupta 2017), while the latents are trained; then the masks stand still and only scales and offsets are.
    `temperature` and `raw_weight` belong to the distillation loss: KL divergence between the softened scores plus
    `raw_weight` times the squared error of the raw logits.
    """

    rungs: tuple[float, ...] = (0.8, 0.65, 0.5, 0.4, 0.3, 0.2, 0.1)
    epochs: int = 1
    settle_epochs: int = 2
    search_share: float = 0.6
    batch: int = 50
    latent_rate: float = 0.01
    affine_rate: float = 0.003
    temperature: float = 2.0
    raw_weight: float = 0.3
    saliency_samples: int = 500


@dataclass(frozen=True)
class Features:
    """Trunk outputs, the parent's logits of the chosen classes, and the column of the right class (-1: none)."""

    x: torch.Tensor
    logits: torch.Tensor
    columns: npt.NDArray[np.int64]


def gradsplitter(
    network: Network,
    train: Dataset,
    validation: Dataset,
    *,
    options: Options | None = None,
    progress: Progress = silent,
) -> Decomposition:
    """Return the classes of a network as modules, masked by gradient.

    Args:
        network: the parent, in normal form.
        train: inputs to learn from; labels are not used.
        validation: held-out inputs with labels, for choosing the epoch and calibrating.
        options: what to aim for.
        progress: called after every epoch.

    Raises:
        DecomposeError: nothing can be masked, or the recipe is unknown.
        InvalidData: the data does not fit the network.
    """
    options = options or Options()
    if options.recipe != "fast":
        raise DecomposeError(f"gradsplitter has no recipe {options.recipe!r}; the recipes are: fast")
    torch.manual_seed(options.seed)
    recipe = Recipe() if options.epochs is None else Recipe(epochs=options.epochs)
    trainer = Trainer.prepare(network, train, validation, options=options, recipe=recipe, progress=progress)
    history = trainer.search()
    chosen = choose(history, max_loss=options.max_loss, parent=trainer.parent_accuracy)
    trainer.settle(chosen)
    return trainer.finish(history, validation=validation, train=train)


@dataclass(frozen=True)
class Snapshot:
    """The modules at the end of a rung: latents, scales and offsets, how much is kept, and how well they compose."""

    rung: int
    kept: int
    share: float
    accuracy: float
    loss: float
    state: dict[str, torch.Tensor]

    def report(self) -> dict[str, Any]:
        """Return the numbers as plain values."""
        return {"step": "rung", "rung": self.rung, "kept": self.share, "accuracy": self.accuracy, "loss": self.loss}


def choose(history: list[Snapshot], *, max_loss: float, parent: float) -> Snapshot:
    """Return the snapshot with the fewest kernels whose validation accuracy is within `max_loss` points of the parent.

    Where none is, the most accurate one: a network with nothing to spare gives larger modules, never a refusal.
    """
    within = [snapshot for snapshot in history if snapshot.accuracy >= parent - max_loss / 100]
    if within:
        return min(within, key=lambda snapshot: (snapshot.kept, -snapshot.accuracy))
    return max(history, key=lambda snapshot: (snapshot.accuracy, -snapshot.kept))


@dataclass
class Trainer:
    """The modules of one parent in training, with everything cached that does not change."""

    network: Network
    sites: Sites
    cut: str
    batch: ModuleBatch
    train: Features
    validation: Features
    options: Options
    recipe: Recipe
    progress: Progress
    started: float

    @classmethod
    def prepare(
        cls,
        network: Network,
        train: Dataset,
        validation: Dataset,
        *,
        options: Options,
        recipe: Recipe,
        progress: Progress,
    ) -> Trainer:
        """Return a trainer with the cut chosen and the trunk's outputs computed once."""
        started = time.monotonic()
        sites = find_sites(network)
        cut, maskable = choose_cut(network, sites, options.cut)
        rows = options.classes or tuple(range(int(network.output_shape[-1])))
        net = to_torch(network)
        batch = ModuleBatch(net, network=network, sites=sites, cut=cut, rows=rows, maskable=maskable)
        progress({"step": "trunk", "cut": cut, "sites": len(maskable), "kernels": batch.width})
        return cls(
            network=network,
            sites=sites,
            cut=cut,
            batch=batch.to(options.device),
            train=features(network, train, cut=cut, rows=rows, flip=options.flip),
            validation=features(network, validation, cut=cut, rows=rows, flip=False),
            options=options,
            recipe=recipe,
            progress=progress,
            started=started,
        )

    @property
    def parent_accuracy(self) -> float:
        """Return the parent's validation accuracy among the chosen classes, from 0 to 1."""
        return self._accuracy(self.validation.logits)

    def _accuracy(self, scores: torch.Tensor) -> float:
        right = self.validation.columns >= 0
        best = scores.argmax(dim=1).cpu().numpy()
        return float((best == self.validation.columns)[right].mean()) if right.any() else 0.0

    def start(self) -> None:
        """Set the latents to the rank of each channel's saliency within its module, from 0 to 1."""
        x = self.train.x[: self.recipe.saliency_samples].to(self.options.device)
        importance = self.batch.saliency(x, batch=self.recipe.batch)
        ranks = importance.argsort(dim=1).argsort(dim=1)
        with torch.no_grad():
            self.batch.latents.copy_(ranks / self.batch.width)

    def search(self) -> list[Snapshot]:
        """Return a snapshot per rung, until one loses more than is allowed, the goal is reached or time is up."""
        self.start()
        rungs = [share for share in self.recipe.rungs if share > self.options.keep]
        history: list[Snapshot] = []
        before = 1.0
        for number, share in enumerate([*rungs, self.options.keep], start=1):
            history.append(self._rung(number, before, share))
            self.progress(history[-1].report())
            lost = 100 * (self.parent_accuracy - history[-1].accuracy)
            if lost > self.options.max_loss or self._out_of_time():
                break
            before = share
        return history

    def _out_of_time(self) -> bool:
        budget = self.options.budget
        return budget is not None and time.monotonic() - self.started > 0.7 * budget

    def _rung(self, number: int, before: float, share: float) -> Snapshot:
        """Bring retention from one share to the next, then let the survivors settle."""
        affine = [*self.batch.scales, *self.batch.offsets]
        optimiser = torch.optim.Adam(
            [
                {"params": [self.batch.latents], "lr": self.recipe.latent_rate},
                {"params": affine, "lr": self.recipe.affine_rate},
            ]
        )
        losses: list[float] = []
        fixed: torch.Tensor | None = None
        for done, chosen in self._batches(self.recipe.epochs, stream=number):
            searching = done / self.recipe.search_share
            if searching < 1:
                masks = self.batch.masks(self._count(share + (before - share) * (1 - searching) ** 3))
            else:
                fixed = self.batch.masks(self._count(share)).detach() if fixed is None else fixed
                masks = fixed
            losses.append(self._step(chosen, masks, optimiser))
        return self._snapshot(number, losses, self._count(share))

    def _count(self, share: float) -> int:
        return max(len(self.batch.maskable), round(share * self.batch.width))

    def _batches(self, epochs: int, *, stream: int) -> Iterator[tuple[float, torch.Tensor]]:
        """Yield the share of the work done, and the rows of the next batch."""
        for epoch in range(epochs):
            random = np.random.default_rng((self.options.seed, stream, epoch))
            chunks = torch.from_numpy(random.permutation(len(self.train.x))).split(self.recipe.batch)
            for i, chosen in enumerate(chunks):
                yield (epoch + i / len(chunks)) / epochs, chosen

    def _step(self, chosen: torch.Tensor, masks: torch.Tensor, optimiser: torch.optim.Optimizer) -> float:
        device = self.options.device
        scores = self.batch(self.train.x[chosen].to(device), masks)
        loss = distillation_loss(scores, self.train.logits[chosen].to(device), recipe=self.recipe)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return float(loss.detach())

    def _snapshot(self, number: int, losses: list[float], kept: int) -> Snapshot:
        state = {name: value.detach().clone() for name, value in self.batch.named_parameters() if "net." not in name}
        scores = self._scores(self.validation.x, self.batch.masks(kept))
        tail = losses[-max(1, len(losses) // 4) :]
        return Snapshot(
            number, kept, kept / self.batch.width, self._accuracy(scores), float(np.mean(tail)), state
        )

    @torch.no_grad()
    def _scores(self, x: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        parts = [self.batch(part.to(self.options.device), masks).cpu() for part in x.split(200)]
        return torch.cat(parts)

    def settle(self, chosen: Snapshot) -> None:
        """Fix the chosen masks, rounded up to aligned widths, and train scales and offsets a little longer."""
        self.batch.load_state_dict(chosen.state, strict=False)
        self.final = torch.from_numpy(
            aligned(self.batch.masks(chosen.kept).detach().numpy(), self.batch, multiple=self.options.align)
        ).to(self.options.device)
        optimiser = torch.optim.Adam([*self.batch.scales, *self.batch.offsets], lr=self.recipe.affine_rate)
        for done, part in self._batches(self.recipe.settle_epochs, stream=0):
            for group in optimiser.param_groups:
                group["lr"] = self.recipe.affine_rate * 0.5 * (1 + np.cos(np.pi * done))
            self._step(part, self.final, optimiser)
        accuracy_now = self._accuracy(self._scores(self.validation.x, self.final))
        share = float(self.final.mean())
        self.progress({"step": "settled", "kept": share, "accuracy": accuracy_now, "parent": self.parent_accuracy})

    def finish(self, history: list[Snapshot], *, train: Dataset, validation: Dataset) -> Decomposition:
        """Return the modules, calibrated and measured on the validation data."""
        scores = self._scores(self.validation.x, self.final).numpy()
        columns = self.validation.columns
        kept, affine = self.batch.kept_channels(self.final), self.batch.affine_maps()
        labels = train.classes or tuple(f"class-{row}" for row in range(int(self.network.output_shape[-1])))
        modules = []
        for i, row in enumerate(self.batch.rows.tolist()):
            is_class = columns == i
            calibration = fit_platt(scores[:, i], is_class, data=validation.name)
            calibrated = calibration.scale * scores[:, i] + calibration.offset
            modules.append(
                ClassModule(
                    label=labels[row],
                    row=row,
                    kept=kept[i],
                    affine=affine[i],
                    calibration=calibration,
                    metrics=detection(calibrated, is_class, split="validation"),
                )
            )
        inside = columns >= 0
        return Decomposition(
            parent=self.network,
            sites=self.sites,
            cut=self.cut,
            modules=tuple(modules),
            method=Method(
                name=NAME,
                version="1",
                paper=PAPER,
                recipe=self.options.recipe,
                parameters={"keep": self.options.keep, "max_loss": self.options.max_loss, "epochs": self.recipe.epochs},
                seed=self.options.seed,
            ),
            data=DataSource(name=train.name, split="train", samples=len(train), sha256=train.sha256),
            parent_metrics={
                "accuracy": accuracy(self.validation.logits.numpy()[inside], columns[inside], split="validation")
            },
            history=tuple(snapshot.report() for snapshot in history),
        )


def features(network: Network, data: Dataset, *, cut: str, rows: tuple[int, ...], flip: bool) -> Features:
    """Return the trunk's outputs and the parent's logits for a data set, computed once by ONNX Runtime."""
    x = data.x
    if flip:
        x = np.concatenate([x, np.ascontiguousarray(x[..., ::-1])])
    logits = Session(network).run(x)[:, list(rows)]
    outputs = Session(trunk_of(network, cut)).run(x) if cut else x
    columns = np.full(len(x), -1, dtype=np.int64)
    if data.y is not None:
        labels = np.concatenate([data.y, data.y]) if flip else data.y
        for i, row in enumerate(rows):
            columns[labels == row] = i
    return Features(torch.from_numpy(outputs), torch.from_numpy(np.ascontiguousarray(logits)), columns)


def distillation_loss(scores: torch.Tensor, target: torch.Tensor, *, recipe: Recipe) -> torch.Tensor:
    """Return how far the modules' raw scores are from their parent's logits, both ``[batch, modules]``."""
    t = recipe.temperature
    divergence = torch.nn.functional.kl_div(
        (scores / t).log_softmax(dim=1), (target / t).log_softmax(dim=1), reduction="batchmean", log_target=True
    )
    return divergence * t * t + recipe.raw_weight * torch.nn.functional.mse_loss(scores, target)


def aligned(masks: Floats, batch: ModuleBatch, *, multiple: int) -> Floats:
    """Return the masks with each site's kept channels rounded up to a multiple, adding those with the next latents.

    ONNX Runtime pads odd widths anyway, so the added channels cost nothing there.
    """
    result = masks.copy()
    latents = batch.latents.detach().cpu().numpy()
    start = 0
    for site in batch.maskable:
        part = slice(start, start + site.size)
        for module in range(len(masks)):
            count = int(masks[module, part].sum())
            wanted = min(site.size, max(1, -(-count // multiple)) * multiple)
            order = np.argsort(-(latents[module, part] + 10.0 * masks[module, part]), kind="stable")
            result[module, part] = 0.0
            result[module, start + order[:wanted]] = 1.0
        start += site.size
    return result
