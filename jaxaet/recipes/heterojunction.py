"""The AET paper's experiment: simulated, solved without the answer, and scored against the truth."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxaet.core import Grid, Images
from jaxaet.forward import Linear, count
from jaxaet.instrument import AnnularDetector, Beam, Microscope, Tilts
from jaxaet.inverse import Model, Poisson
from jaxaet.recipes.config import DynamicConfig, HeterojunctionConfig
from jaxaet.recipes.planning import estimate
from jaxaet.recipes.results import r_factors, write_results
from jaxaet.recipes.run_folder import RunFolder
from jaxaet.recipes.score import score
from jaxaet.recipes.series import error_bars, solve_series
from jaxaet.specimen import Atoms, paper_heterojunction


def run(config: HeterojunctionConfig, folder: RunFolder) -> dict:
    """Simulate the twelve images, find angles, atoms and coordinates from them, and report."""
    specimen_key, noise_key = jax.random.split(jax.random.key(config.seed))
    truth = paper_heterojunction(specimen_key, config.specimen.interface)
    true_microscope = microscope(config, Tilts.heterojunction())

    def simulate() -> dict:
        mean = Linear.plan(truth, true_microscope)(truth, true_microscope)
        return {"counts": np.asarray(count(mean, noise_key).data)}

    counts = folder.stage("simulation", simulate)["counts"]
    start = microscope(config, Tilts.heterojunction_nominal())
    images = Images(counts, start.tilts.angles, start.grid)
    model, arrays = solve_series(config, folder, images, start, Poisson())
    metrics, errors, angles = score(model, truth, np.asarray(true_microscope.tilts.angles))
    metrics |= r_factors(images, arrays, Poisson())
    metrics |= against_bound(config, folder, images, truth, true_microscope, metrics["rmsd_pm"])
    write_results(config, folder, images, model, arrays, metrics, errors, angles)
    return metrics


def microscope(config: HeterojunctionConfig | DynamicConfig, tilts: Tilts) -> Microscope:
    """The microscope of the paper, with the dose of the series shared evenly by its images."""
    options = config.instrument
    beam = Beam(
        1e3 * options.energy_kev,
        1e-3 * options.semi_angle_mrad,
        options.source_size_a,
        options.dose_e_per_a2 / len(tilts.angles),
    )
    detector = AnnularDetector(1e-3 * options.detector_inner_mrad, 1e-3 * options.detector_outer_mrad)
    return Microscope(
        beam, detector, tilts, Grid(options.image_pixels, options.pixel_size_a), 1.0, options.background_counts
    )


def against_bound(config, folder, images, truth: Atoms, true_microscope: Microscope, rmsd_pm: dict) -> dict:
    """The Cramér-Rao bound of each species at the truth, with all that was free in the fit, and rmsd against it."""
    if not config.error_bars:
        return {}
    response = jnp.ones(len(truth.species))
    known = Model(truth, Microscope(
        true_microscope.beam, AnnularDetector(true_microscope.detector.inner, true_microscope.detector.outer, response),
        true_microscope.tilts, true_microscope.grid, true_microscope.scale, true_microscope.offset,
    ))  # fmt: skip
    covariance = folder.stage("bound", lambda: {"covariance": error_bars(known, images, Poisson(), config)})[
        "covariance"
    ]
    variance = 1e4 * np.diagonal(covariance, axis1=1, axis2=2)
    bound, axes, efficiency = {}, {}, {}
    for label, name in enumerate(truth.species):
        mean = variance[truth.labels == label].mean(axis=0)
        bound[name], axes[name] = float(np.sqrt(mean.sum())), np.sqrt(mean).tolist()
        efficiency[name] = bound[name] / rmsd_pm[name] if rmsd_pm[name] else None
    return {"cramer_rao_pm": bound, "cramer_rao_xyz_pm": axes, "efficiency": efficiency}


def plan(config: HeterojunctionConfig) -> dict:
    """Shapes, memory and time of the run."""
    thickness = config.reconstruction.thickness_a or 16.0
    return estimate(12, config.instrument.image_pixels, config.instrument.pixel_size_a, 1886, thickness, config)
