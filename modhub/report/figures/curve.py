"""Accuracy against size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.report.figures.style import BLUE, INK, MUTED, RULE, SMALL, VERMILION, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from modhub.report.curve import Curve


def curve_panel(curve: Curve) -> Panel:
    """Return the decomposer's steps as a line, the parent as a level, and the outcome ringed."""
    return Panel(
        title="Accuracy against size", width=4.6, height=3.3, draw=lambda figure: _draw(figure.subplots(), curve)
    )


def _draw(axes: Axes, curve: Curve) -> None:
    kept = [100 * point.kept for point in curve.points]
    right = [100 * point.accuracy for point in curve.points]
    axes.grid(color=RULE, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.plot(kept, right, color=BLUE, linewidth=1.4, marker="o", markersize=4.5, label="modules, composed", zorder=3)
    levels = list(right)
    if curve.parent is not None:
        levels.append(100 * curve.parent)
        axes.axhline(
            100 * curve.parent,
            color=INK,
            linewidth=1.0,
            linestyle=(0, (5, 2)),
            label=f"parent, {100 * curve.parent:.1f} %",
        )
        if curve.max_loss is not None and curve.max_loss < 50:
            floor = 100 * curve.parent - curve.max_loss
            levels.append(floor)
            axes.axhline(
                floor,
                color=MUTED,
                linewidth=0.9,
                linestyle=(0, (1, 2)),
                label=f"allowed loss, {curve.max_loss:g} points",
            )
    if curve.chosen is not None:
        place = (kept[curve.chosen], right[curve.chosen])
        axes.plot(
            *place,
            linestyle="none",
            marker="o",
            markersize=11,
            markerfacecolor="none",
            markeredgecolor=VERMILION,
            markeredgewidth=1.6,
            label=f"chosen: {place[0]:.0f} % kept, {place[1]:.1f} %",
            zorder=4,
        )
    low, high = min(levels), max(levels)
    room = max(0.5, 0.12 * (high - low))
    axes.set_ylim(low - room, min(101.0, high + room))
    across = max(2.0, 0.08 * (max(kept) - min(kept)))
    axes.set_xlim(min(kept) - across, min(102.0, max(kept) + across))
    axes.set_xlabel(f"{curve.measure} kept behind the trunk, %", fontsize=SMALL)
    axes.set_ylabel("composed accuracy, %", fontsize=SMALL)
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0.2, handlelength=1.8, columnspacing=1.2
    )
