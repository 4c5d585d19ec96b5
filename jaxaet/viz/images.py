"""Pictures of data: tilt series, the model beside them, volumes."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Real

from jaxaet.viz.style import WIDTH, Number, Numbers, add_scale_bar, dress, new_figure, show_image, spread

if TYPE_CHECKING:
    import matplotlib.figure

MOST_TILTS = 36
SHOWN_PIXELS = 160
MOST_COMPARED = 4
SLICE_HALF_WIDTH = 1.0  # Å
PLANES = (("x", "y", 2), ("x", "z", 1), ("y", "z", 0))  # axis across, axis up, axis along the view


def tilt_series_figure(
    data: Real[Numbers, "k ny nx"],
    model: Real[Numbers, "k ny nx"] | None,
    pixel_size: Number,
    angles_deg: Real[Numbers, "k 3"],
) -> "matplotlib.figure.Figure":
    """The tilt series as in the AET paper's fig. S1; with a model, also data, model and residual of a few tilts.

    `pixel_size`: Å; `angles_deg`: (Z, Y, X) in degrees. Of a long series, 36 tilts spread evenly are shown.
    """
    data, angles, pixel_size = np.asarray(data, float), np.asarray(angles_deg, float), float(pixel_size)
    shown = spread(len(data), MOST_TILTS)
    columns = int(np.ceil(np.sqrt(len(shown))))
    rows = -(-len(shown) // columns)
    ratio = data.shape[1] / data.shape[2]
    height = 0.3 + rows * (min(2.4, WIDTH / columns - 0.07) * ratio + 0.21)
    heights = [height] if model is None else [height, 0.4 + 3 * (1.58 * ratio + 0.16)]
    figure = new_figure(sum(heights))
    parts = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights).ravel()
    all_axes = parts[0].subplots(rows, columns, squeeze=False).ravel()
    for axes, k in zip(all_axes, shown, strict=False):
        show_image(axes, data[k], _tilt_title(k, angles[k]))
    for axes in all_axes[len(shown) :]:
        axes.set_axis_off()
    add_scale_bar(all_axes[0], data.shape[1:], pixel_size)
    count = "" if len(shown) == len(data) else f", {len(shown)} of {len(data)} images"
    parts[0].suptitle(f"Tilt series{count}; angles Z, Y, X", fontsize=9)
    if model is not None:
        _compare(parts[1], data, np.asarray(model, float), pixel_size, angles)
    return figure


def _tilt_title(k: int, angles: Float[np.ndarray, "3"]) -> str:
    # Adding zero turns the -0.0 of rounding into 0.0.
    z, y, x = np.round(angles, 1) + 0.0
    return f"{k}:  {z:.1f}, {y:.1f}, {x:.1f}°".replace("-", "−")


def _compare(part, data, model, pixel_size, angles) -> None:
    """Rows of data, model and residual over its own rms, for a few tilts from first to last."""
    chosen = spread(len(data), MOST_COMPARED)
    grid = part.subplots(3, MOST_COMPARED, squeeze=False)
    for axes in grid[:, len(chosen) :].flat:
        axes.set_axis_off()
    for column, k in enumerate(chosen):
        limits = np.percentile(data[k], (0.1, 99.9))
        residual = data[k] - model[k]
        rms, variation = np.sqrt(np.mean(residual**2)), np.std(data[k])
        share = f"rms = {100 * rms / variation:.1f} % of the data's std" if variation > 0 else ""
        show_image(grid[0, column], data[k], _tilt_title(k, angles[k]), limits)
        show_image(grid[1, column], model[k], "", limits)
        show_image(grid[2, column], residual / (rms or 1.0), share, (-4, 4), "RdBu_r")
    for axes, name in zip(grid[:, 0], ("data", "model", "residual / rms"), strict=True):
        axes.set_ylabel(name, fontsize=8)
    add_scale_bar(grid[0, 0], data.shape[1:], pixel_size)
    bar = part.colorbar(grid[2, 0].images[0], ax=grid, shrink=0.3, pad=0.01, aspect=14, anchor=(0.0, 0.0))
    bar.ax.tick_params(labelsize=7)
    part.suptitle("Data and model on one grey scale, and what the model leaves", fontsize=9)


def before_after_figure(
    before: Real[Numbers, "k ny nx"],
    after: Real[Numbers, "k ny nx"],
    pixel_size: Number,
    names: tuple[str, str] = ("before", "after"),
) -> "matplotlib.figure.Figure":
    """The middle of the first and the last image before and after a stage, and the difference.

    `pixel_size`: Å. `names`: what the two are called.
    """
    rows = []
    for k in dict.fromkeys((0, len(before) - 1)):
        first = [max(n - SHOWN_PIXELS, 0) // 2 for n in before.shape[1:]]
        crop = tuple(slice(start, start + SHOWN_PIXELS) for start in first)
        rows.append((k, np.asarray(before[k], float)[crop], np.asarray(after[k], float)[crop]))
    height = WIDTH / 3 * rows[0][1].shape[0] / rows[0][1].shape[1] + 0.15
    figure = new_figure(len(rows) * height)
    grid = figure.subplots(len(rows), 3, squeeze=False)
    for axes, (k, one, other) in zip(grid, rows, strict=True):
        limit = float(np.percentile(np.abs(other - one), 99.9)) or 1.0
        show_image(axes[0], one, names[0] if len(before) == 1 else f"{k}: {names[0]}")
        show_image(axes[1], other, names[1])
        show_image(axes[2], other - one, f"difference, ±{limit:.3g}", (-limit, limit), "RdBu_r")
    add_scale_bar(grid[0, 0], rows[0][1].shape, float(pixel_size))
    return figure


def volume_figure(
    volume: Real[Numbers, "nx ny nz"],
    voxel_size: Number,
    atoms: Real[Numbers, "m 3"] | None = None,
    origin: Real[Numbers, "3"] | None = None,
) -> "matplotlib.figure.Figure":
    """Central slices and maximum projections of a volume along its three axes, with atoms drawn as rings.

    `voxel_size`: Å; `atoms`: positions in Å, on a slice only those within 1 Å of it; `origin`: position in Å of voxel
    (0, 0, 0), by default such that voxel n // 2 is at zero.
    """
    volume, voxel_size = np.asarray(volume, float), float(voxel_size)
    start = -(np.array(volume.shape) // 2) * voxel_size if origin is None else np.asarray(origin, float)
    points = np.zeros((0, 3)) if atoms is None else np.asarray(atoms, float)
    size = np.array(volume.shape) * voxel_size
    shares = [max(size["xyz".index(up)] / size["xyz".index(across)], 0.12) for across, up, _ in PLANES]
    panel = min(WIDTH / 2 - 0.6, 8.0 / sum(shares))
    figure = new_figure(1.9 + panel * sum(shares))
    grid = figure.subplots(3, 2, squeeze=False, height_ratios=shares)
    for row, plane in zip(grid, PLANES, strict=True):
        along, name = plane[2], "xyz"[plane[2]]
        middle = volume.shape[along] // 2
        height = start[along] + middle * voxel_size
        near = points[np.abs(points[:, along] - height) <= SLICE_HALF_WIDTH]
        title = f"slice at {name} = {height + 0.0:.1f} Å".replace("-", "−")
        _plane(row[0], volume.take(middle, along), title, plane, start, voxel_size, near)
        _plane(row[1], volume.max(along), f"maximum along {name}", plane, start, voxel_size, points)
    return figure


def _plane(axes, image, title, plane, start, voxel_size, points) -> None:
    across, up, _ = plane
    i, j = "xyz".index(across), "xyz".index(up)
    edges = [start[a] + (np.array([0, image.shape[b]]) - 0.5) * voxel_size for a, b in ((i, 0), (j, 1))]
    axes.imshow(image.T, origin="lower", cmap="gray", extent=(*edges[0], *edges[1]), interpolation="nearest")
    axes.plot(points[:, i], points[:, j], "o", fillstyle="none", color="#E69F00", markersize=3, markeredgewidth=0.5)
    axes.set(xlim=edges[0], ylim=edges[1])
    dress(axes, title, f"{across} (Å)", f"{up} (Å)", frame=True)
