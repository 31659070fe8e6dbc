"""The training loop, on one process or several, as `accelerate` or `torchrun` start them.

Cross-entropy, and with objective ``moda`` the modularity of every activation on top; a learning rate that falls along
a cosine; a checkpoint after every epoch, from which a run that was stopped goes on to the very same weights.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from modhub.decomposers.moda.loss import ModularityLoss
from modhub.engines.foreign import first_line
from modhub.errors import MissingExtra, UsageError
from modhub.training.batches import Batches
from modhub.training.checkpoint import MODEL, State, arrays_of, put_back, read_state, read_whole, write_state
from modhub.training.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from accelerate import Accelerator

    from modhub.datasets import Dataset
    from modhub.training.options import Options

    Progress = Callable[[Mapping[str, Any]], None]

LAST_FILE, BEST_FILE, LOG_FOLDER = "last.safetensors", "best.safetensors", "log"
PACKAGES = ("accelerate", "tensorboardX")


@dataclass
class Trainer:
    """A module in training.

    Args:
        module: what is trained, in place.
        train: labelled data to learn from.
        validation: labelled data to measure on.
        folder: where checkpoints and the log go.
        options: how to train.
        progress: called after every epoch, in the first process.
    """

    module: torch.nn.Module
    train: Dataset
    validation: Dataset
    folder: Path
    options: Options
    progress: Progress
    accelerator: Accelerator = field(init=False)
    history: list[Mapping[str, Any]] = field(default_factory=list)
    best: float = -1.0

    def __post_init__(self) -> None:
        """Prepare model, optimiser and data for the processes there are."""
        self.accelerator = start_accelerator(self.options)
        device, options = self.accelerator.device, self.options
        parts = {"rank": self.accelerator.process_index, "world": self.accelerator.num_processes, "device": device}
        self.batches = Batches.of(
            self.train, size=options.batch, flip=options.flip, crop=options.crop, seed=options.seed, **parts
        )
        self.held_out = Batches.of(
            self.validation, size=2 * options.batch, flip=False, crop=0, seed=options.seed, **parts
        )
        if len(self.train.shape) == 3:
            # Convolutions are a quarter to a third faster so, on processors as on GPUs.
            arrange(self.module, torch.channels_last)
        own = make_optimiser(self.module, options)
        self.model, self.optimiser = self.accelerator.prepare(self.module, own)

    @property
    def run(self) -> dict[str, Any]:
        """What the run is about: two runs with equal values give equal weights."""
        known = {"train": self.train.sha256, "validation": self.validation.sha256}
        return {**known, "options": self.options.to_dict(), "processes": self.accelerator.num_processes}

    def fit(self, *, resume: bool) -> None:
        """Train to the last epoch, from a checkpoint where one is asked for and there is one."""
        first = self._resumed() if resume else 0
        log = Log(self.folder / LOG_FOLDER, writes=self.accelerator.is_main_process)
        try:
            with torch.random.fork_rng(), self._observed() as modularity:
                for epoch in range(first, self.options.epochs):
                    self._epoch(epoch, modularity, log)
        finally:
            log.close()
        self.accelerator.wait_for_everyone()

    def _epoch(self, epoch: int, modularity: ModularityLoss | None, log: Log) -> None:
        # Dropout and the like draw from here; an epoch's numbers do not depend on those before it.
        place = (self.options.seed, epoch, self.accelerator.process_index)
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))
        started = time.perf_counter()
        means = self._learn(epoch, modularity)
        seconds = time.perf_counter() - started
        accuracy = self.accuracy()
        entry = {"epoch": epoch + 1, **means, "accuracy": accuracy, "seconds": round(seconds, 4)}
        self.history.append(entry)
        self._keep(epoch + 1, accuracy)
        log.add({name: value for name, value in entry.items() if name != "epoch"}, epoch=epoch + 1)
        if self.accelerator.is_main_process:
            self.progress({"step": "epoch", **entry, "epochs": self.options.epochs})

    def _observed(self) -> contextlib.AbstractContextManager[ModularityLoss | None]:
        if self.options.objective != "moda":
            return contextlib.nullcontext()
        own = self.options
        weights = {name: getattr(own, name) for name in ("alpha", "beta", "gamma", "contrast", "temperature")}
        return ModularityLoss(self.model, **weights)

    def _learn(self, epoch: int, modularity: ModularityLoss | None) -> dict[str, float]:
        """Take the steps of an epoch; returns the means of what was minimised."""
        self.model.train()
        totals: dict[str, torch.Tensor] = {}
        for step, (x, y) in enumerate(self.batches.epoch(epoch)):
            rate = self.rate_at(epoch * self.batches.steps + step)
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            seen = self._step(x, y, modularity)
            for name, value in seen.items():
                totals[name] = totals.get(name, torch.zeros((), device=value.device)) + value
        means = {name: float(value) / self.batches.steps for name, value in totals.items()}
        if not math.isfinite(means["loss"]):
            raise UsageError(f"the loss is {means['loss']} in epoch {epoch + 1}: lower the rate, or clip gradients")
        return {**means, "rate": rate}

    def _step(self, x: torch.Tensor, y: torch.Tensor, modularity: ModularityLoss | None) -> dict[str, torch.Tensor]:
        own = cross_entropy(self.model(x), y)
        loss = own + modularity(y) if modularity is not None else own
        self.optimiser.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        if self.options.clip is not None:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.options.clip)
        self.optimiser.step()
        terms = modularity.last.found() if modularity is not None and modularity.last is not None else {}
        return {"loss": loss.detach(), "cross_entropy": own.detach(), **terms}

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted over all epochs."""
        total = self.options.epochs * self.batches.steps
        rising = self.options.warmup * total
        if step < rising:
            return self.options.rate * (step + 1) / rising
        return self.options.rate * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1.0, total - rising)))

    @torch.no_grad()
    def accuracy(self) -> float:
        """Return the accuracy on the validation data, from 0 to 1."""
        self.model.eval()
        hits = torch.zeros(2, device=self.accelerator.device)
        for x, y in self.held_out.parts():
            hits += torch.stack([(self.model(x).argmax(dim=1) == y).sum(), torch.tensor(len(y), device=y.device)])
        right, count = cast("torch.Tensor", self.accelerator.reduce(hits, reduction="sum")).tolist()
        return float(right / count)

    def _keep(self, epoch: int, accuracy: float) -> None:
        is_best, self.best = accuracy > self.best, max(self.best, accuracy)
        if not self.accelerator.is_main_process:
            return
        scaler = self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else {}
        arrays = arrays_of(self.module, self.optimiser.optimizer)
        state = State(
            epoch=epoch, best=self.best, run=self.run, history=tuple(self.history), scaler=scaler, arrays=arrays
        )
        if is_best:
            write_weights(self.folder / BEST_FILE, arrays)
        write_state(self.folder / LAST_FILE, state)

    def _resumed(self) -> int:
        """Put the last checkpoint back; returns the number of epochs done.

        Raises:
            UsageError: it belongs to another run.
        """
        path = self.folder / LAST_FILE
        if not path.is_file():
            return 0
        state = read_state(path)
        differences = [name for name, value in self.run.items() if state.run.get(name) != value]
        if differences:
            raise UsageError(f"{path} belongs to another run: it differs in {', '.join(differences)}")
        put_back(state.arrays, self.module, self.optimiser.optimizer)
        if self.accelerator.scaler is not None and state.scaler:
            self.accelerator.scaler.load_state_dict(dict(state.scaler))
        self.history, self.best = list(state.history), state.best
        return state.epoch

    def finish(self) -> torch.nn.Module:
        """Return the module, with the best weights where the options ask for them, as it was before it was prepared."""
        # Mixed precision lives in the forward function, and would be exported with it.
        self.module = self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        if self.options.select == "best":
            self.module.load_state_dict(read_weights(self.folder / BEST_FILE))
        arrange(self.module, torch.contiguous_format)
        return self.module


def arrange(module: torch.nn.Module, order: torch.memory_format) -> None:
    """Lay the kernels of two-dimensional convolutions out in memory in an order; no value changes."""
    for value in module.parameters():
        if value.ndim == 4:
            value.data = value.data.contiguous(memory_format=order)


def make_optimiser(module: torch.nn.Module, options: Options) -> torch.optim.Optimizer:
    """Return the optimiser of everything that can be learned.

    Raises:
        UsageError: nothing can.
    """
    parameters = [value for value in module.parameters() if value.requires_grad]
    if not parameters:
        raise UsageError("there is nothing to train: no parameter of the model requires a gradient")
    if options.optimiser == "adamw":
        return torch.optim.AdamW(parameters, lr=options.rate, weight_decay=options.weight_decay)
    return torch.optim.SGD(
        parameters,
        lr=options.rate,
        momentum=options.momentum,
        nesterov=options.momentum > 0,
        weight_decay=options.weight_decay,
    )


def write_weights(path: Path, arrays: Mapping[str, torch.Tensor]) -> None:
    """Write the weights among a checkpoint's arrays, under the module's own names."""
    from safetensors.torch import save

    from modhub import fsops

    own = {name.removeprefix(MODEL): value for name, value in arrays.items() if name.startswith(MODEL)}
    fsops.replace_file(path, save(own))


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Return what `write_weights` wrote."""
    from safetensors.torch import load

    return load(read_whole(path))


def need_training() -> None:
    """Check that what training needs is installed.

    Raises:
        MissingExtra: it is not.
    """
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, extra="train", purpose="training")


def start_accelerator(options: Options) -> Accelerator:
    """Return what spreads training over processes and devices.

    Raises:
        MissingExtra: accelerate is not installed.
        UsageError: the device or the precision is not to be had here.
    """
    need_training()
    from accelerate import Accelerator

    if options.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("there is no CUDA device here: leave --device out, or use cpu")
    forget_accelerator()
    try:
        return Accelerator(mixed_precision=options.precision, cpu=options.device == "cpu")
    except ValueError as error:
        raise UsageError(f"{options.precision} is not to be had here: {first_line(error)}") from error


def forget_accelerator() -> None:
    """Let the next run choose its own device and precision: accelerate keeps those of the first for the process."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(not torch.distributed.is_initialized())  # noqa: SLF001


@contextlib.contextmanager
def closing(trainer: Trainer) -> Iterator[Trainer]:
    """Leave the other processes in good order at the end."""
    try:
        yield trainer
    finally:
        trainer.accelerator.end_training()
        forget_accelerator()
