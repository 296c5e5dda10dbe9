"""Draw the pictures of the guide into docs/images: ``python docs/pictures.py``."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from scipy import stats

IMAGES = Path(__file__).parent / "images"

BLUE, ORANGE, RED, GREEN, GREY = "#2563eb", "#d97706", "#dc2626", "#16a34a", "#6b7280"


def chance() -> None:
    """How far the accuracies of two equally good models lie apart, by the size of the test part."""
    figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
    differences = np.linspace(-0.12, 0.12, 97)
    for samples, color in ((100, ORANGE), (1000, BLUE), (10_000, GREEN)):
        # Each right on nine of ten; they disagree on a tenth of the samples.
        spread = np.sqrt(0.1 / samples)
        density = stats.norm.pdf(differences, scale=spread)
        axes.plot(differences, density / density.max(), color=color, label=f"{samples:,} samples")
        axes.fill_between(differences, density / density.max(), color=color, alpha=0.1)
    axes.axvline(-0.02, color=RED, linestyle="--", linewidth=1)
    axes.annotate("a drop of 0.02", (-0.021, 0.9), color=RED, ha="right")
    axes.set(xlabel="accuracy of one model minus the other's", yticks=[], xlim=(-0.12, 0.12))
    axes.legend(frameon=False)
    save(figure, "chance")


def verdicts() -> None:
    """Where the interval of a difference has to lie for each verdict."""
    figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
    rows = [
        ("passed: as good, as measured", 0.004, 0.009, GREEN),
        ("passed: worse, and proven to be within the margin", -0.003, 0.005, GREEN),
        ("inconclusive: may be chance, may be too much", -0.014, 0.018, ORANGE),
        ("failed: beyond the margin, and more than chance", -0.018, 0.012, RED),
    ]
    for place, (label, middle, half, color) in enumerate(rows[::-1]):
        axes.plot([middle - half, middle + half], [place, place], color=color, linewidth=3)
        axes.plot(middle, place, "o", color=color)
        axes.annotate(label, (0.018, place), color=color, va="center")
    axes.axvline(0, color=GREY, linewidth=1)
    axes.axvline(-0.01, color=RED, linestyle="--", linewidth=1)
    axes.annotate("margin", (-0.0105, 3.45), color=RED, ha="right")
    axes.annotate("as the baseline", (0.0005, 3.45), color=GREY)
    axes.set(xlabel="new model minus the baseline", yticks=[], xlim=(-0.04, 0.08), ylim=(-0.6, 3.8))
    axes.set_xticks([-0.03, -0.02, -0.01, 0, 0.01])
    save(figure, "verdicts")


def paired() -> None:
    """Why two models are compared on the same samples: most of them say nothing."""
    figure, axes = plt.subplots(figsize=(7, 2.2), layout="constrained")
    parts = [
        ("both right", 172, GREY),
        ("only the old one", 9, RED),
        ("only the new one", 3, GREEN),
    ]
    parts.append(("both wrong", 16, "#d1d5db"))
    left = 0
    for _, width, color in parts:
        axes.barh(0, width, left=left, color=color, edgecolor="white")
        axes.annotate(str(width), (left + width / 2, 0), ha="center", va="center", color="white")
        left += width
    handles = [mpl.patches.Patch(color=color, label=label) for label, _, color in parts]
    axes.legend(
        handles=handles, frameon=False, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.4)
    )
    axes.set(xlabel="200 test samples: which model is right", yticks=[], xlim=(0, 200))
    save(figure, "paired")


def best_of_many() -> None:
    """How good the best of many runs of one recipe looks, against an ordinary run."""
    figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
    random = np.random.default_rng(3)
    runs = random.normal(0.9, 0.008, 20)
    axes.plot(range(1, 21), runs, "o", color=BLUE, label="runs of the same recipe")
    axes.hlines(runs.max(), 0, 20, color=RED, linestyle="--", linewidth=1)
    axes.annotate("the best of them", (20.4, runs.max()), color=RED, va="center")
    axes.hlines(np.median(runs), 0, 20, color=GREEN, linestyle="--", linewidth=1)
    axes.annotate("the median", (20.4, np.median(runs)), color=GREEN, va="center")
    axes.set(xlabel="run", ylabel="accuracy", xlim=(0, 25), xticks=[1, 5, 10, 15, 20])
    save(figure, "best_of_many")


def many_gates() -> None:
    """How often at least one of several gates is red by chance, each at five in a hundred."""
    figure, axes = plt.subplots(figsize=(7, 2.4), layout="constrained")
    gates = np.arange(1, 21)
    axes.plot(gates, 1 - 0.95**gates, "o-", color=ORANGE, label="each gate for itself")
    axes.plot(gates, np.full(20, 0.05), "o-", color=GREEN, label="together, by Holm's procedure")
    axes.set(xlabel="gates against the baseline", ylabel="red by chance", ylim=(0, 0.7))
    axes.set(
        xticks=[1, 5, 10, 15, 20], yticks=[0.05, 0.25, 0.5], yticklabels=["5 %", "25 %", "50 %"]
    )
    axes.legend(frameon=False)
    save(figure, "many_gates")


def save(figure: plt.Figure, name: str) -> None:
    """Write a picture that is the same whenever it is drawn by the same versions."""
    for axes in figure.axes:
        axes.spines[["top", "right", "left"]].set_visible(False)
    figure.savefig(IMAGES / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "modeltune", "font.size": 10, "svg.fonttype": "none"})
    IMAGES.mkdir(exist_ok=True)
    for draw in (chance, verdicts, paired, best_of_many, many_gates):
        draw()
