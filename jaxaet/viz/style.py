"""The look every figure shares: size, type, colours, scale bars."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Array, Float, Real

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

Numbers = np.ndarray | Array
Number = float | int | Real[Numbers, ""]

WIDTH = 7.2  # inches: two journal columns
DPI = 200
# Okabe and Ito's colours, told apart by colour-blind eyes.
BLUE, ORANGE, GREEN, SKY, GREY = "#0072B2", "#D55E00", "#009E73", "#56B4E9", "#666666"


def new_figure(height: float, width: float = WIDTH) -> "matplotlib.figure.Figure":
    """An empty figure, sizes in inches, outside pyplot's registry, whose labels never clip."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def dress(axes: "matplotlib.axes.Axes", title: str = "", x: str = "", y: str = "", frame: bool = False) -> None:
    """Title, axis labels and spare spines of one panel, in the package's type sizes."""
    axes.set_title(title, fontsize=8)
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.tick_params(which="both", labelsize=7)
    axes.spines[["top", "right"]].set_visible(frame)


def show_image(axes: "matplotlib.axes.Axes", image: Float[np.ndarray, "ny nx"], title: str, limits=None, cmap="gray"):
    """One image without ticks, row 0 at the bottom as y grows upwards; returns the artist.

    `limits`: the values shown as black and white, by default the 0.1 and 99.9 percentiles.
    """
    low, high = np.percentile(image, (0.1, 99.9)) if limits is None else limits
    artist = axes.imshow(image, origin="lower", cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
    axes.set_title(title, fontsize=6.5, pad=2)
    axes.set_xticks([])
    axes.set_yticks([])
    return artist


def add_scale_bar(axes: "matplotlib.axes.Axes", shape: tuple[int, int], pixel_size: float) -> None:
    """A bar of a round length near a quarter of the image's width, labelled in Å or nm."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    ny, nx = shape
    length = round_length(nx * pixel_size / 4)
    label = f"{length:g} Å" if length < 10 else f"{length / 10:g} nm"
    pixels, left, bottom = length / pixel_size, 0.06 * nx, 0.06 * ny
    axes.add_patch(Rectangle((left, bottom), pixels, 0.025 * ny, facecolor="white", edgecolor="black", linewidth=0.3))
    axes.text(
        left + pixels / 2,
        bottom + 0.05 * ny,
        label,
        color="white",
        fontsize=6,
        ha="center",
        va="bottom",
        path_effects=[withStroke(linewidth=1, foreground="black")],
    )


def round_length(length: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that does not exceed a length, in its unit."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(max(step * power for step in (1, 2, 5) if step * power <= length * (1 + 1e-9)))


def spread(count: int, most: int) -> list[int]:
    """At most `most` indices spread evenly over `count` things, first and last included."""
    return np.linspace(0, max(count - 1, 0), min(count, most)).round().astype(int).tolist()
