"""What a run leaves behind: atoms, arrays, figures and the report."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxaet.core import Images
from jaxaet.forward import count
from jaxaet.inverse import Gaussian, Model, Poisson, r1_factor, r_factor
from jaxaet.io import save_arrays, save_atoms
from jaxaet.recipes.config import Config
from jaxaet.recipes.config_file import dump_config
from jaxaet.recipes.run_folder import RunFolder
from jaxaet.viz import (
    angles_figure,
    atoms_figure,
    atoms_view,
    convergence_figure,
    error_bar_map,
    error_figure,
    save_figure,
    tilt_series_figure,
    volume_figure,
    write_report,
)


def r_factors(images: Images, arrays: dict, likelihood: Poisson | Gaussian) -> dict:
    """The R factors in percent, of counts also those that a model without any fault would have, and how the fit ended.

    Counting noise has strong Fourier coefficients where the specimen has none, so R is high even then.
    """
    found = {"r1_percent": 100 * arrays["r1"], "r_percent": 100 * arrays["r"], "result": arrays["result"]}
    if isinstance(likelihood, Poisson):
        mean = Images(jnp.asarray(arrays["images"]), images.angles, images.grid)
        counts = count(mean, jax.random.key(0)).data
        for name, factor in (("r1", r1_factor), ("r", r_factor)):
            found[f"{name}_of_counting_percent"] = 100 * float(eqx.filter_jit(factor)(counts, mean.data))
    return found


def write_results(
    config: Config,
    folder: RunFolder,
    images: Images,
    model: Model,
    arrays: dict,
    metrics: dict,
    errors: dict,
    angles: tuple[np.ndarray, np.ndarray] | None,
    more_figures: Sequence[tuple[str, str, Any]] = (),
) -> None:
    """Write atoms.extxyz, results.h5, the figures and report.html into the folder.

    `angles`: those found, turned onto the truth, and the true ones, rad. `more_figures`: (title, caption, figure) to
    come first.
    """
    atoms, sampling = model.atoms, float(images.grid.sampling)
    positions, symbols = np.asarray(atoms.positions), list(atoms.symbols)
    covariance = arrays.get("covariance")
    sigma = None if covariance is None else np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    with folder.writing("atoms.extxyz") as path:
        save_atoms(path, atoms, sigma, overwrite=True)
    data, fitted = np.asarray(images.data), np.asarray(arrays["images"])
    found = np.rad2deg(np.asarray(model.microscope.tilts.angles))
    with folder.writing("results.h5") as path:
        save_arrays(
            path,
            {
                "images": (data, "counts", "image, row, column"),
                "model_images": (fitted, "counts", "image, row, column"),
                "residuals": (data - fitted, "counts", "image, row, column"),
                "angles": (found, "degrees", "image, (Z Y X)"),
                "shifts": (np.asarray(model.microscope.tilts.shifts), "Å", "image, (x y)"),
                "volume": (arrays["volume"], "counts per voxel", "x, y, z"),
                "losses": (arrays["losses"], "1", "step"),
            },
            {"pixel_size_a": sampling, "voxel_size_a": arrays["voxel_a"]},
        )
    listed = save_figures(folder, more_figures)
    listed += draw_figures(folder, images, model, arrays, metrics, errors, angles, sigma)
    view = atoms_view(positions, symbols, sigma, title="Refined atoms")
    counting = metrics.get("r1_of_counting_percent")
    alone = "" if counting is None else f" (counting noise alone: {counting:.2f} %)"
    summary = (
        f"{len(atoms)} atoms from {len(data)} images; R1 = {metrics['r1_percent']:.2f} %{alone}. {metrics['result']}"
    )
    provenance = {"seed": config.seed, "precision": config.precision, "recipe": config.recipe}
    write_report(
        folder.path / "report.html",
        f"jaxaet: {config.recipe}",
        summary,
        folder.with_warnings(metrics),
        listed,
        view,
        dump_config(config),
        provenance,
    )


def draw_figures(
    folder, images: Images, model: Model, arrays: dict, metrics: dict, errors: dict, angles, sigma
) -> list:
    """Save the figures and list them as (title, caption, path)."""
    positions, symbols = np.asarray(model.atoms.positions), list(model.atoms.symbols)
    sampling, data, fitted = float(images.grid.sampling), np.asarray(images.data), np.asarray(arrays["images"])
    found = np.rad2deg(np.asarray(model.microscope.tilts.angles))
    nominal = np.rad2deg(np.asarray(images.angles))
    calibrated, true = (found, None) if angles is None else np.rad2deg(angles)
    turned = "" if angles is None else " These are turned as a whole onto the truth, as for the score."
    figures = [
        ("Atoms", "Top and side view.", atoms_figure(positions, symbols, sigma)),
        ("Images", "Data, model and residual.", tilt_series_figure(data, fitted, sampling, found)),
        ("Angles", f"Nominal and found tilt angles.{turned}", angles_figure(nominal, calibrated, true)),
        ("First volume", "Before tracing.", volume_figure(arrays["volume"], arrays["voxel_a"])),
        ("Convergence", "Loss after each step of all fits.", convergence_figure(arrays["losses"])),
    ]
    if sigma is not None:
        figures.insert(1, ("Error bars", "Standard deviation of each coordinate.", error_bar_map(positions, sigma)))
    if errors and "cramer_rao_xyz_pm" in metrics:
        bounds = metrics["cramer_rao_xyz_pm"]
        figures.insert(1, ("Errors", "Error along each axis against its bound.", error_figure(errors, bounds)))
    return save_figures(folder, figures)


def save_figures(folder: RunFolder, figures: Sequence[tuple[str, str, Any]]) -> list:
    """Save figures of (title, caption, figure) and list them as (title, caption, path)."""
    listed = []
    for title, caption, figure in figures:
        path = folder.path / "figures" / f"{title.lower().replace(',', '').replace(' ', '_')}.png"
        save_figure(figure, path)
        listed.append((title, caption, path))
    return listed
