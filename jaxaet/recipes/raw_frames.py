"""The AET paper's front half without a hand on it: raw frames of a sheet → images → angles → volume → atoms."""

from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jaxaet.core import Frames, Images, InputError
from jaxaet.instrument import AnnularDetector, Beam, Microscope, StageVibration, Tilts
from jaxaet.inverse import Model, Poisson
from jaxaet.io import load_arrays, load_atoms, load_frames
from jaxaet.recipes.config import RawFramesConfig
from jaxaet.recipes.pipeline import dark_level
from jaxaet.recipes.planning import estimate
from jaxaet.recipes.restoration import Restored, restored
from jaxaet.recipes.results import r_factors, write_results
from jaxaet.recipes.run_folder import RunFolder
from jaxaet.recipes.score import score
from jaxaet.recipes.series import check_tilts, finished, first_model, repaired_rounds, unchanged
from jaxaet.recipes.suspicions import of_drift, of_images
from jaxaet.recipes.vibrating import vibrating, vibration_of
from jaxaet.restore import deconvolved
from jaxaet.specimen import Atoms

_BRIGHT = 0.99  # of all pixels are darker than the brightest
TRUTH = ("angles", "drift", "vibration_direction", "vibration_amplitude", "vibration_width")


def run(config: RawFramesConfig, folder: RunFolder) -> dict:
    """Find the atoms that the frames show; a truth that lies beside them is used for the score only."""
    truth = None if config.data.truth is None else load_truth(config.data.truth)
    found = restored(config, folder, load(config))
    images = found.images
    folder.warn(of_drift(found.drift))
    folder.warn(of_images(found.counts))
    model, first, extent = first_model(config, folder, images, microscope(config, images))
    # Poisson noise of the same variance: counts and mean are both raised by that of the read-out.
    counts = Images(found.counts.data + found.readout**2, images.angles, images.grid)
    seen = eqx.tree_at(lambda m: m.tilts, microscope(config, counts), model.microscope.tilts)
    model, losses = repaired_rounds(config, folder, counts, Poisson(), Model(model.atoms, seen), extent)
    data, kernel, adjusted = counts, None, unchanged
    if config.vibration.correction != "none":  # only now, for two atoms that are taken for one look like one that moves
        kernel = StageVibration(**folder.stage("vibration", lambda: vars(vibration_of(model, counts, config))))
        if config.vibration.correction == "deconvolution":
            data = deconvolved(counts, kernel)
        else:
            model = vibrating(model, kernel)
            adjusted = lambda model: vibrating(model, vibration_of(model, counts, config))  # noqa: E731
        model, more = repaired_rounds(config, folder, data, Poisson(), model, extent, adjusted, "vibrating_round")
        losses += more
    model, arrays = finished(config, folder, data, Poisson(), model, extent, losses, first)
    metrics: dict = {"atoms": len(model.atoms), "gain": found.gain, "readout_of_the_sum_counts": found.readout}
    metrics |= {"frames_left_out": int((~np.asarray(found.drift.kept)).sum()), "stage_seconds": folder.stage_seconds}
    metrics |= r_factors(data, arrays, Poisson())
    errors, angles = {}, None
    if truth is not None:
        compared, errors, angles = against_truth(*truth, model, found, kernel)
        metrics |= compared
    write_results(config, folder, data, model, arrays, metrics, errors, angles, found.figures())
    return metrics


def load(config: RawFramesConfig) -> Frames:
    """The frames of the config, with the pixel size and angles that the config gives instead of the file's."""
    angles = None if config.data.angles_deg is None else np.deg2rad(np.asarray(config.data.angles_deg, float))
    frames = load_frames(config.data.path, config.data.pixel_size_a, angles)
    check_tilts(config.data.path, frames)
    if np.quantile(frames.data, _BRIGHT) <= 0:
        raise InputError(
            f"The brightest pixels of {config.data.path} are not above 0, so they count no electrons; turn the sign, "
            "or add the subtracted offset again."
        )
    return frames


def microscope(config: RawFramesConfig, images: Images) -> Microscope:
    """The instrument as configured, the dose shared evenly by its images, over the darkest parts of each image."""
    options = config.instrument
    dose = options.dose_e_per_a2 / len(images.data)
    beam = Beam(1e3 * options.energy_kev, 1e-3 * options.semi_angle_mrad, options.source_size_a, dose)
    detector = AnnularDetector(1e-3 * options.detector_inner_mrad, 1e-3 * options.detector_outer_mrad)
    return Microscope(beam, detector, Tilts(images.angles), images.grid, 1.0, dark_level(images))


def load_truth(file: Path) -> tuple[dict[str, np.ndarray], Atoms]:
    """The arrays of a truth.h5 and the atoms beside it. Raises `InputError` without them."""
    arrays = load_arrays(file)
    missing = [name for name in TRUTH if name not in arrays]
    if missing:
        raise InputError(
            f"{file} has no {missing[0]}; give the truth.h5 of a simulation, with its atoms.extxyz beside it, or leave "
            "data.truth out."
        )
    return arrays, load_atoms(file.with_name("atoms.extxyz"))


def against_truth(
    truth: dict[str, np.ndarray], atoms: Atoms, model: Model, found: Restored, kernel: StageVibration | None
) -> tuple[dict, dict, tuple[np.ndarray, np.ndarray] | None]:
    """What `score` says, and metrics against more of the truth that a simulation kept apart.

    `kernel`: the vibration that was found first, if any.
    """
    metrics, errors, angles = score(model, atoms, np.deg2rad(truth["angles"]))
    path = np.asarray(found.drift.path(truth["drift"].shape[2]), float) - truth["drift"]
    path -= path.mean(axis=(1, 2), keepdims=True)  # where an image lies as a whole is not drift
    metrics["drift_rms_error_pm"] = 100 * float(np.sqrt(np.mean(np.sum(path**2, axis=-1))))
    vibration = model.microscope.vibration or kernel
    if vibration is not None:
        true = StageVibration(*(truth[f"vibration_{name}"] for name in ("direction", "amplitude", "width")))
        true = eqx.tree_at(lambda v: v.direction, true, jnp.deg2rad(true.direction))
        one, other = strokes(vibration), strokes(true)
        off = np.minimum(np.linalg.norm(one - other, axis=1), np.linalg.norm(one + other, axis=1))
        metrics["vibration_rms_error_pm"] = 100 * float(np.sqrt(np.mean(off**2)))
        metrics["vibration_pm"] = (100 * np.linalg.norm(one, axis=1)).tolist()
        metrics["vibration_true_pm"] = (100 * np.linalg.norm(other, axis=1)).tolist()
    return metrics, errors, angles


def strokes(vibration: StageVibration) -> np.ndarray:
    """The rms displacement of each image along its line, (k, 2) Å; its sign means nothing."""
    rms = jnp.sqrt(0.5 * vibration.amplitude**2 + vibration.width**2)
    line = jnp.stack([jnp.cos(vibration.direction), jnp.sin(vibration.direction)], axis=1)
    return np.asarray(rms[:, None] * line, float)


def plan(config: RawFramesConfig) -> dict:
    """Shapes, memory and time of the run."""
    frames = load(config)
    images, count, ny, nx = frames.data.shape
    sampling = float(frames.grid.sampling)
    expected = int(min(ny * nx * sampling**2 * 0.1, config.refinement.max_atoms))
    thickness = config.reconstruction.thickness_a or 16.0
    planned = estimate(images, (ny, nx), sampling, expected, thickness, config)
    return {"frames": f"{count} of each image", **planned}
