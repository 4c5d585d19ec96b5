"""One image of stacked sheets to the atoms of each layer."""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from jaxaet.core import InputError
from jaxaet.gombnet import (
    Columns,
    Prediction,
    Sheet,
    Variation,
    decode,
    draw,
    predict,
)
from jaxaet.io import load_image, save_arrays, save_atoms, save_table
from jaxaet.recipes.config import GombNetApplyConfig
from jaxaet.recipes.config_file import dump_config
from jaxaet.recipes.gombnet_scores import score, summary
from jaxaet.recipes.gombnet_setup import members, sheet_of
from jaxaet.recipes.layers_fit import fit_columns
from jaxaet.recipes.results import save_figures
from jaxaet.recipes.run_folder import RunFolder
from jaxaet.recipes.suspicions import of_columns, of_layers
from jaxaet.specimen import Atoms
from jaxaet.structure import bond_lengths, full_width, twist_from_atoms
from jaxaet.viz import before_after_figure, layers_figure, write_report

SECONDS_PER_TILE = 0.25  # of 256², on two CPU cores
SECONDS_PER_PIXEL = 2e-5  # and step of the fit
COMPILING = 60  # s, before the first step of the fit and after the last, of the error bars


class Seen(NamedTuple):
    """The image (ny, nx), its pixel size in Å, and the arrays of a `Sample` if it was drawn."""

    image: Float[np.ndarray, "ny nx"]
    pixel: float
    truth: dict | None


def run(config: GombNetApplyConfig, folder: RunFolder) -> dict:
    """Predict the classes of each layer, find the columns, and compare them with the truth where it is known."""
    networks, about = members(config.network.weights)
    sheet = sheet_of(about)
    seen = image_of(config, folder, sheet, about["layers"])
    folder.warn(of_layers(seen.image, seen.pixel, sheet))
    options = config.network

    def predicted() -> dict:
        found = predict(networks, seen.image, seen.pixel, about["pixel"], options.tile, options.copies)
        return {name: np.float32(value) for name, value in found._asdict().items()}

    prediction = Prediction(**folder.stage("prediction", predicted))
    layers = decode(prediction, sheet, options.threshold, about["error_factor"])
    folder.warn(of_columns(layers, seen.pixel, sheet))
    fitted, fit = refined(config, folder, seen, layers, sheet)
    metrics = census(seen, fitted, sheet, options.threshold) | fit_metrics(fit)
    if (truth := seen.truth) is not None:
        against = lambda columns: summary([score(prediction, columns, truth, sheet, options.threshold)], sheet)  # noqa: E731
        metrics["against_the_truth"] = against(layers)
        if fit is not None:
            by_class = against(fitted)
            metrics["against_the_truth_after_the_fit"] = {name: by_class[name] for name in sheet.classes}
    write(config, folder, seen, prediction, fitted, sheet, fit, metrics)
    return metrics


def refined(
    config: GombNetApplyConfig, folder: RunFolder, seen: Seen, layers: list[Columns], sheet: Sheet
) -> tuple[list[Columns], dict | None]:
    """The columns fitted to the image, and the fit; as they were, and none, where the model does not describe it."""
    steps, threshold = config.fit.max_steps, config.network.threshold
    if not steps or not all(len(layer.positions) for layer in layers):
        return layers, None
    with folder.progress(steps, "fit") as tick:
        watched = lambda step, loss: tick(step, loss=loss)  # noqa: E731
        fit = folder.stage("fit", lambda: fit_columns(seen.image, seen.pixel, layers, sheet, threshold, steps, watched))
    if not float(fit["left"]) < config.fit.largest_residual:
        folder.warn(
            [
                f"The fit leaves {float(fit['left']):.2g} times the noise of the image, and up to "
                f"{config.fit.largest_residual:g} is allowed (fit.largest_residual), so the columns stay where the "
                "network saw them; look at the model in results.h5."
            ]
        )
        return layers, None
    network = float(np.median(np.concatenate([layer.errors for layer in layers])))
    if not float(fit["allowed"]) < network:
        folder.warn(
            [
                f"The noise of the image lets a column be fixed to {100 * float(fit['allowed']):.2g} pm at best, "
                f"and the network is good to {100 * network:.2g} pm, so the columns stay where it saw them."
            ]
        )
    ends = np.cumsum([len(layer.positions) for layer in layers])[:-1]
    errors = np.sqrt(np.trace(fit["covariance"], axis1=1, axis2=2) / 2)
    places = zip(layers, np.split(fit["positions"], ends), np.split(errors, ends), strict=True)
    return [layer._replace(positions=new, errors=error) for layer, new, error in places], fit


def fit_metrics(fit: dict | None) -> dict:
    """What the fit left and how well it fixes a column."""
    if fit is None:
        return {}
    errors = np.sqrt(np.median(np.diagonal(fit["covariance"], axis1=1, axis2=2)))
    return {
        "fit": {
            "residual_over_noise": float(fit["left"]),
            "error_that_noise_allows_pm": 100 * float(fit["allowed"]),
            "median_error_pm": 100 * float(errors),
        }
    }


def image_of(config: GombNetApplyConfig, folder: RunFolder, sheet: Sheet, layers: int) -> Seen:
    """The image of the file, or one that is drawn."""
    data, options = config.data, config.drawn
    if data.path is not None:
        return Seen(*load_image(data.path, data.key, data.pixel_size_a), None)
    size, counts = options.pixel_size_a, np.log10(options.electrons)
    variation = Variation(pixel=(size, size), counts=(counts, counts), hole=0.0)
    corner = options.pixels * size / np.sqrt(2)
    wide = dataclasses.replace(sheet, reach=max(sheet.reach, int(np.ceil(1.6 * corner / float(sheet.lattice))) + 2))

    def drawn() -> dict:
        function = jax.jit(lambda key: draw(key, wide, layers, variation, options.pixels))
        sample = function(jax.random.key(config.seed))._asdict()
        return sample | {name: np.asarray(sample[name]).astype(np.uint8) for name in ("labels", "members")}

    truth = folder.stage("drawing", drawn)
    return Seen(truth["image"], float(truth["pixel"]), truth)


def census(seen: Seen, layers: list[Columns], sheet: Sheet, threshold: float) -> dict:
    """How many columns of each class were found in each layer, their density and their bonds."""
    rows, columns = seen.image.shape
    area = rows * columns * seen.pixel**2
    metrics: dict = {"image": {"rows": rows, "columns": columns, "pixel_size_a": seen.pixel}}
    for number, layer in enumerate(layers, 1):
        metrics[f"layer_{number}"] = {
            "columns": len(layer.positions),
            **{name: int((layer.probabilities[:, c] > threshold).sum()) for c, name in enumerate(sheet.classes)},
            "columns_per_nm2": 100 * len(layer.positions) / area,
            **bonds(layer),
        }
    for number, twist in enumerate(twists(layers, sheet), 2):
        metrics[f"layer_{number}"] |= twist
    return metrics


def twists(layers: list[Columns], sheet: Sheet) -> list[dict]:
    """The angle between each layer but the first and the first, without the distortion that all share."""
    try:
        found = twist_from_atoms(
            [layer.positions for layer in layers], float(sheet.lattice), sigmas=[layer.errors for layer in layers]
        )
    except InputError:  # columns that are no lattice
        return [{"twist_deg": None, "twist_error_deg": None} for _ in layers[1:]]
    angles = np.rad2deg([found.twists[1:], found.twists_error[1:]])
    return [{"twist_deg": float(angle), "twist_error_deg": float(error)} for angle, error in angles.T]


def bonds(layer: Columns) -> dict:
    """The mean of the three bonds of each column, as projected, and their full width at half maximum."""
    lengths = bond_lengths(layer.positions) if len(layer.positions) > 3 else np.zeros(0)
    if not len(lengths):
        return {"bond_mean_a": None, "bond_fwhm_a": None}
    return {"bond_mean_a": float(lengths.mean()), "bond_fwhm_a": full_width(lengths)}


def atoms_of(layer: Columns, sheet: Sheet, threshold: float) -> Atoms:
    """The columns as atoms at z = 0; one of several species shares its weight among those above the threshold."""
    weights = layer.probabilities * (layer.probabilities > threshold)
    positions = np.pad(layer.positions, ((0, 0), (0, 1)))
    return Atoms(positions, weights / weights.sum(axis=1, keepdims=True), 0.0, sheet.classes)


def write(
    config: GombNetApplyConfig,
    folder: RunFolder,
    seen: Seen,
    prediction: Prediction,
    layers: list[Columns],
    sheet: Sheet,
    fit: dict | None,
    metrics: dict,
) -> None:
    """Write the atoms of each layer, columns.csv, results.h5, the figure and report.html."""
    threshold = config.network.threshold
    for number, layer in enumerate(layers, 1):
        with folder.writing(f"atoms_layer_{number}.extxyz") as file:
            save_atoms(file, atoms_of(layer, sheet, threshold), overwrite=True)
    with folder.writing("columns.csv") as file:
        save_table(file, table(seen, layers, sheet, fit))
    axes = "layer, row, column, class"
    with folder.writing("results.h5") as file:
        arrays = {
            "image": (seen.image, "as in the file", "row, column"),
            "probabilities": (prediction.mean, "1", axes),
            "spread": (prediction.spread, "1", axes),
        }
        if fit is not None:
            arrays["model"] = (fit["model"], "as in the file", "row, column")
            arrays["covariance"] = (fit["covariance"], "Å^2", "row of columns.csv, axis, axis")
        save_arrays(file, arrays, {"pixel_size_a": seen.pixel, "probabilities_pixel_size_a": prediction.pixel})
    of_classes = [
        [layer.positions[layer.probabilities[:, c] > threshold] for c in range(len(sheet.classes))] for layer in layers
    ]
    figure = layers_figure(seen.image, seen.pixel, prediction.mean, prediction.pixel, of_classes, sheet.classes)
    figures = [("Layers", "The middle of the image, the layers seen in it, and their columns.", figure)]
    if fit is not None:
        fitted = np.isfinite(fit["model"])
        inside = np.ix_(fitted.any(axis=1), fitted.any(axis=0))  # without the margin
        compared = before_after_figure(
            seen.image[inside][None], fit["model"][inside][None], seen.pixel, ("image", "model")
        )
        caption = "The middle of the image, the fitted columns through the fitted lens, and what they leave."
        figures.append(("Model", caption, compared))
    listed = save_figures(folder, figures)
    counts = " and ".join(str(len(layer.positions)) for layer in layers)
    write_report(
        folder.path / "report.html", f"jaxaet: {config.recipe}", f"{counts} columns in the layers.",
        folder.with_warnings(metrics), listed, None, dump_config(config),
        {"seed": config.seed, "precision": config.precision, "recipe": config.recipe},
    )  # fmt: skip


def table(seen: Seen, layers: list[Columns], sheet: Sheet, fit: dict | None) -> dict[str, np.ndarray]:
    """The columns of columns.csv: layer, place in Å with its error and in pixels, probability of each class."""
    errors = np.repeat(np.concatenate([layer.errors for layer in layers])[:, None], 2, axis=1)
    if fit is not None:
        errors = np.sqrt(np.diagonal(fit["covariance"], axis1=1, axis2=2))
    positions = np.concatenate([layer.positions for layer in layers])
    chances = np.concatenate([layer.probabilities for layer in layers])
    pixels = positions / seen.pixel + np.array(seen.image.shape[::-1]) // 2
    return {
        "layer": np.repeat(np.arange(1, len(layers) + 1), [len(layer.positions) for layer in layers]),
        "x_a": positions[:, 0],
        "y_a": positions[:, 1],
        "error_x_a": errors[:, 0],
        "error_y_a": errors[:, 1],
        "column_pixel": pixels[:, 0],
        "row_pixel": pixels[:, 1],
        **{f"probability_{name}": chances[:, c] for c, name in enumerate(sheet.classes)},
    }


def plan(config: GombNetApplyConfig) -> dict:
    """Shapes and time of the run on two CPU cores, good to a factor of two."""
    networks, about = members(config.network.weights)
    if config.data.path is None:
        shape, pixel = (config.drawn.pixels,) * 2, config.drawn.pixel_size_a
    else:
        image, pixel = load_image(config.data.path, config.data.key, config.data.pixel_size_a)
        shape = image.shape
    scale, tile = pixel / about["pixel"], config.network.tile
    side = [max(round(n * (scale if abs(scale - 1) >= 0.02 else 1)), tile) for n in shape]
    tiles = int(np.prod([len({min(start, n - tile) for start in range(0, n, tile // 2)}) for n in side]))
    passes = tiles * config.network.copies * len(networks)
    fitting = config.fit.max_steps and COMPILING + config.fit.max_steps * np.prod(shape) * SECONDS_PER_PIXEL
    return {
        "image": f"{shape[0]} × {shape[1]} pixels of {pixel:g} Å",
        "layers": about["layers"],
        "classes": ", ".join(about["classes"]),
        "tiles": f"{tiles}, of which {config.network.copies} copies each",
        "peak_memory_gb": round(0.6 + 2e-9 * config.network.copies * tile**2 * 300, 2),
        "estimated_time_s": round(8 + passes * SECONDS_PER_TILE * (tile / 256) ** 2 + fitting),
    }
