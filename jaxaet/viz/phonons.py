"""Pictures of phonons: densities of states, unfolded bands, localisation, displacements."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from jaxaet.viz.elements import colour, radius
from jaxaet.viz.style import BLUE, GREEN, GREY, ORANGE, SKY, dress, new_figure

if TYPE_CHECKING:
    import matplotlib.figure

CORNERS = ("Γ", "M", "K", "Γ")
LAYER_NAMES = {"free": "free bulk", "strained": "strained bulk", "matched": "strained bulk with noise"}
BULK_COLOURS = (GREEN, BLUE)
LAYER_COLOURS = {"free": GREY, "strained": SKY, "matched": ORANGE}


def interface_figure(
    energies: Float[np.ndarray, " e"], found: Mapping, marked: Sequence[float]
) -> "matplotlib.figure.Figure":
    """Density of states with its bulk fit, the residual with its spread, and both participation ratios.

    `energies`: meV. `found`: the arrays density, density_spread, reference_matched, shares_matched, residual_matched,
    residual_spread (per meV), energies, participation and interface_participation of the modes. `marked`: meV.
    """
    figure = new_figure(6.4)
    top, left, ratio, weighted = figure.subplots(4, 1, sharex=True, height_ratios=[2, 1.2, 1.4, 1.4])
    fit = found["shares_matched"] @ found["reference_matched"]
    top.plot(energies, found["density"], color=ORANGE, linewidth=1, label="interface cell")
    spread = found["density_spread"]
    top.fill_between(
        energies, found["density"] - spread, found["density"] + spread, color=ORANGE, alpha=0.25, linewidth=0
    )
    top.plot(energies, fit, color=BLUE, linewidth=1, label="bulk, same strain and noise")
    top.legend(fontsize=6.5, frameon=False)
    dress(top, y="states\n(1/meV/atom)")
    _residual(left, energies, found["residual_matched"], ORANGE, "")
    left.fill_between(
        energies, -2 * found["residual_spread"], 2 * found["residual_spread"], color=GREY, alpha=0.3, linewidth=0
    )
    dress(left, y="beyond bulk\n(grey: ±2σ)")
    modes = np.ravel(found["energies"])
    ratio.plot(modes, np.ravel(found["participation"]), ".", color=GREY, markersize=1.5)
    dress(ratio, y="participation\nratio")
    count = found["energies"].shape[1] / 3
    weighted.plot(modes, np.ravel(found["interface_participation"]) * count, ".", color=BLUE, markersize=1.5)
    weighted.axhline(1, color="black", linewidth=0.6, linestyle="--")
    dress(weighted, x="energy (meV)", y="interface-weighted\n× atoms")
    for axes in (top, left, ratio, weighted):
        for energy in marked:
            axes.axvline(energy, color=GREEN, linewidth=0.6, linestyle=":")
    weighted.set_xlim(float(energies[0]), float(energies[-1]))
    return figure


def unfolded_figure(
    energies: Float[np.ndarray, " e"],
    maps: Mapping[str, Float[np.ndarray, "k e"]],
    bands: Mapping[str, Float[np.ndarray, "k b"]],
    densities: Mapping[str, Float[np.ndarray, " e"]],
) -> "matplotlib.figure.Figure":
    """Spectral functions side by side, darker where there is more, bands of bulk over them, densities on the right.

    `energies`: meV. `maps`: (k, e) by title, and `bands`: (k, b) in meV by material, on equally many wave vectors along
    each of Γ-M, M-K, K-Γ. `densities`: (e,) of the interface and of each material, per meV and atom.
    """
    figure = new_figure(3.6)
    *panels, side = figure.subplots(1, len(maps) + 1, sharey=True, width_ratios=[1.0] * len(maps) + [0.5])
    for axes, (title, values) in zip(panels, maps.items(), strict=True):
        top, last = float(np.percentile(values, 99.5)), len(values) - 1
        extent = (-0.5, last + 0.5, float(energies[0]), float(energies[-1]))
        axes.imshow(
            np.sqrt(np.clip(values, 0, top)).T, origin="lower", aspect="auto", extent=extent, cmap="gray_r",
            interpolation="nearest",
        )  # fmt: skip
        for shade, lines in zip(BULK_COLOURS, bands.values(), strict=False):
            axes.plot(np.arange(len(lines)), lines, color=shade, linewidth=0.6)
        axes.set_xticks([last * i / (len(CORNERS) - 1) for i in range(len(CORNERS))], CORNERS)
        for i in range(1, len(CORNERS) - 1):
            axes.axvline(last * i / (len(CORNERS) - 1), color=GREY, linewidth=0.4)
        axes.set_xlim(0, last)
        dress(axes, title, y="energy (meV)" if axes is panels[0] else "", frame=True)
    for shade, (name, density) in zip((ORANGE, *BULK_COLOURS), densities.items(), strict=False):
        side.plot(density, energies, color=shade, linewidth=0.8, label=name)
    side.set_ylim(float(energies[0]), float(energies[-1]))
    side.legend(fontsize=5.5, loc="upper right", handlelength=1, framealpha=0.8)
    dress(side, "Densities", x="1/meV/atom")
    return figure


def controls_figure(
    energies: Float[np.ndarray, " e"], found: Mapping[str, Mapping], marked: Sequence[float]
) -> "matplotlib.figure.Figure":
    """What bulk leaves of the density, for each geometry (rows) and each layer of references (colours).

    `energies`: meV. `found`: by title, the arrays residual_free, residual_strained, residual_matched, per meV and atom,
    and their relative norms. `marked`: meV.
    """
    figure = new_figure(1.6 * len(found) + 0.6)
    panels = figure.subplots(len(found), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (title, arrays) in zip(panels, found.items(), strict=True):
        for layer, name in LAYER_NAMES.items():
            label = f"{name}: {100 * float(arrays[f'relative_{layer}']):.0f} %"
            _residual(axes, energies, arrays[f"residual_{layer}"], LAYER_COLOURS[layer], label)
        for energy in marked:
            axes.axvline(energy, color=GREEN, linewidth=0.6, linestyle=":")
        axes.legend(fontsize=6, frameon=False, loc="upper right")
        dress(axes, title, x="energy (meV)" if axes is panels[-1] else "", y="beyond bulk\n(1/meV/atom)")
    panels[0].set_xlim(float(energies[0]), float(energies[-1]))
    return figure


def displacements_figure(
    positions: Float[np.ndarray, "n 3"],
    symbols: Sequence[str],
    moves: Float[np.ndarray, "m n 3"],
    energies: Float[np.ndarray, " m"],
    shares: Float[np.ndarray, " m"],
    points: Sequence[str],
    distances: Float[np.ndarray, " n"],
) -> "matplotlib.figure.Figure":
    """Modes as arrows on the atoms seen from the top, and below each from the side.

    `positions`: Å; `moves`: displacements (m, n, 3) in any unit, each mode scaled to a longest arrow of 1.5 Å;
    `energies`: meV; `shares`: enrichment at the interface; `points`: the names of the modes' wave vectors; `distances`:
    of the atoms from the interface, Å, which is drawn where they are 0.
    """
    extent = np.ptp(positions, axis=0)
    width = 6.4
    height = len(moves) * (width * (extent[1] + extent[2] + 6) / (extent[0] + 3) + 0.7)
    figure = new_figure(height)
    panels = figure.subplots(
        2 * len(moves), 1, squeeze=False, height_ratios=[extent[1] + 3, extent[2] + 3] * len(moves)
    )[:, 0]
    nearest = np.argmin(np.abs(distances))
    interface = float(positions[nearest, 0] - distances[nearest])
    faces, sizes = [colour(s) for s in symbols], [12 * radius(s) ** 2 for s in symbols]
    for number, move in enumerate(moves):
        arrows = 1.5 * move / np.linalg.norm(move, axis=1).max()
        for axes, axis in zip(panels[2 * number : 2 * number + 2], (1, 2), strict=True):
            order = np.argsort(positions[:, 3 - axis] if axis == 1 else -positions[:, 1])
            axes.scatter(
                positions[order, 0], positions[order, axis], s=np.array(sizes)[order], c=np.array(faces)[order],
                edgecolors="black", linewidths=0.2,
            )  # fmt: skip
            axes.quiver(
                positions[:, 0], positions[:, axis], arrows[:, 0], arrows[:, axis], angles="xy", scale_units="xy",
                scale=1, width=0.002, color="black", zorder=3,
            )  # fmt: skip
            axes.axvline(interface, color=GREY, linewidth=0.8, linestyle="--", zorder=0)
            axes.set_aspect("equal")
            axes.set_xlim(positions[:, 0].min() - 1.5, positions[:, 0].max() + 1.5)
            axes.set_ylim(positions[:, axis].min() - 1.5, positions[:, axis].max() + 1.5)
            title = f"{energies[number]:.1f} meV at {points[number]}, {shares[number]:.1f} × its share at the interface"
            dress(axes, title if axis == 1 else "", y="y (Å)" if axis == 1 else "z (Å)")
    dress(panels[-1], x="x (Å)", y="z (Å)")
    for name in dict.fromkeys(symbols):
        panels[0].scatter([], [], s=20, color=colour(name), edgecolors="black", linewidths=0.2, label=name)
    panels[0].legend(fontsize=6, ncols=4, loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False, borderpad=0)
    return figure


def _residual(axes, energies, values, shade: str, label: str) -> None:
    axes.plot(energies, values, color=shade, linewidth=0.9, label=label or None)
    axes.axhline(0, color="black", linewidth=0.4)
