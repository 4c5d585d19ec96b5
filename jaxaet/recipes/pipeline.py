"""Images → atoms: the way that both recipes share.

First volume, tracing, fitting, species. What `repair` changes between fits is in its own file.
"""

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.ndimage import gaussian_filter

from jaxaet.core import Images, InputError, Volume
from jaxaet.forward import Linear, probe_profile
from jaxaet.instrument import Microscope
from jaxaet.inverse import Gaussian, GaussNewton, Model, Poisson, Problem, Smooth, Solution, solve
from jaxaet.recipes.config import Config
from jaxaet.specimen import Atoms
from jaxaet.tomography import (
    Deblurring,
    Genfire,
    Resire,
    Windows,
    classify,
    reconstruct,
    scanned,
    species_weights,
    trace,
    voxels,
)

Tick = Callable[..., None]


def atom_width(atoms: Atoms, microscope: Microscope) -> float:
    """Rms width in Å of the Gaussian with the area and the peak of an atom's image, averaged over the atoms."""
    amplitudes, variances = probe_profile(atoms.species, microscope.beam, microscope.annular)
    variances = variances[None] + atoms.species_u2[:, None] + (jnp.mean(atoms.u2) if len(atoms) else 0.0)
    return float(jnp.mean(jnp.sqrt(amplitudes.sum(axis=1) / (amplitudes / variances).sum(axis=1))))


def first_atoms(images: Images, microscope: Microscope, config: Config, extent, tick: Tick) -> tuple[Atoms, np.ndarray]:
    """Atoms of one kind traced from a first volume, and the volume.

    Each weight is in units of an atom of the first species. Raises `InputError` if no atoms are found.
    """
    species = species_of(config)[:1]
    nothing = Atoms(np.zeros((0, 3)), np.zeros((0, 1)), 0.0, species)
    width = atom_width(nothing, microscope)
    clean = Images(images.data - microscope.pedestal, microscope.tilts.angles, images.grid)
    volume = first_volume(clean, width, extent, config, microscope.tilts.shifts, tick)
    positions, heights = trace(volume, config.tracing.min_distance_a, 0.7 * config.reconstruction.voxel_a, 0.05)
    if len(positions) == 0:
        raise InputError(
            "No atoms were found in the volume; check the angles, give a larger reconstruction.thickness_a, or a "
            "smaller tracing.min_distance_a."
        )
    if len(positions) > config.refinement.max_atoms:
        raise InputError(
            f"{len(positions)} atoms were traced, more than refinement.max_atoms {config.refinement.max_atoms}; "
            "raise it, or give a larger tracing.min_distance_a."
        )
    atoms = Atoms(positions, heights[:, None] / np.median(heights), 0.0, species)
    return brightened(atoms, images, microscope), np.asarray(volume.data)


def first_volume(images: Images, width: float, extent, config: Config, shifts, tick: Tick) -> Volume:
    """The volume by the method of the configuration, as a whole or window by window; `width`: of an atom's image, Å."""
    options = config.reconstruction
    methods = {"genfire": Genfire, "resire": Resire, "deblurring": partial(Deblurring, width)}
    method = methods[options.method](iterations=options.iterations)
    show = lambda step, left: tick(step, residual=left)  # noqa: E731
    if options.window_voxels is None:
        return reconstruct(images, method, extent, options.voxel_a, shifts, show)
    return scanned(images, method, windows(config), extent, options.voxel_a, shifts, show)


def volume_steps(extent, config: Config) -> int:
    """How many steps `first_volume` reports at most: iterations, or windows."""
    options = config.reconstruction
    if options.window_voxels is None:
        return options.iterations
    nx, ny = (-(-n // windows(config).step) for n in voxels(extent, options.voxel_a)[:2])
    return nx * ny


def windows(config: Config) -> Windows:
    """The windows of the configuration; half of each is kept."""
    side = config.reconstruction.window_voxels or 60
    return Windows(side, side // 2)


def brightened(atoms: Atoms, images: Images, microscope: Microscope) -> Atoms:
    """The atoms with all weights multiplied by the one factor that fits the images best."""
    model = eqx.filter_jit(Linear.plan(atoms, microscope))(atoms, microscope).data - microscope.pedestal
    data = images.data - microscope.pedestal
    factor = jnp.sum(data * model) / jnp.sum(model**2)
    return eqx.tree_at(lambda a: a.composition, atoms, atoms.composition * jnp.maximum(factor, 1e-6))


def free_leaves(config: Config, weights: bool) -> Callable[[Model], tuple]:
    """Which leaves move.

    Always positions, background and, unless fixed, angles and shifts. While atoms are of one kind (`weights`) each
    one's weight; then the response to each species. The brightness of each image, the probe and the width of an atom
    too, but not beside the weights of a calibrated instrument: there too wide an atom is two atoms.
    """
    known = weights and config.recipe != "tilt_series"

    def free(model: Model) -> tuple:
        atoms, microscope = model.atoms, model.microscope
        leaves = [atoms.positions]
        if config.refinement.background_a is None:
            leaves.append(microscope.offset)
        leaves.append(atoms.composition if weights else microscope.annular.response)
        if not known:
            leaves += [microscope.scale] + ([] if config.recipe == "raw_frames" else [microscope.beam.semi_angle])
            leaves.append(atoms.u2 if config.refinement.u2 == "per_atom" and not weights else atoms.species_u2)
        if config.calibration.angles != "fixed":
            leaves += [microscope.tilts.angles, microscope.tilts.shifts]
        return tuple(leaves)

    return free


def fit(model: Model, images: Images, likelihood, config: Config, weights: bool, steps: int, tick: Tick) -> Solution:
    """Refine the free leaves of a model against the images."""
    problem = problem_of(model, images, likelihood, config, weights)
    method = GaussNewton(max_steps=steps, tolerance=config.refinement.tolerance, damping=1e-2 if weights else 1e-4)
    return solve(problem, method, lambda step, loss: tick(step, loss=loss))


def problem_of(model: Model, images: Images, likelihood, config: Config, weights: bool) -> Problem:
    """What `fit` solves."""
    width = config.refinement.background_a
    forward, free = Linear.plan(model.atoms, model.microscope), free_leaves(config, weights)
    return Problem(forward, model, images, free, likelihood, None if width is None else Smooth.of(images.grid, width))


def over_background(model: Model, images: Images, config: Config) -> Model:
    """The model over what lies under the specimen, if the configuration asks for it."""
    problem = problem_of(model, images, Gaussian(), config, True)
    return eqx.filter_jit(problem.with_leaves)(problem.leaves)


def explained(model: Model, images: Images, config: Config) -> Float[Array, "k ny nx"]:
    """What the model says of the images, and what lies under the specimen, counts."""
    problem = problem_of(model, images, Gaussian(), config, True)
    return eqx.filter_jit(problem.mean)(problem.leaves)


def expected_weights(config: Config, microscope: Microscope) -> np.ndarray:
    """What the table says each species scatters, in units of the first one, (s,)."""
    amplitudes, _ = probe_profile(species_of(config), microscope.beam, microscope.annular)
    total = np.asarray(amplitudes.sum(axis=1))
    return total / total[0]


def classified(model: Model, config: Config) -> Model:
    """The model with every atom one element, and one response for each species."""
    species, atoms = species_of(config), model.atoms
    expected = expected_weights(config, model.microscope)
    weights = np.asarray(atoms.composition[:, 0])
    labels = classify(weights, species_weights(weights, expected, doubt(config)))
    response = np.ones(len(species))
    for index in range(len(species)):
        if (labels == index).any():
            response[index] = np.median(weights[labels == index]) / expected[index]
    one_hot = np.eye(len(species))[labels]
    whole = Atoms(atoms.positions, one_hot, 0.0, species, jnp.broadcast_to(atoms.species_u2, (len(species),)))
    return Model(
        whole, eqx.tree_at(lambda m: m.detector.response, model.microscope, jnp.asarray(response, atoms.u2.dtype))
    )


def species_of(config: Config) -> tuple[str, ...]:
    """The chemical symbols the recipe looks for."""
    return ("Mo", "S", "W", "Se") if config.recipe == "heterojunction" else tuple(config.specimen.species)


def doubt(config: Config) -> float:
    """The standard deviation of log(brightness) from what table, detector and dose say, common to all atoms."""
    return {"heterojunction": 0.0, "raw_frames": 0.4}.get(config.recipe, np.inf)


def dark_level(images: Images) -> np.ndarray:
    """The background of each image from its darkest parts, (k,)."""
    blur = 1.0 / float(images.grid.sampling)
    return np.array([np.percentile(gaussian_filter(image, blur), 1) for image in np.asarray(images.data, float)])


def likelihood_of(images: Images, choice: str) -> Gaussian | Poisson:
    """The noise model: Poisson if asked for or if the images are whole non-negative numbers, else Gaussian."""
    data = np.asarray(images.data)
    counts = bool(np.all(data >= 0) and np.all(data == np.rint(data)))
    if choice == "poisson" or (choice == "auto" and counts):
        return Poisson()
    return Gaussian(0.1 * float(np.std(data)))
