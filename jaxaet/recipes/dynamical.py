"""After the linear refinement, one by multislice: for atoms that stand behind each other."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jaxaet.core import Images
from jaxaet.forward import Multislice, largest_stride
from jaxaet.instrument import each_image
from jaxaet.inverse import (
    DefectCorrection,
    DenseGaussNewton,
    Gaussian,
    Model,
    Poisson,
    Problem,
    Simulator,
    refine,
    solve,
)
from jaxaet.recipes.config import Config
from jaxaet.recipes.run_folder import RunFolder

_INSTRUMENT_STEPS = 4


def dynamical(
    config: Config, folder: RunFolder, images: Images, likelihood: Poisson | Gaussian, model: Model
) -> tuple[Model, dict]:
    """The model refined by multislice, and its images, R factors and the last sentence.

    First the instrument is fitted to a few images, with the atoms where the linear model has them. The width of an
    atom's image is then the source's, for atoms that do not move scatter as much as moving ones.
    """
    rest = at_rest(model)
    found = folder.stage("instrument", lambda: fit_instrument(config, folder, images, likelihood, rest))
    model = with_instrument(rest, found)
    forward = planned(config, model)
    problem = Problem(forward, model, images, lambda m: moving(config, m), likelihood)
    method = DefectCorrection(config.dynamic.rounds)
    with folder.progress(method.rounds, "dynamic refinement") as tick:
        dear = Simulator(forward, folder.stage, folder.progress)
        solution = refine(problem, method, lambda step, loss: tick(step, loss=loss), dear)
    arrays = {"images": np.asarray(solution.images), "r1": float(solution.r1), "r": float(solution.r)}
    return solution.model, arrays | {"losses": np.asarray(solution.losses), "result": solution.result}


def at_rest(model: Model) -> Model:
    """The model with atoms that do not move, a source as much wider, and one response of the detector."""
    atoms, microscope = model.atoms, model.microscope
    width = jnp.sqrt(jnp.maximum(microscope.beam.source_size**2 + jnp.mean(atoms.total_u2), 1e-2))
    return eqx.tree_at(
        lambda m: (m.microscope.beam.source_size, m.microscope.detector.response, m.atoms.u2, m.atoms.species_u2),
        model,
        (width, jnp.mean(microscope.annular.response), 0 * atoms.u2, 0 * atoms.species_u2),
    )


def planned(config: Config, model: Model) -> Multislice:
    """The multislice model as configured."""
    options = config.dynamic
    stride = min(options.stride, largest_stride(model.microscope))
    return Multislice.plan(
        model.atoms, model.microscope, stride=stride, spacing=options.spacing_a, margin=options.margin_a
    )


def instrument(model: Model) -> tuple:
    """What of the instrument the images tell: brightness, semi-angle, source, defocus and inner detector angle."""
    beam, detector = model.microscope.beam, model.microscope.annular
    return detector.response, beam.semi_angle, beam.source_size, beam.aberrations.c10, detector.inner


def with_instrument(model: Model, found: dict) -> Model:
    """The model on the instrument of a checkpoint."""
    return eqx.tree_at(instrument, model, tuple(jnp.asarray(found["instrument"], model.atoms.u2.dtype)))


def fit_instrument(config: Config, folder: RunFolder, images: Images, likelihood, model: Model) -> dict:
    """The instrument that explains a few images best."""
    few = np.unique(np.linspace(0, len(images.data) - 1, config.dynamic.fitted_images).astype(int))
    if not len(few):
        return {"instrument": np.asarray(instrument(model))}
    chosen = eqx.tree_at(each_image, model.microscope, replace_fn=lambda leaf: leaf[few])
    start = Model(model.atoms, chosen)
    data = Images(images.data[few], chosen.tilts.angles, images.grid)
    problem = Problem(planned(config, start), start, data, instrument, likelihood)
    with folder.progress(_INSTRUMENT_STEPS, "instrument") as tick:
        method = DenseGaussNewton(_INSTRUMENT_STEPS)
        solution = solve(problem, method, lambda step, loss: tick(step, loss=loss))
    return {"instrument": np.asarray(instrument(solution.model))}


def moving(config: Config, model: Model) -> tuple:
    """What moves: positions, brightness and background of each image, and the angles unless they are fixed."""
    microscope = model.microscope
    leaves = (model.atoms.positions, microscope.offset, microscope.scale)
    if config.calibration.angles == "fixed":
        return leaves
    return (*leaves, microscope.tilts.angles, microscope.tilts.shifts)
