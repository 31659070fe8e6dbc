"""Which modules go well together: tournaments of ensembles, from pairs of classes to all of them.

A population of `p` modules per class makes ``p ** classes`` ensembles. Classes are paired, of each pair all ensembles
are tried and the best are kept, then pairs are merged to fours and so on. Everything is computed from the modules' own
logits on validation data, which are known beforehand, so an ensemble costs a comparison per sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Integers = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.floating]

FEWEST, MOST = 50, 500
"""How many ensembles of a group of classes are kept."""
COMPARISONS = 1 << 24
"""Comparisons that are made at once, for the sake of memory."""


def threshold(classes: int) -> float:
    """Return the accuracy that an ensemble of so many classes needs to be kept: the authors' numbers."""
    return 0.95 if classes <= 4 else 0.85 if classes <= 8 else 0.80


@dataclass(frozen=True, eq=False)
class Group:
    """Ensembles of some classes.

    Args:
        classes: the classes, in the order of the columns of `members`.
        members: each ensemble's module per class, ``[ensembles, classes]``.
        top: the highest logit for each sample, ``[ensembles, n]``.
        right: whether that is the logit of the sample's class, ``[ensembles, n]``.
        apart: how different the modules are, summed over pairs of classes, ``[ensembles]``.
        accuracy: on the samples of these classes, ``[ensembles]``.
    """

    classes: tuple[int, ...]
    members: Integers
    top: torch.Tensor
    right: torch.Tensor
    apart: Floats
    accuracy: Floats

    def fitness(self, *, weight: float, apart_weight: float) -> Floats:
        """Return ``weight * accuracy + apart_weight * difference`` of each ensemble."""
        value: Floats = weight * self.accuracy + apart_weight * self.difference
        return value

    @property
    def difference(self) -> Floats:
        """Return how different each ensemble's modules are on average, from 0 to 1."""
        pairs = len(self.classes) * (len(self.classes) - 1) / 2
        return self.apart / max(1.0, pairs)


def differences(masks: torch.Tensor) -> torch.Tensor:
    """Return 1 - the Jaccard index of the kernels of any two modules, ``[classes, classes, p, p]``.

    Args:
        masks: 0 or 1, ``[classes, p, width]``.
    """
    masks = masks.float()
    both = torch.einsum("apw,bqw->abpq", masks, masks)
    sizes = masks.sum(dim=2)
    either = sizes[:, None, :, None] + sizes[None, :, None, :] - both
    return 1.0 - both / either.clamp_min(1.0)


def tournament(
    logits: torch.Tensor,
    columns: Integers,
    apart: torch.Tensor,
    *,
    weight: float,
    apart_weight: float,
    random: np.random.Generator,
) -> Group:
    """Return the ensembles of all classes that survive.

    Args:
        logits: each module's own logit, ``[classes, p, n]``.
        columns: each sample's class.
        apart: from `differences`.
        weight: of accuracy in the fitness.
        apart_weight: of difference in the fitness.
        random: draws which classes are paired.
    """
    order = random.permutation(len(logits)).tolist()
    groups = [single(logits, columns, number) for number in order]
    while len(groups) > 1:
        merged = [
            survivors(one, other, columns, apart, weight=weight, apart_weight=apart_weight)
            for one, other in zip(groups[::2], groups[1::2], strict=False)
        ]
        groups = merged + ([groups[-1]] if len(groups) % 2 else [])
    return groups[0]


def single(logits: torch.Tensor, columns: Integers, number: int) -> Group:
    """Return each module of a class as an ensemble of its own."""
    count = logits.shape[1]
    own = torch.from_numpy(columns == number).expand(count, -1)
    members = np.arange(count, dtype=np.int64)[:, None]
    return Group((number,), members, logits[number], own, np.zeros(count), np.ones(count))


def survivors(
    one: Group, other: Group, columns: Integers, apart: torch.Tensor, *, weight: float, apart_weight: float
) -> Group:
    """Return the best ensembles that join one of each group: accurate ones, the fittest first."""
    accuracy = joint_accuracy(one, other, columns)
    size = len(one.classes) + len(other.classes)
    enough = int((accuracy >= threshold(size)).sum())
    count = min(accuracy.size, max(FEWEST, min(MOST, enough)))
    chosen = np.argsort(-accuracy, axis=None, kind="stable")[:count]
    joined = joined_ensembles(one, other, np.stack(np.unravel_index(chosen, accuracy.shape), axis=1), columns, apart)
    best_first = np.argsort(-joined.fitness(weight=weight, apart_weight=apart_weight), kind="stable")
    return taken(joined, best_first)


def joint_accuracy(one: Group, other: Group, columns: Integers) -> Floats:
    """Return the accuracy of every ensemble that joins one of each group, on samples of their classes."""
    hits = torch.zeros(len(one.members), len(other.members))
    total = 0
    for group, rival, flip in ((one, other, False), (other, one, True)):
        inside = torch.from_numpy(np.isin(columns, group.classes))
        own = torch.where(group.right, group.top, torch.full_like(group.top, -torch.inf))[:, inside]
        against = rival.top[:, inside]
        total += own.shape[1]
        step = max(1, COMPARISONS // max(1, against.numel()))
        wins = torch.cat([(part[:, None] > against[None]).sum(dim=2) for part in torch.split(own, step)])
        hits += wins.T if flip else wins
    accuracy: Floats = (hits.double() / max(1, total)).numpy()
    return accuracy


def joined_ensembles(one: Group, other: Group, pairs: Integers, columns: Integers, apart: torch.Tensor) -> Group:
    """Return the ensembles that join these pairs ``[k, 2]`` of an ensemble of each group."""
    left, right = pairs[:, 0], pairs[:, 1]
    first, second = one.members[left], other.members[right]
    between = np.zeros(len(pairs))
    for i, a in enumerate(one.classes):
        for j, b in enumerate(other.classes):
            between += apart[a, b][first[:, i], second[:, j]].double().numpy()
    wins = one.top[left] >= other.top[right]
    top = torch.where(wins, one.top[left], other.top[right])
    correct = torch.where(wins, one.right[left], other.right[right])
    classes = (*one.classes, *other.classes)
    inside = torch.from_numpy(np.isin(columns, classes))
    return Group(
        classes=classes,
        members=np.concatenate([first, second], axis=1),
        top=top,
        right=correct,
        apart=one.apart[left] + other.apart[right] + between,
        accuracy=correct[:, inside].double().mean(dim=1).numpy() if bool(inside.any()) else np.ones(len(pairs)),
    )


def taken(group: Group, order: Integers) -> Group:
    """Return some of a group's ensembles."""
    return Group(
        group.classes,
        group.members[order],
        group.top[order],
        group.right[order],
        group.apart[order],
        group.accuracy[order],
    )


def one_ensemble(logits: torch.Tensor, columns: Integers, apart: torch.Tensor, members: Sequence[int]) -> Group:
    """Return the one ensemble of all classes that consists of these modules."""
    groups = [taken(single(logits, columns, c), np.array([member])) for c, member in enumerate(members)]
    whole = groups[0]
    for group in groups[1:]:
        whole = joined_ensembles(whole, group, np.zeros((1, 2), dtype=np.int64), columns, apart)
    return whole


def best_with(group: Group, *, size: int, weight: float, apart_weight: float) -> Floats:
    """Return each module's fitness: that of the best ensemble it is in, 0 where it is in none, ``[classes, size]``."""
    values = group.fitness(weight=weight, apart_weight=apart_weight)
    result = np.zeros((len(group.classes), size))
    for column, number in enumerate(group.classes):
        np.maximum.at(result[number], group.members[:, column], values)
    return result
