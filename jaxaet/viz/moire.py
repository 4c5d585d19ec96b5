"""Pictures of stacked layers: their bonds, and the registry of one on the other."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from jaxaet.viz.layers import LAYER_COLOURS
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
