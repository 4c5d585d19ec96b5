"""The columns that a network saw, fitted to the image through the forward model of the tilt series."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.ndimage import convolve

from jaxaet.core import Grid, Images
from jaxaet.forward import Aberrated, Linear
from jaxaet.gombnet import Columns, Sheet
from jaxaet.instrument import Aberrations, AnnularDetector, Beam, Microscope, Tilts
from jaxaet.inverse import (
    LARGEST,
    DenseGaussNewton,
    Gaussian,
    GaussNewton,
    Model,
    Problem,
    Smooth,
    fisher,
    isolated_bound,
    solve,
)
from jaxaet.specimen import Atoms

MARGIN = 1.5  # Å from the edges, where atoms beside the image are seen but not known
WIDTH = 0.35  # rms width in Å with which an atom's image starts, the probe aside
BEAM = Beam(80e3, 0.03, aberrations=Aberrations(c10=5.0, c12=(1.5, 1.5)))  # a start; at 0 c12 would have no slope
RING = (0.06, 0.2)  # rad; it decides brightness alone, which is fitted


def fit_columns(
    image: Float[np.ndarray, "ny nx"],
    pixel: float,
    layers: list[Columns],
    sheet: Sheet,
    threshold: float,
    steps: int,
    on_step: Callable[[int, float], None] | None = None,
) -> dict:
    """Positions of all columns, brightness and width of each class of each layer, and the lens, over a background.

    Each class of each layer is a species of its own. The lens is found first. The noise is taken to be equal in all
    pixels and as large as what the fit leaves. What the network saw is weighed by its errors against the fit; in an
    image whose noise does not allow the columns to be fixed as well as that they stay where they are.
    Returns `positions` (n, 2) Å, `covariance` (n, 2, 2) Å², both the network's within 1.5 Å of the edges, where nothing
    is fitted, the `model` (ny, nx) with NaN there, `left`, the residual in units of the image's white noise, and
    `allowed`, the median error in Å of a column if all others were known.
    """
    edge = int(np.ceil(MARGIN / pixel))
    inner = (slice(edge, -edge), slice(edge, -edge))
    data = np.asarray(image, float)[inner]
    level, contrast = data.mean(), data.std()
    images = Images(
        jnp.asarray((data - level) / contrast, dtype=float)[None], jnp.zeros((1, 3)), Grid(data.shape, pixel)
    )
    smooth = Smooth.of(images.grid, float(sheet.lattice))
    start = start_model(images, smooth, layers, sheet, threshold)

    def fitted(forward, model, free, method, watched=None):
        return solve(Problem(forward, bare(model), images, free, Gaussian(), smooth), method, watched)

    solution = fitted(Aberrated(), start, _lens, DenseGaussNewton(30))
    spread = lambda: float(jnp.std(solution.images - images.data))  # noqa: E731
    covariance = bound(fitted, solution.model, images, smooth, spread(), isolated_bound)
    allowed = float(np.sqrt(np.median(np.diagonal(covariance, axis1=1, axis2=2))))
    known = np.maximum(np.concatenate([layer.errors for layer in layers]), 1e-3)
    worth = allowed < np.median(known)
    if worth:
        free = lambda m: (m.atoms.positions, *_lens(m))  # noqa: E731
        solution = fitted(Aberrated(), solution.model, free, GaussNewton(steps), on_step)
        joint = 3 * len(start.atoms) < LARGEST
        covariance = bound(fitted, solution.model, images, smooth, spread(), fisher if joint else isolated_bound)
    before, after = (np.asarray(model.atoms.positions, float)[:, :2] for model in (start, solution.model))
    inside = np.all(np.abs(after) < np.array(data.shape[::-1]) * pixel / 2, axis=1)
    fitted_ones = (inside & worth)[:, None, None]
    # Both know of the same noise, so each counts half: covariance intersection (Julier and Uhlmann, ACC 1997, 2369).
    information = np.where(fitted_ones, np.linalg.inv(covariance) / 2, 0)
    covariance = np.linalg.inv(information + np.eye(2) / (np.where(fitted_ones, 2, 1) * known[:, None, None] ** 2))
    moved = before + np.einsum("nij,njk,nk->ni", covariance, information, after - before)
    model = np.full(np.shape(image), np.nan)
    model[inner] = level + contrast * np.asarray(solution.images[0])
    return {
        "positions": moved,
        "covariance": covariance,
        "model": model,
        "left": spread() * contrast / noise(data),
        "allowed": allowed,
    }


def bound(
    fitted: Callable, model: Model, images: Images, smooth: Smooth, residual: float, kind: Callable
) -> Float[np.ndarray, "n 2 2"]:
    """The covariance in Å² of columns that the linear model has made as wide as they are, by `kind` of bound."""
    linear = Linear.plan(model.atoms, model.microscope)
    shape = lambda m: (m.atoms.species_u2, m.microscope.annular.response)  # noqa: E731
    model = fitted(linear, model, shape, GaussNewton(8)).model
    free = lambda m: (m.atoms.positions, *shape(m))  # noqa: E731
    # Along the beam one image says nothing, so the bound has a third axis that is left out.
    return np.array(kind(Problem(linear, bare(model), images, free, Gaussian(residual), smooth)))[:, :2, :2]


def noise(image: Float[np.ndarray, "ny nx"]) -> float:
    """Standard deviation of the white noise of an image, by its mixed second differences.

    Source: Immerkær, Comput. Vis. Image Underst. 64 (1996) 300.
    """
    differences = convolve(image, np.outer([1, -2, 1], [1, -2, 1]))
    return float(1.4826 * np.median(np.abs(differences)) / 6)


def start_model(images: Images, smooth: Smooth, layers: list[Columns], sheet: Sheet, threshold: float) -> Model:
    """The network's columns before a plain microscope, as bright as the image says."""
    species = [sheet.classes[c] for _ in layers for c in range(len(sheet.classes))]
    blocks = [np.pad(layer.positions, ((0, 0), (0, 1))) for layer in layers]
    composition = np.zeros((sum(map(len, blocks)), len(layers), len(sheet.classes)))
    owner = np.repeat(np.arange(len(layers)), [len(block) for block in blocks])
    chances = np.concatenate([layer.probabilities for layer in layers])
    seen = chances > threshold
    composition[np.arange(len(owner)), owner] = seen / seen.sum(axis=1, keepdims=True)  # S + Se is half of each
    atoms = Atoms(np.concatenate(blocks), composition.reshape(len(owner), -1), 0.0, species, WIDTH**2)
    detector = AnnularDetector(*RING, np.ones(len(species)))
    microscope = Microscope(BEAM, detector, Tilts(np.zeros((1, 3))), images.grid)
    image = eqx.filter_jit(Linear.plan(atoms, microscope))(atoms, microscope).data
    rough, wanted = image - smooth(image), images.data - smooth(images.data)
    gain = jnp.maximum(jnp.sum(rough * wanted) / jnp.sum(rough**2), 1e-30)
    return Model(atoms, eqx.tree_at(lambda m: m.beam.dose, microscope, gain))


def bare(model: Model) -> Model:
    """The model over nothing."""
    return eqx.tree_at(lambda m: m.microscope.background, model, None, is_leaf=lambda leaf: leaf is None)


def _lens(model: Model):
    beam = model.microscope.beam
    aberrations = beam.aberrations
    return (
        model.atoms.species_u2, model.microscope.annular.response, beam.semi_angle, aberrations.c10, aberrations.c12
    )  # fmt: skip
