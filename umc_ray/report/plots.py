"""The figures of a report, as inline SVG in the colors of the page.

Text and lines are drawn in a placeholder color that is replaced by the page's text color, so that
figures are readable in light and in dark mode.

Suffixes: N samples, C classes.
"""

import io
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from umc_ray.report.comparison import Point
from umc_ray.tasks.quality import Quality

Table = Sequence[tuple[str, Sequence[float]]]
Draw = Callable[[Figure], None]

INK = "#010203"  # placeholder for the page's text color
COLORS = ("#3b82c4", "#e07b39", "#2f9e77", "#c9a227", "#b65fb3", "#d1495b", "#7a8b99", "#66a61e")
CONTROL = "#8a8f98"
ROUNDS = mpl.colormaps["plasma"]

STYLE: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "figure.dpi": 100,
    "figure.facecolor": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "legend.frameon": False,
    "savefig.dpi": 160,  # of rasterized parts: maps and matrices
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,  # labels may contain dollar signs
    "xtick.color": INK,
    "ytick.color": INK,
}

MAX_CLASSES_WITH_COUNTS = 12
"""A confusion matrix with more classes shows no counts."""


@dataclass(frozen=True)
class Plot:
    """A figure for the page; `alt` describes it in words."""

    svg: Markup
    alt: str


def color(index: int) -> str:
    """Return the color of a domain."""
    return COLORS[index % len(COLORS)]


def _render(name: str, alt: str, width: float, height: float, draw: Draw) -> Plot:
    """Draw a figure as SVG; ids are salted with `name`, so that they are unique on the page."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # matplotlib measures text with its own font; browsers have more glyphs.
        warnings.filterwarnings("ignore", message="Glyph")
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    used = set(re.findall(r"#([\w-]+)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda match: match[0] if match[1] in used else "", svg)
    svg = svg.replace(INK, "currentColor")
    label = escape(alt)
    return Plot(Markup(svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)), alt)


def _small_multiples(
    name: str, alt: str, count: int, height: float, draw: Callable[[list[Axes]], None]
) -> Plot:
    """Draw small figures of the same kind side by side."""
    columns = min(3, count)
    rows = math.ceil(count / columns)

    def fill(figure: Figure) -> None:
        axes = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten().tolist()
        for unused in axes[count:]:
            unused.axis("off")
        draw(axes[:count])

    return _render(name, alt, max(3.0 * columns, 4.5), height * rows, fill)


def learning_curve(run: Sequence[Point], control: Sequence[Point], label: str) -> Plot:
    """Plot the mean utility against labels, with the 95 % interval of each point."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        _draw_curves(axes, run, control)
        axes.set_ylabel(label)
        axes.set_xlabel("labels of the campaign")
        _name_curves(axes)

    return _render("curve", _curve_alt(label, run, control), 7.5, 3.6, draw)


def domain_curves(curves: Mapping[str, tuple[Sequence[Point], Sequence[Point]]]) -> Plot:
    """Plot each domain's mean utility against the labels of the whole campaign."""

    def draw(all_axes: list[Axes]) -> None:
        for axes, (name, (run, control)) in zip(all_axes, curves.items(), strict=True):
            _draw_curves(axes, run, control)
            axes.set_title(name)
            axes.set_xlabel("labels of the campaign")
        _name_curves(all_axes[0], fontsize=8)

    alt = "; ".join(_curve_alt(name, *both) for name, both in curves.items())
    return _small_multiples("curves", alt, len(curves), 2.4, draw)


def _name_curves(axes: Axes, fontsize: float | None = None) -> None:
    """Add a legend, unless nothing was measured."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", fontsize=fontsize)


def _draw_curves(axes: Axes, run: Sequence[Point], control: Sequence[Point]) -> None:
    _draw_curve(axes, control, "control", CONTROL, "--")
    _draw_curve(axes, run, "this campaign", COLORS[0], "-")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter("{x:g}%")
    axes.grid(color=INK, alpha=0.12, linewidth=0.6)


def _draw_curve(
    axes: Axes, points: Sequence[Point], label: str, line_color: str, style: str
) -> None:
    if not points:
        return
    x = [point.labels for point in points]
    low = [100 * point.utility.low for point in points]
    high = [100 * point.utility.high for point in points]
    axes.fill_between(x, low, high, color=line_color, alpha=0.15, linewidth=0)
    if len(points) == 1:  # a band needs two points
        axes.vlines(x, low, high, color=line_color, alpha=0.35)
    values = [100 * point.utility.value for point in points]
    axes.plot(x, values, style, color=line_color, marker="o", markersize=3.5, label=label)


def _curve_alt(name: str, run: Sequence[Point], control: Sequence[Point]) -> str:
    curves = [
        f"{label} from {points[0].utility.value:.1%} after {points[0].labels} labels "
        f"to {points[-1].utility.value:.1%} after {points[-1].labels}"
        for label, points in (("this campaign", run), ("control", control))
        if points
    ]
    return f"{name}: {', '.join(curves) or 'not measured'}"


def allocation(rounds: Sequence[int], labels: Table) -> Plot:
    """Plot the labels allocated to each domain by round, stacked."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        below = np.zeros(len(rounds))
        for index, (name, counts) in enumerate(labels):
            axes.bar(rounds, counts, 0.75, below, color=color(index), label=name)
            below = below + np.asarray(counts)
        axes.set_xlabel("round")
        axes.set_ylabel("labels requested")
        axes.set_xlim(0.4, max(rounds[-1], 4) + 0.6)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), reverse=True)

    totals = ", ".join(f"{name} {sum(counts):.0f}" for name, counts in labels)
    alt = f"labels requested in {len(rounds)} rounds, by domain; in total: {totals}"
    return _render("allocation", alt, 7.5, max(3.2, 0.6 + 0.2 * len(labels)), draw)


def costs(costs: Sequence[tuple[str, float]]) -> Plot:
    """Plot the cost of each domain's labels."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        names, values = [name for name, _ in costs], [value for _, value in costs]
        bars = axes.barh(names, values, 0.7, color=[color(i) for i in range(len(costs))])
        axes.bar_label(bars, fmt="{:,.6g}", padding=3)
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_xlabel("cost of the labels so far")

    alt = "cost by domain: " + ", ".join(f"{name} {value:,.6g}" for name, value in costs)
    return _render("costs", alt, 7.5, 0.7 + 0.32 * len(costs), draw)


def reliability(tests: Mapping[str, Quality]) -> Plot:
    """Plot how often predictions are right in full against their confidence, by domain."""

    def draw(all_axes: list[Axes]) -> None:
        for axes, (name, test) in zip(all_axes, tests.items(), strict=True):
            bins = test.reliability
            share = np.asarray(bins.count_K) / sum(bins.count_K)
            axes.plot([0, 1], [0, 1], "--", color=CONTROL, linewidth=1)
            axes.plot(bins.confidence_K, bins.accuracy_K, color=COLORS[0], linewidth=1)
            axes.scatter(bins.confidence_K, bins.accuracy_K, 8 + 160 * share, COLORS[0])
            axes.set(xlim=(0, 1.03), ylim=(0, 1.03), xlabel="confidence", aspect="equal")
            axes.set_title(f"{name}\nECE {test.ece:.3f}")
        all_axes[0].set_ylabel("share right")

    errors = ", ".join(f"{name} {test.ece:.3f}" for name, test in tests.items())
    alt = f"reliability diagrams; expected calibration error: {errors}"
    return _small_multiples("reliability", alt, len(tests), 3.1, draw)


def confusion(name: str, classes: Sequence[str], counts_CC: npt.NDArray[np.int64]) -> Plot:
    """Plot the share of each true class by predicted class."""
    shares_CC = counts_CC / np.maximum(counts_CC.sum(1, keepdims=True), 1)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.imshow(shares_CC, cmap="Blues", vmin=0, vmax=1)
        axes.set(xlabel="predicted", ylabel="true", title=name)
        axes.spines[:].set_visible(False)
        if len(classes) <= MAX_CLASSES_WITH_COUNTS:
            names = [name if len(name) <= 16 else f"{name[:15]}…" for name in classes]
            axes.set_xticks(range(len(names)), names, rotation=90 if len(names) > 4 else 0)
            axes.set_yticks(range(len(names)), names)
            for (true, predicted), count in np.ndenumerate(counts_CC):
                text_color = "#ffffff" if shares_CC[true, predicted] > 0.5 else "#1b1f24"
                axes.text(predicted, true, f"{count}", ha="center", va="center", color=text_color)

    size = 3.4 if len(classes) <= 4 else 4.2
    return _render(f"confusion {name}", _confusion_alt(name, classes, counts_CC), size, size, draw)


def _confusion_alt(name: str, classes: Sequence[str], counts_CC: npt.NDArray[np.int64]) -> str:
    """Describe the three most frequent confusions."""
    wrong_CC = counts_CC - np.diag(np.diag(counts_CC))
    worst = [divmod(int(cell), len(classes)) for cell in np.argsort(-wrong_CC, axis=None)[:3]]
    confusions = [
        f"{classes[true]} predicted as {classes[predicted]} {wrong_CC[true, predicted]} times"
        for true, predicted in worst
        if wrong_CC[true, predicted]
    ]
    return f"confusion matrix of {name}: {', '.join(confusions) or 'no errors'}"


def coverage(
    task: str,
    pool_N2: npt.NDArray[np.float32],
    labeled_N2: npt.NDArray[np.float32],
    rounds_N: npt.NDArray[np.int64],
) -> Plot:
    """Plot a sample of a task's pool, and labeled samples colored by round."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        last = max(2, int(rounds_N.max()))
        x_N, y_N = pool_N2.T
        axes.scatter(x_N, y_N, s=4, color=CONTROL, alpha=0.45, linewidth=0, rasterized=True)
        x_N, y_N = labeled_N2.T
        dots = axes.scatter(
            x_N, y_N, s=13, c=rounds_N, cmap=ROUNDS, vmin=1, vmax=last, linewidth=0, rasterized=True
        )
        axes.set(xticks=[], yticks=[], title=task)
        axes.spines[:].set_visible(False)
        bar = figure.colorbar(dots, ax=axes, label="labeled in round", shrink=0.7)
        bar.locator = MaxNLocator(integer=True)
        bar.outline.set_visible(False)

    alt = (
        f"map of {task}: {len(pool_N2)} samples of the pool in gray, "
        f"{len(labeled_N2)} labeled ones colored by round"
    )
    return _render(f"coverage {task}", alt, 5.2, 4.2, draw)
