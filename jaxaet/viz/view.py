"""The interactive view of the atoms."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Real

from jaxaet.viz.elements import colour, radius
from jaxaet.viz.style import Numbers

if TYPE_CHECKING:
    import plotly.graph_objects

# A flat sheet is seen a little from the side, without perspective, which would fake a depth.
EYE = {"x": 0.25, "y": -0.7, "z": 1.6}
CAMERA = {"projection": {"type": "orthographic"}, "eye": EYE, "up": {"x": 0, "y": 1, "z": 0}}
HEIGHT = 600  # pixels
# In plotly's aspect ratio, where 2 is the height of the view, so that the atoms fit however they are turned.
DIAGONAL = 2.0


def atoms_view(
    positions: Real[Numbers, "n 3"],
    symbols: Sequence[str] | np.ndarray,
    sigma: Real[Numbers, "n 3"] | None = None,
    title: str = "",
) -> "plotly.graph_objects.Figure":
    """Atoms in 3D to turn with the mouse, one legend entry a species, with position and error bar under the pointer.

    `positions`: Å; `symbols`: n chemical symbols; `sigma`: standard deviation of each coordinate in Å.
    """
    import plotly.graph_objects as go

    positions, symbols = np.asarray(positions, float), np.asarray(symbols, dtype=str)
    low, high = _box(positions)
    scale = float(DIAGONAL / np.linalg.norm(high - low))
    figure = go.Figure()
    for name in np.unique(symbols):
        which = np.flatnonzero(symbols == name)
        bars = np.zeros((len(which), 0)) if sigma is None else 100.0 * np.asarray(sigma, float)[which]
        figure.add_scatter3d(
            **dict(zip("xyz", positions[which].astype(np.float32).T, strict=True)),
            mode="markers",
            name=f"{name} ({len(which)})",
            # Discs of half the covalent radius as the view opens; markers keep their pixels when it is zoomed.
            marker={
                "size": float(np.clip(scale * HEIGHT / 2 * radius(name), 2, 16)),
                "color": colour(name),
                "line": {"color": "#333333", "width": 0.5},
            },
            customdata=np.column_stack([which, bars]).astype(np.float32),
            hovertemplate=_hover(name, sigma is not None),
        )
    figure.update_layout(
        title={"text": title},
        scene=_scene(low, high, scale),
        legend={"itemsizing": "constant", "x": 0.01, "y": 0.99, "bgcolor": "rgba(255,255,255,0.7)"},
        showlegend=True,
        margin={"l": 0, "r": 0, "t": 40 if title else 0, "b": 0},
        height=HEIGHT,
    )
    return figure


def _box(positions: Float[np.ndarray, "n 3"]) -> tuple[np.ndarray, np.ndarray]:
    """The corners in Å of a box that leaves 1 Å around all atoms."""
    if len(positions) == 0:
        positions = np.zeros((1, 3))
    return positions.min(0) - 1.0, positions.max(0) + 1.0


def _scene(low: np.ndarray, high: np.ndarray, scale: float) -> dict:
    """Camera and axes, an ångström as long on each, as with aspectmode "data", which overfills the view."""
    axes = {
        f"{axis}axis": {"title": {"text": f"{axis} (Å)"}, "range": [low[i], high[i]]} for i, axis in enumerate("xyz")
    }
    ratio = dict(zip("xyz", scale * (high - low), strict=True))
    return {"aspectmode": "manual", "aspectratio": ratio, "camera": CAMERA, **axes}


def _hover(name: str, has_sigma: bool) -> str:
    """Text under the pointer: the atom's row in the list of atoms, its position and its error bar."""
    place = "x %{x:.3f}, y %{y:.3f}, z %{z:.3f} Å"
    bars = "<br>± %{customdata[1]:.1f}, %{customdata[2]:.1f}, %{customdata[3]:.1f} pm" if has_sigma else ""
    return f"{name}, atom %{{customdata[0]:.0f}}<br>{place}{bars}<extra></extra>"
