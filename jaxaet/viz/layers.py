"""Pictures of an image whose layers were separated."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Real

from jaxaet.viz.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    SKY,
    WIDTH,
    Number,
    Numbers,
    add_scale_bar,
    dress,
    new_figure,
    show_image,
)

if TYPE_CHECKING:
    import matplotlib.figure

LAYER_COLOURS = (ORANGE, BLUE, GREEN, SKY)
MARKERS = "o^s"
LARGEST = 30.0  # Å, of the part that is shown


def layers_figure(
    image: Real[Numbers, "ny nx"],
    pixel_size: Number,
    probabilities: Real[Numbers, "l my mx c"],
    fine_pixel: Number,
    columns: Sequence[Sequence[Float[np.ndarray, "_ 2"]]],
    classes: Sequence[str],
) -> "matplotlib.figure.Figure":
    """The middle of an image, the probability of its layers in colours, and the image with all columns on it.

    `pixel_size`, `fine_pixel`: of the image and of the probabilities, Å, about the same middle pixel. `columns`: of
    each layer and class, positions (n, 2) x and y in Å from the middle pixel.
    """
    image, chance = np.asarray(image, float), np.asarray(probabilities, float)
    figure = new_figure(WIDTH / 3 + 0.4)
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    limits = dict(zip(("vmin", "vmax"), np.percentile(image, (0.1, 99.9)), strict=True))
    for axes in (panels[0], panels[2]):
        axes.imshow(image, origin="lower", cmap="gray", extent=image_extent(image.shape, float(pixel_size)), **limits)
    extent = image_extent(chance.shape[1:3], float(fine_pixel))
    panels[1].imshow(_coloured(chance.max(axis=-1)), origin="lower", extent=extent)
    for number, (layer, shade) in enumerate(zip(columns, LAYER_COLOURS, strict=False), 1):
        for points, marker, name in zip(layer, MARKERS, classes, strict=False):
            panels[2].plot(
                points[:, 0], points[:, 1], marker, color=shade, fillstyle="none", markersize=2.2,
                markeredgewidth=0.5, label=f"{number}: {len(points)} {name}",
            )  # fmt: skip
    shown = min(LARGEST, *(n * float(pixel_size) for n in image.shape)) / 2
    for axes, title in zip(panels, ("image", "layers", "columns of each layer"), strict=True):
        axes.set(xlim=(-shown, shown), ylim=(-shown, shown))
        dress(axes, title, "x (Å)", "y (Å)" if axes is panels[0] else "", frame=True)
    if len(columns) * len(classes) <= 9:
        panels[2].legend(fontsize=5, loc="upper right", framealpha=0.7, markerscale=1.5, borderpad=0.2)
    return figure


def labels_figure(
    image: Real[Numbers, "ny nx"],
    pixel_size: Number,
    labels: Real[Numbers, "l ny nx c"],
    probabilities: Real[Numbers, "l ny nx c"],
) -> "matplotlib.figure.Figure":
    """An image, its labels and the probabilities that a network gives, both in the colours of their layers.

    `pixel_size`: Å. The probabilities' layers may come in another order than the labels'.
    """
    image = np.asarray(image, float)
    figure = new_figure(WIDTH / 3 + 0.2)
    panels = figure.subplots(1, 3)
    show_image(panels[0], image, "image")
    add_scale_bar(panels[0], image.shape, float(pixel_size))
    for axes, layers, title in ((panels[1], labels, "labels"), (panels[2], probabilities, "network")):
        axes.imshow(_coloured(np.asarray(layers, float).max(axis=-1)), origin="lower", interpolation="nearest")
        axes.set_title(title, fontsize=6.5, pad=2)
        axes.set_xticks([])
        axes.set_yticks([])
    return figure


def training_figure(
    losses: Real[Numbers, " n"],
    steps: Real[Numbers, " k"],
    held_back_losses: Real[Numbers, " k"],
    dice: Real[Numbers, " k"],
    iou: Real[Numbers, " k"],
) -> "matplotlib.figure.Figure":
    """The loss of every step with that of held-back images, and Dice's coefficient and IoU of those.

    `steps`: of the looks at held-back images.
    """
    losses = np.asarray(losses, float)
    figure = new_figure(2.6)
    left, right = figure.subplots(1, 2)
    left.plot(np.arange(1, len(losses) + 1), losses, color=GREY, linewidth=0.5, label="each step")
    left.plot(steps, held_back_losses, "o-", color=ORANGE, markersize=2.5, linewidth=0.9, label="held back")
    for values, shade, name in ((dice, BLUE, "Dice"), (iou, ORANGE, "IoU")):
        right.plot(steps, values, "o-", color=shade, markersize=2.5, linewidth=0.9, label=name)
    right.set_ylim(0, 1)
    for axes in (left, right):
        axes.legend(fontsize=7, frameon=False)
    dress(left, "Loss", "step", "loss")
    dress(right, "Held-back images", "step", "fraction")
    return figure


def search_figure(
    iou: Real[Numbers, " n"], tried: Mapping[str, Real[Numbers, " n"]], looks: Real[Numbers, " n"]
) -> "matplotlib.figure.Figure":
    """The IoU of each trial of a search against each number that was tried; filled where it went on longest.

    `looks`: how often each trial was looked at before it ended.
    """
    iou, whole = np.asarray(iou, float), np.asarray(looks) == np.max(looks)
    figure = new_figure(2.4)
    for axes, (name, values) in zip(figure.subplots(1, len(tried), sharey=True), tried.items(), strict=True):
        values = np.asarray(values, float)
        axes.plot(values[~whole], iou[~whole], "o", color=GREY, fillstyle="none", markersize=3)
        axes.plot(values[whole], iou[whole], "o", color=BLUE, markersize=3)
        if values.min() > 0 and values.max() > 30 * values.min():
            axes.set_xscale("log")
        dress(axes, "", name.replace("_", " "), "IoU" if name == next(iter(tried)) else "")
    return figure


def image_extent(shape: tuple[int, ...], pixel: float) -> tuple[float, float, float, float]:
    """The edges in Å of an image whose middle pixel n // 2 is at 0."""
    (bottom, top), (left, right) = ((np.array([0, n]) - 0.5 - n // 2) * pixel for n in shape)
    return left, right, bottom, top


def _coloured(layers: Float[np.ndarray, "l ny nx"]) -> Float[np.ndarray, "ny nx 3"]:
    """Each layer in its colour on black, added."""
    from matplotlib.colors import to_rgb

    shades = np.array([to_rgb(LAYER_COLOURS[i % len(LAYER_COLOURS)]) for i in range(len(layers))])
    return np.clip(np.einsum("lyx,lc->yxc", layers, shades), 0, 1)
