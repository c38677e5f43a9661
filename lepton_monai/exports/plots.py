"""Drawings of a report, as SVG."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray


@dataclass(frozen=True)
class Group:
    """The values of one class, one a patient, and their mean with its interval (NaN: none)."""

    values: Sequence[float]
    mean: float
    low: float
    high: float


def spread(groups: Mapping[str, Group], label: str) -> str:
    """Draw every value of some groups between 0 and 1, beside each group's mean and interval.

    Parameters
    ----------
    groups
        By name.
    label
        Of the values.
    """
    figure = Figure(figsize=(7, 0.7 + 0.6 * len(groups)), layout="constrained")
    panel = figure.subplots()
    for place, (name, group) in enumerate(groups.items()):
        values = np.array([one for one in group.values if np.isfinite(one)])
        # Apart by a fixed pattern: chance would make another file of the same figures.
        heights = place + 0.24 * ((np.arange(len(values)) * 0.618) % 1.0 - 0.5)
        panel.plot(values, heights, "o", color="tab:blue", alpha=0.5, markersize=4)
        if np.isfinite([group.low, group.high]).all():
            panel.plot([group.low, group.high], [place + 0.3] * 2, color="black", linewidth=1.2)
        panel.plot([group.mean], [place + 0.3], "D", color="black", markersize=4)
        panel.text(-0.01, place, name, ha="right", va="center", parse_math=False)
    panel.set_xlim(0.0, 1.0)
    panel.set_ylim(len(groups) - 0.4, -0.5)
    panel.set_yticks([])
    panel.set_xlabel(label)
    panel.grid(axis="x", linewidth=0.3)
    return _svg(figure)


def agreement(points: Mapping[str, Sequence[tuple[float, float]]], unit: str) -> str:
    """Draw predicted against true sizes, with the line on which both are equal.

    Parameters
    ----------
    points
        True and predicted size by the name of the class.
    unit
        Of the sizes.
    """
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    panel = figure.subplots()
    most = max((value for pairs in points.values() for pair in pairs for value in pair), default=0.0) or 1.0
    panel.plot([0, 1.05 * most], [0, 1.05 * most], color="grey", linewidth=0.8)
    dots = [
        panel.plot(*zip(*pairs, strict=True), "o", alpha=0.6, markersize=4)[0] for pairs in points.values()
    ]
    panel.set_xlim(0, 1.05 * most)
    panel.set_ylim(0, 1.05 * most)
    panel.set_xlabel(f"true ({unit})")
    panel.set_ylabel(f"predicted ({unit})")
    if len(points) > 1:
        for text in panel.legend(dots, list(points)).get_texts():
            text.set_parse_math(False)
    return _svg(figure)


def unit_square(
    lines: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    across: str,
    up: str,
    marker: str = "",
) -> str:
    """Draw lines between 0 and 1, with the diagonal.

    Parameters
    ----------
    lines
        Their points across and up, by name.
    across, up
        What the axes are.
    marker
        Of each point, as matplotlib names it; empty: none.
    """
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    panel = figure.subplots()
    panel.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    drawn = [panel.plot(*line, marker=marker, markersize=4, linewidth=1.3)[0] for line in lines.values()]
    panel.set_xlim(-0.01, 1.01)
    panel.set_ylim(-0.01, 1.01)
    panel.set_xlabel(across)
    panel.set_ylabel(up)
    for text in panel.legend(drawn, list(lines)).get_texts() if drawn else []:
        text.set_parse_math(False)
    return _svg(figure)


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    # The same drawing gives the same bytes, and its words stay text.
    with mpl.rc_context({"svg.hashsalt": "lepton", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()
