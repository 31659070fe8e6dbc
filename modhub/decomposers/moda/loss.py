"""MODA's loss: a term that makes a network modular while it is trained.

    with ModularityLoss(net) as modularity:
        for x, y in loader:
            loss = cross_entropy(net(x), y) + modularity(y)

Ngo, Hassan and others, "Improving DNN Modularization via Activation-Driven Training" (arXiv:2411.01074). With `a` the
mean magnitude of each unit of a layer, `n` its rows at unit length and `S` their inner products within a batch, per
layer and then averaged over layers:

=========== ======================================================
affinity    1 - mean of S over the pairs of samples of one class
dispersion  mean of S over the pairs of different classes
compactness mean of `a`
=========== ======================================================

MwT's cohesion and coupling (Qi et al., ICSE 2024) are affinity and dispersion of another quantity, and NeMo's contrast
(Bi et al., arXiv:2508.11348) takes the place of both: with temperature `T`, the mean over samples of

    -log(same / (same + different)),  same = sum of exp(S / T) over its own class and itself, different = over others
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.distributed as dist

from modhub.decomposers.moda.sites import Recorder
from modhub.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from modhub.decomposers.moda.sites import SitePredicate

ALPHA, BETA, GAMMA = 1.0, 1.0, 0.3
"""The paper's weights, for every network and data set."""

TEMPERATURE = 0.2
"""NeMo's, in its scripts."""

FLOOR = 1e-12
"""Least length of a row; an all-zero row is like nothing, not even itself."""


@dataclass(frozen=True)
class Terms:
    """The terms of the loss, unweighted, each a scalar; `contrast` only where it was asked for."""

    affinity: torch.Tensor
    dispersion: torch.Tensor
    compactness: torch.Tensor
    contrast: torch.Tensor | None = None

    def found(self) -> dict[str, torch.Tensor]:
        """Return the terms there are, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def numbers(self) -> dict[str, float]:
        """Return the terms as plain numbers."""
        return {name: float(value.detach()) for name, value in self.found().items()}


class ModularityLoss:
    """Observes a network while it is used, and returns the modularity of its last forward pass.

    Every rectifier, GELU, SiLU and the like counts, as a module or as a function. The network is left as it was: no
    module is replaced, `state_dict` and `copy.deepcopy` work, and on leaving nothing is left behind. Under
    `torch.distributed` the pairs are those of all ranks; gradients are right where ranks average theirs, as
    `DistributedDataParallel` does.

    Args:
        net: the network to observe; the very one that is called, not compiled.
        alpha: weight of affinity.
        beta: weight of dispersion.
        gamma: weight of compactness.
        contrast: weight of NeMo's contrastive loss; with `alpha` and `beta` 0 it takes their place.
        temperature: of the contrastive loss.
        sites: ``(name, module) -> bool``, to observe the outputs of some modules instead of all activations.

    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> with ModularityLoss(net) as modularity:
    ...     logits = net(torch.ones(6, 4))
    ...     loss = modularity(torch.tensor([0, 0, 0, 1, 1, 1]))
    >>> loss.shape, loss.requires_grad
    (torch.Size([]), True)
    """

    def __init__(
        self,
        net: torch.nn.Module,
        *,
        alpha: float = ALPHA,
        beta: float = BETA,
        gamma: float = GAMMA,
        contrast: float = 0.0,
        temperature: float = TEMPERATURE,
        sites: SitePredicate | None = None,
    ) -> None:
        self.alpha, self.beta, self.gamma = alpha, beta, gamma
        self.contrast, self.temperature = contrast, temperature
        self._recorder = Recorder(net, sites=sites)
        self._last: Terms | None = None

    def __enter__(self) -> Self:
        """Begin to observe."""
        self._recorder.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop observing; the network is as it was."""
        self._recorder.stop()

    def __call__(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the weighted sum of the terms for the last forward pass, and forget that pass.

        Args:
            labels: the class of each sample, whole numbers ``[batch]``.

        Raises:
            UsageError: there was no forward pass, it showed no activation, or the labels are of another batch.
        """
        terms = self.terms(labels)
        loss = self.alpha * terms.affinity + self.beta * terms.dispersion + self.gamma * terms.compactness
        return loss if terms.contrast is None else loss + self.contrast * terms.contrast

    def terms(self, labels: torch.Tensor) -> Terms:
        """Return the unweighted terms for the last forward pass, and forget that pass.

        Raises:
            UsageError: as in a call.
        """
        rows, labels = self._taken(labels)
        with torch.autocast(labels.device.type, enabled=False):
            rows, labels = gathered(rows, labels)
            found = modularity_terms(rows, labels, temperature=self.temperature if self.contrast else None)
        self._last = Terms(**{name: value.detach() for name, value in found.found().items()})
        return found

    @property
    def last(self) -> Terms | None:
        """The terms of the last call, without gradients, for logs; None before the first."""
        return self._last

    def _taken(self, labels: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        rows = list(self._recorder.rows)
        self._recorder.rows.clear()
        if not rows:
            problem = "no activation was seen: call the net, not compiled, inside `with`, once before each call of this"
            raise UsageError(f"{problem}; it must run a ReLU, GELU, SiLU or a relative, or `sites` must name modules")
        if labels.ndim != 1 or any(len(own) != len(labels) for own in rows):
            sizes = sorted({len(own) for own in rows})
            raise UsageError(f"labels have shape {list(labels.shape)}, the last forward pass had batches of {sizes}")
        return rows, labels.to(rows[0].device)


def modularity_terms(rows: Sequence[torch.Tensor], labels: torch.Tensor, *, temperature: float | None = None) -> Terms:
    """Return the terms of a batch.

    A batch without a pair of one class has affinity 0, one without a pair of different classes has dispersion 0.

    Args:
        rows: the mean magnitude of each unit, ``[batch, units]`` per layer.
        labels: the class of each sample, ``[batch]``.
        temperature: of the contrastive loss; None for none.
    """
    upper = torch.ones(len(labels), len(labels), dtype=torch.bool, device=labels.device).triu(diagonal=1)
    same = labels[:, None] == labels[None, :]
    alike, different = (same & upper).float(), (~same & upper).float()
    pairs_alike, pairs_different = alike.sum(), different.sum()
    layers = torch.stack([unit @ unit.T for unit in map(at_unit_length, rows)])
    similarity = layers.mean(dim=0)
    affinity = 1 - (similarity * alike).sum() / pairs_alike.clamp_min(1)
    return Terms(
        affinity=torch.where(pairs_alike > 0, affinity, torch.zeros_like(affinity)),
        dispersion=(similarity * different).sum() / pairs_different.clamp_min(1),
        compactness=torch.stack([own.abs().mean() for own in rows]).mean(),
        contrast=None if temperature is None else contrast_of(layers / temperature, same),
    )


def contrast_of(closeness: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
    """Return NeMo's contrastive loss.

    A sample counts as one of its own class, so that no sample is left without a pair. Where the published code lets
    pairs of the other kind count one each in both sums, they count nothing here.

    Args:
        closeness: similarity over temperature, ``[layers, batch, batch]``.
        same: which samples are of one class, ``[batch, batch]``.
    """
    alike = closeness.masked_fill(~same, -torch.inf).logsumexp(dim=2)
    return (closeness.logsumexp(dim=2) - alike).mean()


def at_unit_length(rows: torch.Tensor) -> torch.Tensor:
    """Return rows at unit length; a row of zeros stays one, and has no gradient instead of an infinite one."""
    length = rows.norm(dim=1, keepdim=True)
    return rows * torch.where(length > FLOOR, 1 / length.clamp_min(FLOOR), torch.zeros_like(length))


def gathered(rows: list[torch.Tensor], labels: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Return the rows and labels of all ranks, in the order of ranks; a single process gets its own.

    All layers travel in one piece. Ranks may hold different numbers of samples.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return rows, labels
    widths = [own.shape[1] for own in rows]
    size = torch.tensor([len(labels)], device=labels.device)
    sizes = [torch.zeros_like(size) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, size)
    counts = [int(count) for count in sizes]
    together = all_gathered(torch.cat(rows, dim=1), counts)
    return list(torch.split(together, widths, dim=1)), all_gathered(labels[:, None], counts)[:, 0]


def all_gathered(own: torch.Tensor, counts: list[int]) -> torch.Tensor:
    """Return the rows of all ranks; `counts` says how many each has."""
    return cast("torch.Tensor", AllGather.apply(own, counts))  # type: ignore[no-untyped-call]


class AllGather(torch.autograd.Function):
    """Concatenates the rows of all ranks; a row's gradient is the sum of what all ranks have for it."""

    @staticmethod
    def forward(ctx: Any, own: torch.Tensor, counts: list[int]) -> torch.Tensor:
        """Return ``[sum(counts), width]``."""
        ctx.counts = counts
        padded = own.new_zeros(max(counts), own.shape[1])
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Return the gradient of this rank's rows."""
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        first = sum(ctx.counts[: dist.get_rank()])
        return total[first : first + ctx.counts[dist.get_rank()]], None
