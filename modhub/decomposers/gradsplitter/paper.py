"""GradSplitter as published: latents under a hard step, a small head per module, a retention penalty.

Recipe ``paper`` follows the authors' numbers: heads alone first, then cycles of masks with heads and heads alone, each
phase with a fresh Adam, cross entropy over the sigmoids of the scores, and of all epochs the one with the fewest
kernels whose loss is small enough. Every layer is masked unless a cut is asked for. Three things are left as they were
although they hurt: a latent that died sinks on, so its kernel never comes back; cross entropy over sigmoids has a floor
that rises with the number of classes; and the head is ten wide however many classes there are.

What differs, without changing a number that is learned: all modules run in one batch; while masks stand still, what the
masked parents say is computed once; the epoch is chosen by the rule that the authors applied by hand, on validation
data, with the masks as they would be cut out; layers that a residual addition joins share their masks wherever the
addition is.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from modhub.decomposers.checkpoint import Checkpoint, State, optimiser_state, restore_optimiser
from modhub.decomposers.clock import Clock
from modhub.decomposers.options import AUTO, Options, silent
from modhub.decomposers.outcome import choose, class_modules, provenance
from modhub.decomposers.plain_batch import PlainBatch, never_empty
from modhub.decomposers.start import start
from modhub.decomposers.ties import tied_columns
from modhub.errors import InvalidData
from modhub.network.modules import Decomposition, MlpHead
from modhub.spec.manifest import Method

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Self

    from modhub.datasets import Dataset
    from modhub.decomposers.options import Progress
    from modhub.decomposers.start import Start
    from modhub.network.network import Network

NAME = "gradsplitter"
PAPER = "arXiv:2311.04438"
TELL_EVERY = 10
"""Steps between two words about progress."""
CACHED_NUMBERS = 1 << 28
"""Logits that are held in memory at most; beyond that they are computed again for every batch."""
HEAD_PARTS = ("first", "first_bias", "second", "second_bias")


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Epochs with one optimiser: whether masks learn, Adam's rate, and the weight of retention in the loss."""

    epochs: int
    masks: bool
    rate: float
    weight: float


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The authors' numbers.

    Args:
        first_epochs: epochs for the heads alone, at the start.
        first_rate: Adam's rate there.
        cycles: how often masks and heads take turns.
        mask_epochs: epochs for masks and heads, per cycle.
        head_epochs: epochs for heads alone, per cycle.
        rate: Adam's rate in all cycles.
        weight: of the mean retention in the loss, while masks learn.
        batch: samples per step.
        hidden: width of a head.
        steps: most steps per epoch, None for all of the data.
    """

    first_epochs: int = 5
    first_rate: float = 0.01
    cycles: int = 20
    mask_epochs: int = 5
    head_epochs: int = 2
    rate: float = 0.001
    weight: float = 0.1
    batch: int = 64
    hidden: int = 10
    steps: int | None = None

    def phases(self) -> list[Phase]:
        """Return the phases in order."""
        masks = Phase(epochs=self.mask_epochs, masks=True, rate=self.rate, weight=self.weight)
        heads = Phase(epochs=self.head_epochs, masks=False, rate=self.rate, weight=0.0)
        first = Phase(epochs=self.first_epochs, masks=False, rate=self.first_rate, weight=0.0)
        return [phase for phase in (first, *(masks, heads) * self.cycles) if phase.epochs]

    @property
    def epochs(self) -> int:
        """Return how many epochs there are in all."""
        return sum(phase.epochs for phase in self.phases())


class HardStep(torch.autograd.Function):
    """1 where a latent is above zero, else 0; the gradient goes through, each element clipped to [-1, 1]."""

    @staticmethod
    def forward(ctx: Any, latents: torch.Tensor) -> torch.Tensor:
        """Return the mask."""
        del ctx
        return (latents > 0).to(latents.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        """Return the clipped gradient."""
        del ctx
        return gradients[0].clamp(-1.0, 1.0)


def hard_step(latents: torch.Tensor) -> torch.Tensor:
    """Return the mask that latents stand for, with a gradient that goes straight through."""
    mask: torch.Tensor = HardStep.apply(latents)  # type: ignore[no-untyped-call]
    return mask


class Heads(torch.nn.Module):
    """A small head per module, from all of the masked parent's logits to one score.

    They begin as torch begins fully connected layers.
    """

    def __init__(self, *, modules: int, classes: int, hidden: int, seed: int) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)

        def drawn(*shape: int, inputs: int) -> torch.nn.Parameter:
            bound = 1 / math.sqrt(inputs)
            return torch.nn.Parameter((2 * torch.rand(modules, *shape, generator=random) - 1) * bound)

        self.first, self.first_bias = drawn(hidden, classes, inputs=classes), drawn(hidden, inputs=classes)
        self.second, self.second_bias = drawn(1, hidden, inputs=hidden), drawn(1, inputs=hidden)

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the scores before the sigmoid, ``[batch, modules]``, of logits ``[modules, batch, classes]``."""
        hidden = torch.baddbmm(self.first_bias.unsqueeze(1), logits.relu(), self.first.transpose(1, 2)).relu()
        scores = torch.baddbmm(self.second_bias.unsqueeze(1), hidden, self.second.transpose(1, 2))
        return scores.squeeze(2).T

    def heads(self) -> list[MlpHead]:
        """Return each module's head."""
        parts = [getattr(self, name).detach().cpu().numpy().copy() for name in HEAD_PARTS]
        return [MlpHead(first=a, first_bias=b, second=c, second_bias=d) for a, b, c, d in zip(*parts, strict=True)]


def paper_loss(
    scores: torch.Tensor, columns: torch.Tensor, masks: torch.Tensor | None, *, weight: float
) -> torch.Tensor:
    """Return cross entropy over the sigmoids of scores ``[batch, modules]`` as if they were logits, plus retention."""
    loss = torch.nn.functional.cross_entropy(scores.sigmoid(), columns)
    return loss if masks is None else loss + weight * masks.mean()


@dataclass(frozen=True)
class Epoch:
    """The modules after an epoch."""

    number: int
    share: float
    accuracy: float
    loss: float
    masks: torch.Tensor
    heads: dict[str, torch.Tensor]

    def report(self) -> dict[str, Any]:
        """Return the numbers as plain values."""
        return {"step": "epoch", "epoch": self.number, "kept": self.share, "accuracy": self.accuracy, "loss": self.loss}


def paper(
    network: Network,
    train: Dataset,
    validation: Dataset,
    *,
    options: Options | None = None,
    progress: Progress = silent,
    schedule: Schedule | None = None,
) -> Decomposition:
    """Return the classes of a network as modules, masked and headed as the authors did.

    Args:
        network: the parent, in normal form.
        train: labelled inputs to learn from.
        validation: held-out labelled inputs, for choosing the epoch and calibrating.
        options: what to aim for; `steps` limits the steps of each epoch, `keep`, `align` and `flip` have no effect.
        progress: called every few steps and after every epoch.
        schedule: the authors' numbers by default.

    Raises:
        DecomposeError: nothing can be masked.
        InvalidData: the training data has no labels.
    """
    options = options or Options(recipe="paper")
    if train.y is None:
        raise InvalidData("recipe 'paper' learns from labels, and the data has none", where="y", file=train.name)
    options = dataclasses.replace(options, cut="none" if options.cut == AUTO else options.cut)
    schedule = schedule or Schedule(steps=options.steps)
    learner = Learner.prepare(network, train, validation, options=options, schedule=schedule, progress=progress)
    learner.learn()
    return learner.finish(train=train, validation=validation)


@dataclass
class Learner:
    """Masks and heads in training, after `epoch` whole epochs."""

    begun: Start
    options: Options
    schedule: Schedule
    progress: Progress
    plain: PlainBatch
    latents: torch.nn.Parameter
    tied: torch.Tensor
    heads: Heads
    rows: torch.Tensor
    checkpoint: Checkpoint
    clock: Clock
    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: list[Epoch] = field(default_factory=list)

    @classmethod
    def prepare(
        cls,
        network: Network,
        train: Dataset,
        validation: Dataset,
        *,
        options: Options,
        schedule: Schedule,
        progress: Progress,
    ) -> Self:
        """Return a learner with all kernels kept and heads as they are drawn."""
        checkpoint = options.checkpoint or Checkpoint()
        begun = start(network, train, validation, options=options, flip=False, progress=progress)
        modules = begun.batch.modules_count
        tied, free = tied_columns(begun.sites, begun.batch.maskable)
        classes = int(network.output_shape[-1])
        heads = Heads(modules=modules, classes=classes, hidden=schedule.hidden, seed=options.seed)
        return cls(
            begun=begun,
            options=options,
            schedule=schedule,
            progress=progress,
            plain=PlainBatch(begun, begun.batch.rows.tolist()),
            latents=torch.nn.Parameter(torch.ones(modules, free, device=options.device)),
            tied=tied,
            heads=heads.to(options.device),
            rows=torch.from_numpy(np.flatnonzero(begun.train.columns >= 0)),
            checkpoint=checkpoint,
            clock=Clock.of(options, checkpoint),
        )

    def learn(self) -> None:
        """Run every phase, from the checkpoint where there is one, until time is up."""
        saved = self.checkpoint.load()
        if saved is not None:
            self._restore(saved)
        before = 0
        for phase in self.schedule.phases():
            if self.epoch < before + phase.epochs and not self.clock.is_over():
                self._run(phase, before, saved)
                saved = None
            before += phase.epochs

    def _run(self, phase: Phase, before: int, saved: State | None) -> None:
        """Run the rest of a phase that begins after `before` epochs."""
        optimiser = torch.optim.Adam(
            [*self.heads.parameters(), *([self.latents] if phase.masks else [])], lr=phase.rate
        )
        losses: list[float] = []
        if saved is not None:
            restore_optimiser(optimiser, saved)
            losses = list(saved.values["losses"])
        known = None if phase.masks else self._known()
        while self.epoch < before + phase.epochs:
            for step, chosen in enumerate(self._batches()):
                if step < len(losses):
                    continue
                self._keep(losses, optimiser)
                if self.clock.is_over():
                    break
                losses.append(self._step(chosen, phase, optimiser, known))
                if step % TELL_EVERY == 0:
                    self._tell(step, losses[-1])
            if not losses:
                return
            self._end_epoch(losses)
            losses = []
            if self.clock.is_over():
                return

    def _batches(self) -> Iterator[torch.Tensor]:
        """Yield the positions of the labelled samples in this epoch's order, batch by batch."""
        random = np.random.default_rng((self.options.seed, self.epoch))
        order = torch.from_numpy(random.permutation(len(self.rows)))
        parts = torch.split(order, self.schedule.batch)
        yield from parts[: self.schedule.steps]

    def _step(
        self, chosen: torch.Tensor, phase: Phase, optimiser: torch.optim.Optimizer, known: torch.Tensor | None
    ) -> float:
        """Take one step on the samples at these positions and return the loss."""
        device = self.options.device
        masks = hard_step(self.latents)[:, self.tied] if phase.masks else None
        if known is not None:
            logits = known[:, chosen].to(device)
        else:
            learned = masks if masks is not None else self.masks()
            logits = self.plain.logits(self.begun.train.x[self.rows[chosen]].to(device), learned)
        columns = torch.from_numpy(self.begun.train.columns[self.rows[chosen].numpy()]).to(device)
        loss = paper_loss(self.heads(logits), columns, masks, weight=phase.weight)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return float(loss.detach())

    @torch.no_grad()
    def masks(self) -> torch.Tensor:
        """Return the masks as they stand, ``[modules, width]``."""
        return (self.latents > 0).to(self.latents.dtype)[:, self.tied]

    @torch.no_grad()
    def _known(self) -> torch.Tensor | None:
        """Return the masked parents' logits of all training samples, None where they are too many to hold."""
        classes = self.heads.first.shape[-1]
        if len(self.rows) * self.masks().shape[0] * classes > CACHED_NUMBERS:
            return None
        return self._logits(self.begun.train.x[self.rows], self.masks())

    @torch.no_grad()
    def _logits(self, x: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        parts = torch.split(x, self.schedule.batch)
        return torch.cat([self.plain.logits(part.to(self.options.device), masks).cpu() for part in parts], dim=1)

    @torch.no_grad()
    def scores(self, masks: torch.Tensor) -> torch.Tensor:
        """Return the scores before the sigmoid on the validation data, ``[n, modules]``."""
        found: torch.Tensor = self.heads(self._logits(self.begun.validation.x, masks).to(self.options.device))
        return found.cpu()

    def _end_epoch(self, losses: list[float]) -> None:
        """Measure the modules as they would be cut out, and remember the best."""
        self.epoch += 1
        masks = never_empty(self.masks(), self.begun.batch.maskable)
        # Before the sigmoid, which is exactly 1 for whatever is sure enough, and then arg-max has to guess.
        accuracy = self.begun.validation.accuracy(self.scores(masks))
        heads = {name: value.detach().clone() for name, value in self.heads.state_dict().items()}
        found = Epoch(self.epoch, float(masks.mean()), accuracy, float(np.mean(losses)), masks, heads)
        self.history.append(found.report())
        self.best = best_of([*self.best, found], max_loss=self.options.max_loss, parent=self.begun.parent_accuracy)
        self.progress({**found.report(), "left_s": self.clock.left_s(self.epoch / self.schedule.epochs)})

    def _tell(self, step: int, loss: float) -> None:
        steps = min(self.schedule.steps or len(self.rows), math.ceil(len(self.rows) / self.schedule.batch))
        done = (self.epoch + (step + 1) / steps) / self.schedule.epochs
        event = {"step": "training", "epoch": self.epoch + 1, "kept": float(self.masks().mean()), "loss": loss}
        self.progress({**event, "left_s": self.clock.left_s(done)})

    def _keep(self, losses: list[float], optimiser: torch.optim.Optimizer) -> None:
        self.checkpoint.save(
            lambda: State(
                values={
                    "epoch": self.epoch,
                    "losses": losses,
                    "history": self.history,
                    "best": [{**epoch.report(), "number": epoch.number} for epoch in self.best],
                },
                arrays={
                    "latents": self.latents,
                    **{f"heads/{name}": value for name, value in self.heads.state_dict().items()},
                    **optimiser_state(optimiser),
                    **{f"best/{i}/masks": epoch.masks for i, epoch in enumerate(self.best)},
                    **{f"best/{i}/heads/{k}": v for i, epoch in enumerate(self.best) for k, v in epoch.heads.items()},
                },
            )
        )

    def _restore(self, saved: State) -> None:
        device = self.options.device
        self.latents.data.copy_(saved.arrays["latents"])
        self.heads.load_state_dict(saved.under("heads/"))
        self.epoch, self.history = int(saved.values["epoch"]), list(saved.values["history"])
        self.best = [
            Epoch(
                number=numbers["number"],
                share=numbers["kept"],
                accuracy=numbers["accuracy"],
                loss=numbers["loss"],
                masks=saved.arrays[f"best/{i}/masks"].to(device),
                heads={name: value.to(device) for name, value in saved.under(f"best/{i}/heads/").items()},
            )
            for i, numbers in enumerate(saved.values["best"])
        ]

    def finish(self, *, train: Dataset, validation: Dataset) -> Decomposition:
        """Return the modules of the chosen epoch, calibrated and measured on the validation data."""
        if not self.best:
            self._end_epoch([math.nan])
        chosen = choose(self.best, max_loss=self.options.max_loss, parent=self.begun.parent_accuracy)
        self.progress({**chosen.report(), "step": "chosen", "parent": self.begun.parent_accuracy})
        self.heads.load_state_dict(chosen.heads)
        batch = self.begun.batch
        modules = class_modules(
            self.scores(chosen.masks).numpy(),
            network=self.begun.network,
            rows=batch.rows.tolist(),
            classes=train.classes,
            kept=batch.kept_channels(chosen.masks),
            affine=[{}] * batch.modules_count,
            validation=self.begun.validation,
            data=validation.name,
        )
        return Decomposition(
            parent=self.begun.network,
            sites=self.begun.sites,
            cut=self.begun.cut,
            modules=tuple(
                dataclasses.replace(module, head=head) for module, head in zip(modules, self.heads.heads(), strict=True)
            ),
            method=Method(
                name=NAME,
                version="1",
                paper=PAPER,
                recipe="paper",
                parameters=self._parameters(chosen),
                seed=self.options.seed,
            ),
            history=tuple(self.history),
            **provenance(train, self.begun.validation),
        )

    def _parameters(self, chosen: Epoch) -> Mapping[str, Any]:
        steps = {} if self.schedule.steps is None else {"steps": self.schedule.steps}
        return {"max_loss": self.options.max_loss, "epochs": len(self.history), "epoch": chosen.number, **steps}


def best_of(epochs: list[Epoch], *, max_loss: float, parent: float) -> list[Epoch]:
    """Return the epochs that the rule may still choose: the smallest within the loss, and the most accurate."""
    chosen = choose(epochs, max_loss=max_loss, parent=parent)
    accurate = choose(epochs, max_loss=0.0, parent=2.0)
    return [chosen] if chosen is accurate else [chosen, accurate]
