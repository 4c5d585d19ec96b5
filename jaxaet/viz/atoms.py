"""Pictures of atoms, their error bars and their errors."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Real

from jaxaet.viz.elements import colour, radius
from jaxaet.viz.style import ORANGE, SKY, WIDTH, Numbers, dress, new_figure

if TYPE_CHECKING:
    import matplotlib.figure

ANGSTROM_IN_PM = 100.0


def atoms_figure(
    positions: Real[Numbers, "n 3"],
    symbols: Sequence[str] | np.ndarray,
    sigma: Real[Numbers, "n 3"] | None = None,
) -> "matplotlib.figure.Figure":
    """The atoms from the top and from the side, nearer atoms in front; with `sigma`, also its spread by species.

    `positions`: Å; `symbols`: n chemical symbols; `sigma`: standard deviation of each coordinate in Å.
    """
    positions, symbols = np.asarray(positions, float), np.asarray(symbols, dtype=str)
    limits = _limits(positions)
    figure, panels = _layout(limits[:, 1] - limits[:, 0], sigma is not None and len(positions) > 0)
    _view(panels["top"], positions, symbols, limits, (0, 1, 2), "top view, along z")
    # Looking along +y, so the atoms of small y are in front.
    _view(panels["side"], positions, symbols, limits, (0, 2, 1), "side view, along y", toward=-1)
    _legend(figure, symbols)
    if "sigma" in panels:
        _spread_by_species(panels["sigma"], np.asarray(sigma, float), symbols)
    return figure


def _layout(extent: Float[np.ndarray, "3"], has_sigma: bool):
    """The figure and its panels by name: views side by side for a thick specimen, one above the other for a sheet."""
    x, y, z = extent
    rows: list[Any]
    if z > 0.5 * x:
        rows, panel = [["top", "side"]], WIDTH / 2 - 0.6
        heights = [min(panel * max(y, z) / x, 7.0)]
    else:
        rows, panel = [["top"], ["side"]], min(WIDTH - 0.7, 7.0 * x / (y + z))
        heights = [panel * y / x, panel * z / x]
    if has_sigma:
        rows, heights = [*rows, ["sigma"] * len(rows[0])], [*heights, 1.5]
    figure = new_figure(sum(heights) + 0.55 * len(rows) + 0.3)
    return figure, figure.subplot_mosaic(rows, height_ratios=heights)


def _limits(positions: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "3 2"]:
    """Box (axis, low and high) in Å around all atoms, never so thin that an axis has no room for its ticks."""
    if len(positions) == 0:
        positions = np.zeros((1, 3))
    low, high = positions.min(0) - 2.0, positions.max(0) + 2.0
    half = np.maximum((high - low) / 2, 0.08 * (high - low).max())
    return np.stack([(low + high) / 2 - half, (low + high) / 2 + half], axis=1)


def _view(axes, positions, symbols, limits, order, title, toward=1) -> None:
    """Discs of half the covalent radius, in Å of the axes, painted from far to near."""
    from matplotlib.collections import EllipseCollection

    across, up, depth = order
    back_to_front = np.argsort(toward * positions[:, depth], kind="stable")
    ordered = symbols[back_to_front]
    diameters = np.array([radius(symbol) for symbol in ordered])
    discs = EllipseCollection(
        diameters,
        diameters,
        np.zeros_like(diameters),
        units="xy",
        offsets=positions[back_to_front][:, [across, up]],
        offset_transform=axes.transData,
        facecolors=[colour(symbol) for symbol in ordered],
        edgecolors="black",
        linewidths=0.3 if len(positions) < 3000 else 0.1,
    )
    axes.add_collection(discs, autolim=False)
    axes.set(xlim=limits[across], ylim=limits[up], aspect="equal")
    dress(axes, title, f"{'xyz'[across]} (Å)", f"{'xyz'[up]} (Å)", frame=True)


def _legend(figure, symbols: np.ndarray) -> None:
    from matplotlib.lines import Line2D

    names, counts = np.unique(symbols, return_counts=True)
    handles = [
        Line2D([], [], ls="", marker="o", mfc=colour(name), mec="black", mew=0.5, ms=6, label=f"{name}  {count}")
        for name, count in zip(names, counts, strict=True)
    ]
    if handles:
        figure.legend(
            handles=handles, loc="outside upper center", ncols=min(len(handles), 8), fontsize=8, frameon=False
        )


def _spread_by_species(axes, sigma: Float[np.ndarray, "n 3"], symbols: np.ndarray) -> None:
    """Box plot of the error bar of each species along each axis; atoms without a finite one are left out."""
    names = np.unique(symbols)
    groups, places, labels = [], [], []
    for i, name in enumerate(names):
        for axis in range(3):
            values = sigma[symbols == name, axis] * ANGSTROM_IN_PM
            groups.append(values[np.isfinite(values)])
            places.append(4 * i + axis)
            labels.append(f"{name} {'xyz'[axis]}")
    drawn = axes.boxplot(groups, positions=places, widths=0.6, patch_artist=True, flierprops={"markersize": 1.5})
    for box, label in zip(drawn["boxes"], labels, strict=True):
        box.set_facecolor(colour(label.split()[0]))
    for median in drawn["medians"]:
        median.set_color("black")
    axes.set_xticks(places, labels)
    axes.set_ylim(bottom=0)
    dress(axes, "error bar of every coordinate", "", "standard deviation (pm)")


def error_figure(
    errors_by_species: Mapping[str, Real[Numbers, "_ 3"]],
    bounds_by_species: Mapping[str, object],
) -> "matplotlib.figure.Figure":
    """Histogram of the measured errors along each axis, with the Gaussian of the Cramér-Rao bound over it.

    `errors_by_species`: found minus true position of each atom in Å. `bounds_by_species`: the bound in pm, one number
    or (3,); a species without one gets no curve.
    """
    figure = new_figure(0.5 + 1.5 * max(len(errors_by_species), 1))
    grid = figure.subplots(max(len(errors_by_species), 1), 3, squeeze=False, sharex="row", sharey="row")
    last = len(errors_by_species) - 1
    for i, (row, (name, errors)) in enumerate(zip(grid, errors_by_species.items(), strict=False)):
        errors = np.asarray(errors, float) * ANGSTROM_IN_PM
        bound = np.broadcast_to(np.asarray(bounds_by_species.get(name, np.nan), float), (3,))
        reach = _reach(errors, bound)
        for axis, axes in enumerate(row):
            _histogram(axes, errors[:, axis], bound[axis], reach)
            dress(axes, axes.get_title(), f"error along {'xyz'[axis]} (pm)" if i == last else "")
        row[0].set_ylabel(f"{name} atoms", fontsize=8)
    handles, names = grid[0, 0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, names, loc="outside upper center", ncols=2, fontsize=8, frameon=False)
    return figure


def _reach(errors: Float[np.ndarray, "n 3"], bound: Float[np.ndarray, "3"]) -> float:
    """Half width of the histogram: four robust standard deviations or bounds, so that no outlier flattens it."""
    robust = 1.4826 * np.median(np.abs(errors)) if errors.size else 0.0
    widest = np.nanmax(np.append(bound[np.isfinite(bound)], robust))
    return 4.0 * float(widest) if widest > 0 else 1.0


def _histogram(axes, errors: Float[np.ndarray, " n"], bound: float, reach: float) -> None:
    edges = np.linspace(-reach, reach, 31)
    axes.hist(errors, edges, color=SKY, edgecolor="white", linewidth=0.3, label="measured")
    rms = np.sqrt(np.mean(errors**2)) if len(errors) else 0.0
    beyond = int(np.sum(np.abs(errors) > reach))
    title = f"rms {rms:.1f}" + (f", bound {bound:.1f} pm" if np.isfinite(bound) else " pm")
    axes.set_title(title + (f", {beyond} beyond" if beyond else ""))
    if bound > 0:
        x = np.linspace(-reach, reach, 200)
        density = np.exp(-0.5 * (x / bound) ** 2) / (bound * np.sqrt(2 * np.pi))
        axes.plot(
            x, len(errors) * (edges[1] - edges[0]) * density, color=ORANGE, linewidth=1.2, label="Cramér-Rao bound"
        )
    axes.set_xlim(-reach, reach)


def error_bar_map(positions: Real[Numbers, "n 3"], sigma: Real[Numbers, "n 3"]) -> "matplotlib.figure.Figure":
    """The top view coloured by the error bar of each coordinate in pm; crosses mark atoms without a finite one.

    `positions` and `sigma`: Å.
    """
    positions, sigma = np.asarray(positions, float), np.asarray(sigma, float) * ANGSTROM_IN_PM
    limits = _limits(positions)
    extent = limits[:, 1] - limits[:, 0]
    panel = WIDTH / 3 - 0.25
    figure = new_figure(1.2 + min(8.0, panel * extent[1] / extent[0]))
    size = np.clip((panel * 72 * 1.6 / extent[0]) ** 2, 0.5, 60)
    for axis, axes in enumerate(figure.subplots(1, 3, sharex=True, sharey=True)):
        finite = np.isfinite(sigma[:, axis])
        order = np.argsort(sigma[finite, axis], kind="stable")
        x, y = positions[finite][order, :2].T
        dots = axes.scatter(x, y, s=size, c=sigma[finite, axis][order], cmap="viridis", linewidths=0)
        axes.plot(*positions[~finite, :2].T, "x", color=ORANGE, markersize=4)
        axes.set(xlim=limits[0], ylim=limits[1], aspect="equal")
        dress(axes, f"error bar along {'xyz'[axis]}", "x (Å)", "y (Å)" if axis == 0 else "", frame=True)
        bar = figure.colorbar(dots, ax=axes, orientation="horizontal", pad=0.02, aspect=25)
        bar.set_label("standard deviation (pm)", fontsize=8)
        bar.ax.tick_params(labelsize=7)
    return figure
