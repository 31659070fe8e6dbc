"""What each module keeps of each site."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modhub.network.report import describe, short_names

if TYPE_CHECKING:
    import numpy.typing as npt

    from modhub.network.sites import Site
    from modhub.report.split import Split

    Counts = npt.NDArray[np.int64]
    Shares = npt.NDArray[np.float64]

MASKED, TRUNK, PINNED = "masked", "trunk", "pinned"
"""A site behind the trunk, where modules keep what they need; one in the trunk, shared whole; one that is never cut."""


@dataclass(frozen=True, kw_only=True)
class SiteRow:
    """One site for people: a short name, its id, how many channels it has and weights make them, and its `state`."""

    name: str
    id: str
    channels: int
    weights: int
    layers: tuple[str, ...]
    kind: str
    state: str
    pinned: str

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain values."""
        return {
            "name": self.name,
            "site": self.id,
            "kind": self.kind,
            "channels": self.channels,
            "weights": self.weights,
            "layers": list(self.layers),
            "state": self.state,
            "pinned": self.pinned or None,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Kept:
    """How many channels, and weights of the layers that make them, each module keeps of each site.

    Args:
        sites: the sites, in the network's order.
        modules: the classes of the modules.
        channels: kept channels ``[modules, sites]``.
        weights: kept weights ``[modules, sites]``, of the layers that make the site.
        measure: what tells the modules apart: ``kernels``, or ``weights`` where single weights are masked.
    """

    sites: tuple[SiteRow, ...]
    modules: tuple[str, ...]
    channels: Counts
    weights: Counts
    measure: str

    @property
    def shares(self) -> Shares:
        """Kept shares by `measure`, ``[modules, sites]``, from 0 to 1; not a number where a site has no weights."""
        kept = self.weights if self.measure == "weights" else self.channels
        whole = np.array([site.weights if self.measure == "weights" else site.channels for site in self.sites])
        return np.asarray(np.divide(kept, whole, out=np.full(kept.shape, np.nan), where=whole > 0))

    @property
    def made(self) -> Kept:
        """The same without the sites that no layer makes, streams widened with zeros: they hold no kernels."""
        chosen = [i for i, site in enumerate(self.sites) if site.layers]
        sites = tuple(self.sites[i] for i in chosen)
        return dataclasses.replace(
            self, sites=sites, channels=self.channels[:, chosen], weights=self.weights[:, chosen]
        )

    @property
    def open(self) -> list[int]:
        """Where the sites are that tell modules apart: masks may act on them, or single weights are gone from them."""
        whole = np.array([site.weights for site in self.sites])
        touched: list[bool] = np.any(self.weights < whole, axis=0).tolist()
        single = self.measure == "weights"
        return [
            i for i, site in enumerate(self.sites) if (site.state == MASKED and site.layers) or (single and touched[i])
        ]

    @property
    def mean_share(self) -> float | None:
        """The share that modules keep by `measure` on average, None without modules."""
        if not self.modules:
            return None
        if self.measure == "kernels":
            return sum(self.kernels_kept) / len(self.modules)
        whole = sum(self.sites[i].weights for i in self.open)
        return float(self.weights[:, self.open].sum(axis=1).mean() / max(1, whole))

    @property
    def kernels_kept(self) -> list[float]:
        """The share of the kernels and neurons behind the trunk that each module keeps, from 0 to 1."""
        makers = np.array([len(site.layers) if site.state == MASKED else 0 for site in self.sites], dtype=np.int64)
        total = int((makers * [site.channels for site in self.sites]).sum())
        return [float(kept @ makers / total) if total else 1.0 for kept in self.channels]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain values."""
        return {
            "measure": self.measure,
            "sites": [site.to_dict() for site in self.sites],
            "modules": [
                {
                    "class": name,
                    "kernels_kept": round(share, 6),
                    "channels": channels.tolist(),
                    "weights": weights.tolist(),
                }
                for name, share, channels, weights in zip(
                    self.modules, self.kernels_kept, self.channels, self.weights, strict=True
                )
            ],
        }


def kept_of(split: Split) -> Kept:
    """Return what each module keeps of each site."""
    starts = split.sites.offsets
    channels = [
        split.flags[:, starts[site.id] : starts[site.id] + site.size].sum(axis=1, dtype=np.int64)
        for site in split.sites.sites
    ]
    weights = [
        sum((split.weights_kept(layer) for layer in _makers(site, split)), np.zeros(len(split.modules), dtype=np.int64))
        for site in split.sites.sites
    ]
    return Kept(
        sites=site_rows(split),
        modules=split.names,
        channels=np.stack(channels, axis=1),
        weights=np.stack(weights, axis=1),
        measure="weights" if split.has_weight_masks else "kernels",
    )


def site_rows(split: Split) -> tuple[SiteRow, ...]:
    """Return the sites for people, in the network's order; without modules, every site that is not pinned is open."""
    behind = {site.id for site in split.behind}
    rows = zip(short_names(split.parent, split.sites), describe(split.sites), split.sites.sites, strict=True)
    return tuple(
        SiteRow(
            name=name,
            id=about["site"],
            channels=about["channels"],
            weights=sum(split.parent.arrays[layer].size for layer in _makers(site, split)),
            layers=tuple(about["layers"]),
            kind=about["kind"],
            state=PINNED if site.pinned else MASKED if site.id in behind else TRUNK,
            pinned=about["pinned"] or "",
        )
        for name, about, site in rows
    )


def _makers(site: Site, split: Split) -> list[str]:
    return [layer for layer in site.layers if layer in split.axes]
