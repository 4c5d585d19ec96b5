"""Pictures of stacked layers: their bonds, and the registry of one on the other."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from jaxaet.viz.layers import LAYER_COLOURS, image_extent
from jaxaet.viz.style import GREY, dress, new_figure

if TYPE_CHECKING:
    import matplotlib.figure


def bonds_figure(
    panels: Mapping[str, Mapping[str, Float[np.ndarray, " _"]]], ideal: float, bins: int = 100
) -> "matplotlib.figure.Figure":
    """Histograms of bond lengths, one panel under the other, the layers of each in their colours.

    `panels`: by title and layer, lengths in Å; each label names their mean. `ideal`: the bond length marked, Å.
    """
    figure = new_figure(0.4 + 1.5 * len(panels))
    rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (title, layers) in zip(rows, panels.items(), strict=True):
        edges = np.histogram_bin_edges(np.concatenate([np.ravel(lengths) for lengths in layers.values()]), bins)
        for shade, (name, lengths) in zip(LAYER_COLOURS, layers.items(), strict=False):
            label = f"{name}: {np.mean(lengths):.3f} Å"
            axes.hist(np.ravel(lengths), edges, histtype="step", color=shade, linewidth=0.9, label=label)
        axes.axvline(ideal, color=GREY, linewidth=0.6, linestyle="--")
        axes.legend(fontsize=6, frameon=False, loc="upper right")
        dress(axes, title, x="distance (Å)" if axes is rows[-1] else "", y="bonds")
    rows[0].set_xlim(0.75 * ideal, 1.3 * ideal)
    return figure


def moire_figure(
    stacking: Float[np.ndarray, "ny nx"],
    pixel: float,
    sites: Float[np.ndarray, "_ 2"],
    at: Float[np.ndarray, " m"],
    densities: Mapping[str, tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]],
) -> "matplotlib.figure.Figure":
    """A map of the local stacking with some sites on it, and densities of sites over the stacking with their spread.

    `stacking`: Å, of pixels of `pixel` Å; `sites`: x and y in Å from the middle pixel; `at`: the stacking, Å, at which
    the `densities` are given by name, each with its standard deviation, 1/Å.
    """
    figure = new_figure(3.0)
    left, right = figure.subplots(1, 2)
    extent, top = image_extent(stacking.shape, pixel), np.percentile(stacking, 99.9)
    shown = left.imshow(stacking, origin="lower", cmap="viridis", extent=extent, vmin=0, vmax=top)
    left.plot(sites[:, 0], sites[:, 1], ".", color="white", markersize=2.5)
    bar = figure.colorbar(shown, ax=left, shrink=0.8)
    bar.set_label("stacking (Å)", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    for shade, (name, (mean, deviation)) in zip((GREY, *LAYER_COLOURS), densities.items(), strict=False):
        right.plot(at, mean, color=shade, linewidth=0.9, label=name)
        right.fill_between(at, mean - deviation, mean + deviation, color=shade, alpha=0.25, linewidth=0)
    right.legend(fontsize=6.5, frameon=False)
    dress(left, x="x (Å)", y="y (Å)", frame=True)
    dress(right, x="stacking (Å)", y="density (1/Å)")
    return figure
