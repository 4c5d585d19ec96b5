"""Anybody's tilt series turned into atoms, from the projections and nominal angles alone."""

import equinox as eqx
import numpy as np

from jaxaet.core import Images
from jaxaet.instrument import AnnularDetector, Beam, Microscope, Tilts
from jaxaet.inverse import Poisson
from jaxaet.io import TiltSeries, check_counts, load_tilt_series
from jaxaet.recipes.config import TiltSeriesConfig
from jaxaet.recipes.pipeline import dark_level, likelihood_of
from jaxaet.recipes.planning import estimate
from jaxaet.recipes.repair import views
from jaxaet.recipes.results import r_factors, write_results
from jaxaet.recipes.run_folder import RunFolder
from jaxaet.recipes.score import score
from jaxaet.recipes.series import check_tilts, default_extent, solve_series
from jaxaet.recipes.suspicions import of_images
from jaxaet.restore import centre_of_mass, common_line

ALIGNMENTS = {"none": lambda *_: None, "centre_of_mass": centre_of_mass, "common_line": common_line}


def run(config: TiltSeriesConfig, folder: RunFolder) -> dict:
    """Find the atoms of the series; a truth that the file carries is used for the score only."""
    series = load(config)
    images = series.images
    likelihood = likelihood_of(images, config.data.likelihood)
    if isinstance(likelihood, Poisson):
        check_counts(images)
    folder.warn(of_images(images))
    model, arrays = solve_series(config, folder, images, microscope(config, images), likelihood)
    in_every_image = int((views(model) == len(images.data)).sum())
    metrics: dict = {"atoms": len(model.atoms), "atoms_in_every_image": in_every_image}
    metrics |= {"likelihood": type(likelihood).__name__.lower()}
    metrics |= r_factors(images, arrays, likelihood)
    errors, angles = {}, None
    if series.truth is not None:
        known = None if series.truth_angles is None else np.asarray(series.truth_angles)
        compared, errors, angles = score(model, series.truth, known)
        metrics |= compared
    write_results(config, folder, images, model, arrays, metrics, errors, angles)
    return metrics


def load(config: TiltSeriesConfig) -> TiltSeries:
    """The series of the config, with the pixel size and angles that the config gives instead of the file's."""
    angles = None if config.data.angles_deg is None else np.deg2rad(np.asarray(config.data.angles_deg, float))
    series = load_tilt_series(config.data.path, config.data.pixel_size_a, angles)
    check_tilts(config.data.path, series.images)
    return series


def microscope(config: TiltSeriesConfig, images: Images) -> Microscope:
    """The instrument as configured, with the background of each image from its darkest parts."""
    options = config.instrument
    beam = Beam(1e3 * options.energy_kev, 1e-3 * options.semi_angle_mrad, options.source_size_a, 1.0)
    detector = AnnularDetector(1e-3 * options.detector_inner_mrad, 1e-3 * options.detector_outer_mrad)
    background = dark_level(images)
    tilts = Tilts(images.angles, ALIGNMENTS[config.calibration.alignment](images, background))
    seen = Microscope(beam, detector, tilts, images.grid, 1.0, background)
    brightness = float(np.max(images.data) - np.median(background))
    return eqx.tree_at(lambda m: m.beam.dose, seen, seen.beam.dose * brightness)


def plan(config: TiltSeriesConfig) -> dict:
    """Shapes, memory and time of the run."""
    images = load(config).images
    extent = default_extent(images, config)
    expected = int(min(np.prod(extent) * 0.06, config.refinement.max_atoms))
    return estimate(len(images.data), images.grid.shape, float(images.grid.sampling), expected, extent[2], config)
