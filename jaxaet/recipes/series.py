"""The stages that turn a tilt series into atoms with error bars, each kept in the run folder."""

from collections.abc import Callable
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jaxaet.core import Frames, Images, InputError, rotation_matrix
from jaxaet.instrument import Beam, Microscope, StageVibration, Tilts
from jaxaet.inverse import (
    LARGEST,
    Gaussian,
    Model,
    Poisson,
    calibrate_angles,
    find_peaks,
    fisher,
    fit_peaks,
    isolated_bound,
    match_sheet,
    mimicked,
)
from jaxaet.recipes import pipeline, repair
from jaxaet.recipes.config import Config
from jaxaet.recipes.dynamical import dynamical
from jaxaet.recipes.run_folder import RunFolder
from jaxaet.recipes.suspicions import of_volume
from jaxaet.specimen import Atoms

Adjust = Callable[[Model], Model]

_FEWEST, _SMALLEST = 3, 16  # tilts, and pixels on a side
_VOXELS = 5e8  # of the first volume
_ROUND_STEPS = 6
_ON_FRAME = 0.2  # of the mean brightness: a brighter edge belongs to a specimen that goes on beyond it
_GAIN = 20.0  # what a round must take off the negative log-likelihood to be followed by another


def unchanged(model: Model) -> Model:
    """The model as it is."""
    return model


def solve_series(
    config: Config, folder: RunFolder, images: Images, start: Microscope, likelihood: Poisson | Gaussian
) -> tuple[Model, dict]:
    """The refined model, and arrays for the report: nominal and start angles, losses, model images, sigma, volume.

    `start`: the microscope as far as it is known; its angles are the nominal ones. Every stage is kept in `folder`,
    so a run that was killed goes on after the last one that ended.
    """
    model, first, extent = first_model(config, folder, images, start)
    model, losses = repaired_rounds(config, folder, images, likelihood, model, extent)
    return finished(config, folder, images, likelihood, model, extent, losses, first)


def first_model(
    config: Config, folder: RunFolder, images: Images, start: Microscope
) -> tuple[Model, dict, tuple[float, float, float]]:
    """Traced atoms of one kind, the arrays of the first volume, and the extent in Å of what the images show."""
    extent = default_extent(images, config)
    microscope = start
    if config.calibration.angles == "from_scratch":
        found = folder.stage("angles", lambda: calibrated(images, start, config))
        tilts = Tilts(found["angles"], found["shifts"])
        microscope = eqx.tree_at(lambda m: m.tilts, start, tilts)
        if config.reconstruction.thickness_a is None:
            extent = (*extent[:2], float(np.ptp(found["heights"])) + 8.0)

    voxels = np.prod(np.asarray(extent) / config.reconstruction.voxel_a)
    if voxels > _VOXELS:
        raise InputError(
            f"The first volume would have {voxels:.1e} voxels; allowed {_VOXELS:.0e}; "
            "check the pixel size, or give a larger reconstruction.voxel_a."
        )
    with folder.progress(pipeline.volume_steps(extent, config), "first volume") as tick:
        first = folder.stage("volume", lambda: first_stage(images, microscope, config, extent, tick))
    model = to_model(first, microscope)
    folder.warn(of_volume(model, extent[2], config.reconstruction.voxel_a))
    return model, first, seen_extent(images, extent)


def finished(
    config: Config,
    folder: RunFolder,
    images: Images,
    likelihood,
    model: Model,
    extent,
    losses: list[float],
    first: dict,
) -> tuple[Model, dict]:
    """Species, the refinement of everything together, perhaps by multislice, and error bars."""
    with folder.progress(config.refinement.max_steps, "refinement") as tick:
        data = folder.stage("refinement", lambda: final_stage(model, images, likelihood, config, extent, tick))
    losses = losses + list(np.atleast_1d(data["losses"]))
    model = pipeline.over_background(to_model(data, model.microscope), images, config)
    arrays = {"losses": np.asarray(losses), "volume": first["volume"], "voxel_a": config.reconstruction.voxel_a}
    arrays |= {name: data[name] for name in ("images", "r1", "r", "result")}
    if config.dynamic.rounds:
        model, found = dynamical(config, folder, images, likelihood, model)
        losses += list(found.pop("losses"))
        arrays |= found | {"losses": np.asarray(losses)}
    if config.error_bars:
        linear = mimicked(model, jnp.asarray(arrays["images"])) if config.dynamic.rounds else model
        bars = folder.stage("error_bars", lambda: {"covariance": error_bars(linear, images, likelihood, config)})
        arrays["covariance"] = bars["covariance"]
    return model, arrays


def repaired_rounds(
    config, folder, images, likelihood, model: Model, extent, adjusted: Adjust = unchanged, name: str = "round"
) -> tuple[Model, list[float]]:
    """The best fit of positions and weights over rounds of repair, and all losses; a round of no use is the last.

    `adjusted`: what becomes of a fitted model before it is repaired.
    """
    best, lowest, losses = model, np.inf, []
    for number in range(1, config.tracing.rounds + 1):
        with folder.progress(_ROUND_STEPS, f"{name} {number}".replace("_", " ")) as tick:
            data = folder.stage(
                f"{name}_{number}",
                lambda model=model, tick=tick: round_stage(model, images, likelihood, config, extent, adjusted, tick),
            )
        losses += list(np.atleast_1d(data["losses"]))
        gain = lowest - losses[-1]
        if gain > 0:
            best, lowest = to_model(data, model.microscope), losses[-1]
        if not data["changed"] or gain < _GAIN * 2 * lowest / images.data.size:
            break
        if not data["added"]:  # fewer atoms never fit better, so the next round is compared with none before
            lowest = np.inf
        following = {name.removeprefix("next_"): data[name] for name in data if name.startswith("next_")}
        model = to_model(following, model.microscope)
    return best, losses


def calibrated(images: Images, start: Microscope, config: Config) -> dict:
    """Angles and shifts from the images alone (AET paper, equation 1)."""
    sampling, data = float(images.grid.sampling), np.asarray(images.data, float)
    nothing = Atoms(np.zeros((0, 3)), np.zeros((0, 1)), 0.0, pipeline.species_of(config)[:1])
    width = pipeline.atom_width(nothing, start)
    backgrounds = np.asarray(start.offset, float)
    peaks = [find_peaks(image, sampling, 0.65 * width, low)[0] for image, low in zip(data, backgrounds, strict=True)]
    if min(len(points) for points in peaks) < 8:
        raise InputError(
            "An image shows fewer than 8 peaks, too few to find its angle; set calibration.angles to refine."
        )
    peaks, _ = fit_peaks(data, peaks, sampling, 0.8 * width)
    result = calibrate_angles(match_sheet(peaks), np.asarray(start.tilts.angles, float))
    return {
        "angles": result.angles, "shifts": result.shifts, "heights": result.positions[:, 2],
        "residual_a": result.residual,
    }  # fmt: skip


def first_stage(images, microscope, config, extent, tick) -> dict:
    """The first volume and the atoms traced in it."""
    atoms, volume = pipeline.first_atoms(images, microscope, config, extent, tick)
    return {**to_arrays(Model(atoms, microscope)), "volume": volume.astype(np.float32)}


def round_stage(model, images, likelihood, config, extent, adjusted: Adjust, tick) -> dict:
    """One round: fit positions and weights, and say what the next round should start from."""
    solution = pipeline.fit(model, images, likelihood, config, True, _ROUND_STEPS, tick)
    repaired, removed, added = repair.repaired(adjusted(solution.model), images, likelihood, config, extent)
    following = {f"next_{name}": value for name, value in to_arrays(repaired).items()}
    return {
        **to_arrays(solution.model), **following, "losses": solution.losses, "removed": removed, "added": added,
        "changed": removed + added > 0,
    }  # fmt: skip


def final_stage(model, images, likelihood, config, extent, tick) -> dict:
    """Weights once more, species, and the refinement of everything together."""
    atoms, _ = repair.pruned(model, config, extent)
    quietly = lambda *_, **__: None  # noqa: E731
    model = pipeline.fit(Model(atoms, model.microscope), images, likelihood, config, True, _ROUND_STEPS, quietly).model
    atoms, _ = repair.pruned(model, config, extent)
    model = pipeline.classified(Model(atoms, model.microscope), config)
    solution = pipeline.fit(model, images, likelihood, config, False, config.refinement.max_steps, tick)
    return {
        **to_arrays(solution.model), "losses": solution.losses, "images": np.asarray(solution.images),
        "r1": float(solution.r1), "r": float(solution.r), "result": solution.result,
    }  # fmt: skip


def error_bars(model: Model, images: Images, likelihood, config: Config) -> np.ndarray:
    """Covariance of each position, (n, 3, 3) Å²: the Cramér-Rao bound times the spread of the residuals.

    Of so many atoms that their joint bound would not fit in memory, that of each one alone, which is lower.
    """
    problem = pipeline.problem_of(model, images, likelihood, config, False)
    spread = 1.0
    if isinstance(likelihood, Gaussian):
        spread = float(2 * eqx.filter_jit(lambda p: p.loss(p.leaves))(problem) / images.data.size)
    parameters = sum(value.size for value in problem.pack(problem.leaves).values())
    return spread * (fisher(problem) if parameters <= LARGEST else isolated_bound(problem))


def check_tilts(path: Path, series: Images | Frames) -> None:
    """Raises `InputError` for a series that cannot show atoms in three dimensions."""
    count, (rows, columns) = len(series.data), series.grid.shape
    if count < _FEWEST:
        raise InputError(f"{path} has {count} tilt{'s' * (count > 1)}; 3D needs at least {_FEWEST}, so add more.")
    if np.ptp(np.asarray(series.angles), axis=0).max() < 1e-3:
        raise InputError(f"All images of {path} have the same angle; 3D needs different tilts.")
    if min(rows, columns) < _SMALLEST:
        raise InputError(
            f"{path} has images of {rows} × {columns} pixels; allowed {_SMALLEST} and more on either side."
        )


def default_extent(images: Images, config: Config) -> tuple[float, float, float]:
    """Size of the volume in Å: the field of view, and along the beam the same unless the tilts are too few to tell."""
    height, width = (n * float(images.grid.sampling) for n in images.grid.shape)
    steep = np.max(np.abs(np.asarray(images.angles)[:, 1:])) > np.deg2rad(45)
    thickness = config.reconstruction.thickness_a or (max(height, width) if steep else 20.0)
    return width, height, thickness


def seen_extent(images: Images, extent: tuple[float, float, float]) -> tuple[float, float, float]:
    """Size in Å of the volume of which some image shows something, where the specimen goes on beyond the images.

    Tilted views of a film show atoms beside the field of the untilted one. A specimen that ends inside every image
    is not extended.
    """
    data = np.abs(np.asarray(images.data, float) - np.percentile(images.data, 1))
    frame = [data[:, edge].mean() for edge in (0, -1)], [data[:, :, edge].mean() for edge in (0, -1)]
    rotation = np.asarray(rotation_matrix(images.angles), float)
    seen = list(extent)
    for axis, edges in ((0, frame[1]), (1, frame[0])):
        if max(edges) > _ON_FRAME * data.mean():
            steep, beam = np.abs(rotation[:, axis, axis]), np.abs(rotation[:, 2, axis])
            seen[axis] = float(np.max((extent[axis] + extent[2] * beam) / np.maximum(steep, 1 / 3)))
    return seen[0], seen[1], seen[2]


def to_arrays(model: Model) -> dict:
    """A model as the flat arrays of a checkpoint, but for the background."""
    atoms, microscope = model.atoms, model.microscope
    vibration = {} if microscope.vibration is None else vars(microscope.vibration)
    return {
        **{f"vibration_{name}": np.asarray(value) for name, value in vibration.items()},
        "positions": np.asarray(atoms.positions),
        "composition": np.asarray(atoms.composition),
        "u2": np.asarray(atoms.u2),
        "species_u2": np.asarray(atoms.species_u2),
        "species": ",".join(atoms.species),
        "angles": np.asarray(microscope.tilts.angles),
        "shifts": np.asarray(microscope.tilts.shifts),
        "scale": np.asarray(microscope.scale),
        "offset": np.asarray(microscope.offset),
        "response": np.asarray(microscope.annular.response),
        "dose": np.asarray(microscope.beam.dose),
        "semi_angle": np.asarray(microscope.beam.semi_angle),
    }


def to_model(arrays: dict, microscope: Microscope) -> Model:
    """The model of a checkpoint, on the instrument it was made with."""
    tilts = Tilts(arrays["angles"], arrays["shifts"])
    beam = Beam(microscope.beam.energy, arrays["semi_angle"], microscope.beam.source_size, arrays["dose"])
    detector = eqx.tree_at(lambda d: d.response, microscope.detector, jnp.asarray(arrays["response"], dtype=float))
    vibration = microscope.vibration
    if "vibration_width" in arrays:
        vibration = StageVibration(*(arrays[f"vibration_{name}"] for name in ("direction", "amplitude", "width")))
    seen = Microscope(
        beam, detector, tilts, microscope.grid, arrays["scale"], arrays["offset"], vibration, microscope.background
    )
    species = tuple(str(arrays["species"]).split(","))
    atoms = Atoms(arrays["positions"], arrays["composition"], arrays["u2"], species, arrays["species_u2"])
    return Model(atoms, seen)
