"""How a solution was reached: the loss on its way, the angles before and after."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Real

from jaxaet.viz.style import BLUE, GREEN, GREY, ORANGE, Numbers, dress, new_figure

if TYPE_CHECKING:
    import matplotlib.figure


def convergence_figure(
    losses: Real[Numbers, " steps"], r_factors: Real[Numbers, " records"] | None = None
) -> "matplotlib.figure.Figure":
    """The loss at every step and, beside it, the R factor; a positive loss that falls tenfold is on a log scale.

    `r_factors`: fractions, shown in percent, at every step or at any other number of evenly spaced records.
    """
    losses = np.asarray(losses, float)
    panels = 1 if r_factors is None else 2
    figure = new_figure(2.6, width=3.6 * panels)
    grid = figure.subplots(1, panels, squeeze=False)[0]
    grid[0].plot(np.arange(len(losses)), losses, "-", color=BLUE, marker=_marker(losses), markersize=3)
    if len(losses) and 0 < 10 * losses.min() < losses.max():
        grid[0].set_yscale("log")
    dress(grid[0], "Loss", "step", "loss")
    if r_factors is not None:
        percent = 100 * np.asarray(r_factors, float)
        steps = np.linspace(0, max(len(losses), 1) - 1, len(percent)) if len(losses) else np.arange(len(percent))
        grid[1].plot(steps, percent, "-", color=ORANGE, marker=_marker(percent), markersize=3)
        last = f": {percent[-1]:.2f} % at the end" if len(percent) else ""
        dress(grid[1], f"R factor{last}", "step", "R (%)")
    return figure


def _marker(values: np.ndarray) -> str:
    return "o" if len(values) <= 50 else ""


def angles_figure(
    nominal_deg: Real[Numbers, "k 3"],
    calibrated_deg: Real[Numbers, "k 3"],
    truth_deg: Real[Numbers, "k 3"] | None = None,
) -> "matplotlib.figure.Figure":
    """Each tilt angle before and after calibration, and below its error against the truth.

    Angles: (Z, Y, X) in degrees. Without a truth the lower row shows the correction of the nominal angle.
    """
    from matplotlib.ticker import MaxNLocator

    nominal, calibrated = np.asarray(nominal_deg, float), np.asarray(calibrated_deg, float)
    reference = nominal if truth_deg is None else np.asarray(truth_deg, float)
    below = "calibrated − nominal (°)" if truth_deg is None else "calibrated − true (°)"
    images = np.arange(len(nominal))
    figure = new_figure(4.0)
    grid = figure.subplots(2, 3, sharex=True, height_ratios=(1.3, 1))
    for column, name in enumerate("ZYX"):
        top, bottom = grid[:, column]
        top.plot(images, nominal[:, column], "o", color=GREY, fillstyle="none", markersize=5, label="nominal")
        if truth_deg is not None:
            top.plot(images, reference[:, column], "_", color=GREEN, markersize=9, label="true")
        top.plot(images, calibrated[:, column], ".", color=BLUE, markersize=5, label="calibrated")
        difference = calibrated[:, column] - reference[:, column]
        bottom.axhline(0, color=GREY, linewidth=0.6)
        bottom.plot(images, difference, "o", color=ORANGE, markersize=3)
        bottom.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        rms = np.sqrt(np.mean(difference**2)) if len(difference) else 0.0
        dress(top, f"rotation about {name}", "", "angle (°)" if column == 0 else "")
        dress(bottom, f"rms {rms:.3g}°", "image", below if column == 0 else "")
    grid[0, 0].legend(fontsize=7, frameon=False)
    return figure
