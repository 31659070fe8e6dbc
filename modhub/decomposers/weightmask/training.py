"""All masks of a parent in one training run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from modhub.decomposers.batches import batches
from modhub.decomposers.checkpoint import Checkpoint, State, optimiser_state, restore_optimiser
from modhub.decomposers.clock import Clock
from modhub.decomposers.features import features
from modhub.decomposers.weightmask.arrays import choose_weights
from modhub.decomposers.weightmask.batch import WeightBatch
from modhub.decomposers.weightmask.heads import Heads
from modhub.decomposers.weightmask.masks import density, deviation, mean_overlap, union
from modhub.decomposers.weightmask.scores import Scores, first_scores
from modhub.engines.torch_engine import to_torch
from modhub.metrics import fit_platt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from modhub.datasets import Dataset
    from modhub.decomposers.features import Features
    from modhub.decomposers.options import Options, Progress
    from modhub.decomposers.weightmask.masks import Masks
    from modhub.decomposers.weightmask.recipe import Recipe
    from modhub.network.network import Network

FLAT_LAYERS, FEW_LAYERS = frozenset({"Gemm"}), 3
EVALUATION_BATCH = 256
TELL_EVERY = 10


@dataclass(frozen=True, eq=False)
class Rung:
    """The modules at one density: their masks, and how well they compose on validation data.

    `parallel` is the accuracy of the modules side by side, `union` that of one network with all their weights, both of
    calibrated scores and from 0 to 1. `scores` are the modules' raw ones, ``[n, N]``.
    """

    share: float
    parallel: float
    union: float
    loss: float
    masks: Masks
    heads: list[torch.Tensor]
    scores: npt.NDArray[np.float32]

    @property
    def accuracy(self) -> float:
        """Return the accuracy of the better way to compose them, which is the one that ``auto`` takes."""
        return max(self.parallel, self.union)

    def sharing(self) -> dict[str, float]:
        """Return what the masks have in common, as shares of the masked weights and of all flags."""
        return {
            "union_density": density(union(self.masks)),
            "jaccard": mean_overlap(self.masks),
            "deviation": deviation(self.masks),
        }

    def report(self) -> dict[str, Any]:
        """Return the numbers as plain values."""
        accuracies = {"accuracy": self.accuracy, "parallel": self.parallel, "union": self.union, "loss": self.loss}
        return {"step": "rung", "unit": "weights", "kept": self.share, **accuracies, **self.sharing()}

    def state(self, prefix: str) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
        """Return the numbers, and the tensors by names that start with a prefix; see `of`."""
        numbers = {"share": self.share, "parallel": self.parallel, "union": self.union, "loss": self.loss}
        return numbers, {
            **{f"{prefix}masks/{i}": own for i, own in enumerate(self.masks)},
            **{f"{prefix}heads/{i}": own for i, own in enumerate(self.heads)},
            f"{prefix}scores": torch.from_numpy(self.scores),
        }

    @classmethod
    def of(cls, numbers: Mapping[str, float], state: State, prefix: str, *, device: str) -> Rung:
        """Return the rung that `state` tells of."""
        masks, heads = (
            [own.to(device) for own in in_order(state.under(f"{prefix}{part}/"))] for part in ("masks", "heads")
        )
        return cls(**numbers, masks=masks, heads=heads, scores=state.arrays[f"{prefix}scores"].numpy())


@dataclass
class Trainer:
    """The modules of one parent in training; use `prepare` to make one."""

    network: Network
    cut: str
    names: tuple[str, ...]
    rows: tuple[int, ...]
    batch: WeightBatch
    originals: list[torch.Tensor]
    scores: Scores
    heads: Heads
    train: Features
    validation: Features
    options: Options
    recipe: Recipe
    progress: Progress
    checkpoint: Checkpoint
    history: list[Rung] = field(default_factory=list)

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
        sharing: float = 0.0,
    ) -> Trainer:
        """Return a trainer with the cut chosen and the trunk's outputs computed once.

        Without labels, the training data gets those that the parent gives it.

        Raises:
            DecomposeError: the cut is impossible, or nothing behind it can be masked.
        """
        checkpoint = options.checkpoint or Checkpoint()
        cut, names = choose_weights(network, options.cut)
        recipe = recipe.for_deep() if is_deep(network, names) else recipe.for_flat()
        rows = options.classes or tuple(range(int(network.output_shape[-1])))
        learned = features(network, train, cut=cut, rows=rows, flip=options.flip, own_labels=True)
        batch = WeightBatch(
            to_torch(network).to(options.device),
            start=cut or network.input.name,
            names=names,
            batched=not any(network.arrays[name].ndim > 3 for name in names),
        )
        values = first_scores(network, names, modules=len(rows), init=recipe.init, seed=options.seed)
        heads = Heads(
            recipe.head,
            rows=rows,
            logits=learned.logits,
            columns=torch.from_numpy(learned.columns),
            classes=int(network.output_shape[-1]),
        )
        found = cls(
            network=network,
            cut=cut,
            names=names,
            rows=rows,
            batch=batch,
            originals=batch.originals(),
            scores=Scores([own.to(options.device) for own in values], recipe=recipe, sharing=sharing),
            heads=heads.to(options.device),
            train=learned,
            validation=features(network, validation, cut=cut, rows=rows, flip=False),
            options=options,
            recipe=recipe,
            progress=progress,
            checkpoint=checkpoint,
        )
        progress({"step": "trunk", "cut": cut, "arrays": len(names), "weights": found.size})
        progress({"step": "parent", "accuracy": found.parent_accuracy})
        return found

    @property
    def size(self) -> int:
        """Return how many weights masks act on."""
        return sum(own.numel() for own in self.originals)

    @property
    def parent_accuracy(self) -> float:
        """Return the parent's validation accuracy among the chosen classes, from 0 to 1."""
        return self.validation.accuracy(self.validation.logits)

    def search(self) -> list[Rung]:
        """Return a rung per density, until one loses more than is allowed, the goal is reached or time is up.

        It goes on from the checkpoint, where there is one.
        """
        saved = self.checkpoint.load()
        if saved is not None:
            self._restore(saved)
        ladder = [1.0, *self.densities]
        for number in range(len(self.history), len(self.densities)):
            self.history.append(self.climb(number, ladder[number], ladder[number + 1], saved=saved))
            saved = None
            self.progress(
                {**self.history[-1].report(), "left_s": self.clock.left_s((number + 1) / len(self.densities))}
            )
            lost = 100 * (self.parent_accuracy - self.history[-1].accuracy)
            # Another rung takes about as long as all before it did.
            if lost > self.options.max_loss or self.clock.is_over(ahead_s=self.checkpoint.spent_s):
                break
        return self.history

    @property
    def densities(self) -> list[float]:
        """Return the shares of weights that are tried, in this order."""
        return [*(share for share in self.recipe.ladder if share > self.options.keep), self.options.keep]

    @property
    def clock(self) -> Clock:
        """Return the time that the search takes and may take."""
        return Clock.of(self.options, self.checkpoint)

    def climb(self, number: int, before: float, share: float, *, saved: State | None = None) -> Rung:
        """Return the modules after bringing the density from one share to the next and learning there.

        Args:
            number: which rung this is, from 0.
            before: density so far.
            share: density to reach.
            saved: where an earlier run was within this rung.
        """
        recipe = self.recipe
        optimiser = torch.optim.Adam(self.heads.parameters, lr=recipe.head_rate)
        losses: list[float] = []
        if saved is None:
            self.scores.restart()
            masks = self.scores.masks(before)
        else:
            masks = [own.to(self.options.device) for own in in_order(saved.under("masks/"))]
            losses = list(saved.values["losses"])
            restore_optimiser(optimiser, saved)
        epoch = max(1, len(self.train.x) // recipe.batch)
        for step, chosen in islice(enumerate(self._batches(recipe.steps, stream=number)), len(losses), None):
            self._keep(number, masks, losses, optimiser)
            done = step / recipe.steps
            learns = done < 1 - recipe.settling
            if learns and step % recipe.every == 0:
                masks = self.scores.masks(self._density(done, before, share))
            if recipe.stem and step and step % epoch == 0:
                self.scores.remember_mean()
            falling = 0.5 * (1 + math.cos(math.pi * done))
            optimiser.param_groups[0]["lr"] = recipe.head_rate * falling
            rate = recipe.rate * falling if learns else 0.0
            losses.append(self._step(chosen, masks, optimiser, rate=rate))
            if step % TELL_EVERY == 0:
                self._tell(number, done, masks, losses[-1])
        return self.measured(self.scores.masks(share), loss=float(np.mean(losses[-max(1, len(losses) // 4) :])))

    def _tell(self, number: int, done: float, masks: Masks, loss: float) -> None:
        left_s = self.clock.left_s((number + done) / len(self.densities))
        kept = density(masks)
        self.progress(
            {"step": "training", "unit": "weights", "rung": number, "kept": kept, "loss": loss, "left_s": left_s}
        )

    def _keep(self, number: int, masks: Masks, losses: list[float], optimiser: torch.optim.Optimizer) -> None:
        """Let the checkpoint hold everything that the rest of the search depends on."""

        def state() -> State:
            older = [rung.state(f"history/{i}/") for i, rung in enumerate(self.history)]
            arrays = {
                **{f"masks/{i}": own for i, own in enumerate(masks)},
                **{f"heads/{i}": own for i, own in enumerate(self.heads.parameters)},
                **{f"scores/{name}": own for name, own in self.scores.state().items()},
                **optimiser_state(optimiser),
            }
            for _, tensors in older:
                arrays.update(tensors)
            return State(
                values={"rung": number, "losses": losses, "history": [numbers for numbers, _ in older]}, arrays=arrays
            )

        self.checkpoint.save(state)

    def _restore(self, saved: State) -> None:
        self.scores.restore(saved.under("scores/"))
        self.heads.put(in_order(saved.under("heads/")))
        self.history[:] = [
            Rung.of(numbers, saved, f"history/{i}/", device=self.options.device)
            for i, numbers in enumerate(saved.values["history"])
        ]

    def _density(self, done: float, before: float, share: float) -> float:
        """Return the density when a part of a rung is done."""
        falling = self.recipe.falling
        return share if done >= falling else share + (before - share) * (1 - done / falling) ** 3

    def _batches(self, steps: int, *, stream: int) -> Iterator[torch.Tensor]:
        size = self.recipe.batch
        return batches(len(self.train.x), size, steps=steps, seed=(self.options.seed, stream))

    def _step(self, chosen: torch.Tensor, masks: Masks, optimiser: torch.optim.Optimizer, *, rate: float) -> float:
        """Take one step of the heads, and of the scores at a rate that is not zero."""
        device = self.options.device
        x = self.train.x[chosen].to(device)
        columns = torch.from_numpy(self.train.columns[chosen.numpy()]).to(device)
        weights = [(w * m).requires_grad_(rate > 0) for w, m in zip(self.originals, masks, strict=True)]
        loss = self._module_loss(x, columns, weights)
        members, joined = self._union_weights(masks, seed=int(chosen[0])) if self.recipe.union and rate else ([], [])
        if joined:
            loss = loss + self.recipe.union * self._union_loss(x, columns, members, joined)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if rate:
            self.scores.step(self._gradients(weights, masks, members, joined), rate=rate)
        return float(loss.detach())

    def _module_loss(self, x: torch.Tensor, columns: torch.Tensor, weights: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the loss of each module as a detector, summed, and that of all as a classifier."""
        raw = self.heads.raw(self.batch.together(x, weights))
        is_class = columns.unsqueeze(1) == torch.arange(len(self.rows), device=columns.device)
        loss = functional.binary_cross_entropy_with_logits(
            self.heads.detections(raw), is_class.to(raw.dtype), weight=self._balance(is_class), reduction="sum"
        ) / len(x)
        inside = columns >= 0
        if self.recipe.joint and bool(inside.any()):
            loss = loss + self.recipe.joint * functional.cross_entropy(raw[inside], columns[inside])
        return loss

    def _balance(self, is_class: torch.Tensor) -> torch.Tensor:
        """Return weights that let the samples of a class and all others count the same."""
        counts = np.bincount(self.train.columns[self.train.columns >= 0], minlength=len(self.rows))
        positives = torch.from_numpy(counts.clip(1)).to(is_class.device)
        total = len(self.train.columns)
        negatives = (total - positives).clamp_min(1)
        return torch.where(is_class, total / (2 * positives), total / (2 * negatives)).to(torch.float32)

    def _union_weights(self, masks: Masks, *, seed: int) -> tuple[list[int], list[torch.Tensor]]:
        """Return some classes, drawn at random, and the weights of the union of their masks."""
        random = np.random.default_rng((self.options.seed, seed, len(self.rows)))
        count = int(random.integers(min(2, len(self.rows)), len(self.rows) + 1))
        members = sorted(random.choice(len(self.rows), count, replace=False).tolist())
        flags = union(masks, torch.tensor(members, device=self.options.device))
        return members, [(w * own).requires_grad_() for w, own in zip(self.originals, flags, strict=True)]

    def _union_loss(
        self, x: torch.Tensor, columns: torch.Tensor, members: list[int], weights: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """Return the loss of one network with the weights of several modules, as a classifier of their classes."""
        place = torch.full((len(self.rows) + 1,), -1, device=columns.device)
        place[members] = torch.arange(len(members), device=columns.device)
        targets = place[columns]
        inside = targets >= 0
        if not bool(inside.any()):
            return torch.zeros((), device=x.device)
        logits = self.batch.alone(x[inside], weights)
        raw = self.heads.raw(logits.unsqueeze(0).expand(len(self.rows), -1, -1))
        return functional.cross_entropy(raw[:, members], targets[inside])

    @torch.no_grad()
    def _gradients(
        self, weights: list[torch.Tensor], masks: Masks, members: list[int], joined: list[torch.Tensor]
    ) -> list[torch.Tensor]:
        """Return the gradients of the scores: those of the weights, straight through the choice, times the weights.

        The gradient of a weight of the union goes to the modules that keep it, in equal parts, and where none of them
        does, to all of them.
        """
        found = [
            torch.zeros_like(own) if own.grad is None else own.grad * original
            for own, original in zip(weights, self.originals, strict=True)
        ]
        for i, own in enumerate(joined):
            if own.grad is not None:
                keepers = masks[i][members]
                keepers = keepers | ~keepers.any(dim=0)
                found[i][members] += own.grad * self.originals[i] * keepers / keepers.sum(dim=0)
        return found

    @torch.no_grad()
    def measured(self, masks: Masks, *, loss: float = 0.0) -> Rung:
        """Return modules with given masks, measured on validation data."""
        scores = self.raw_scores(self.validation.x, masks)
        calibrations = self._calibrations(scores)
        return Rung(
            density(masks),
            self._accuracy(scores, calibrations),
            self._accuracy(self.union_scores(self.validation.x, masks), calibrations),
            loss,
            masks,
            [own.detach().clone() for own in self.heads.parameters],
            scores,
        )

    def _calibrations(self, scores: npt.NDArray[np.float32]) -> list[tuple[float, float]]:
        fits = [fit_platt(scores[:, i], self.validation.columns == i, data="validation") for i in range(len(self.rows))]
        return [(fit.scale, fit.offset) for fit in fits]

    def _accuracy(self, scores: npt.NDArray[np.float32], calibrations: list[tuple[float, float]]) -> float:
        scales, offsets = np.array(calibrations).T
        return self.validation.accuracy(torch.from_numpy(scores * scales + offsets))

    @torch.no_grad()
    def raw_scores(self, x: torch.Tensor, masks: Masks) -> npt.NDArray[np.float32]:
        """Return the raw scores of the modules side by side, ``[n, N]``."""
        weights = [w * m for w, m in zip(self.originals, masks, strict=True)]
        parts = [self.heads.raw(self.batch.together(part, weights)) for part in self._parts(x)]
        return torch.cat(parts).cpu().numpy()

    @torch.no_grad()
    def union_scores(self, x: torch.Tensor, masks: Masks, members: Sequence[int] = ()) -> npt.NDArray[np.float32]:
        """Return the raw scores of one network with the weights of some modules, by default all, ``[n, N]``."""
        chosen = torch.tensor(list(members) or list(range(len(self.rows))), device=self.options.device)
        weights = [w * own for w, own in zip(self.originals, union(masks, chosen), strict=True)]
        parts = [self.batch.alone(part, weights).unsqueeze(0).expand(len(self.rows), -1, -1) for part in self._parts(x)]
        return torch.cat([self.heads.raw(part) for part in parts]).cpu().numpy()

    def _parts(self, x: torch.Tensor) -> Iterator[torch.Tensor]:
        return (part.to(self.options.device) for part in torch.split(x, EVALUATION_BATCH))


def in_order(tensors: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    """Return tensors called 0, 1, 2 and so on in that order."""
    return [tensors[str(i)] for i in range(len(tensors))]


def is_deep(network: Network, names: Sequence[str]) -> bool:
    """Tell whether masks act on more than a few fully connected layers."""
    masked = {node.op for node in network.nodes if not set(names).isdisjoint(node.inputs)}
    return len(names) > FEW_LAYERS or not masked <= FLAT_LAYERS
