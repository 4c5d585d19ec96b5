"""A small cluster of two species seen in few small images, and every leaf that a fit may free."""

from collections.abc import Callable
from functools import cache

import equinox as eqx
import jax
import numpy as np

from jaxaet.core import Grid, Images
from jaxaet.forward import Linear
from jaxaet.instrument import AnnularDetector, Beam, Microscope, Tilts
from jaxaet.inverse import Model, Poisson, Problem
from jaxaet.specimen import Atoms

ATOMS, IMAGES = 30, 7
# Each leaf with the rms of the error it starts from.
CHOICES: dict[str, tuple[Callable[[Model], jax.Array], float]] = {
    "positions": (lambda m: m.atoms.positions, 0.15),
    "composition": (lambda m: m.atoms.composition, 0.2),
    "u2": (lambda m: m.atoms.u2, 0.01),
    "species_u2": (lambda m: m.atoms.species_u2, 0.02),
    "angles": (lambda m: m.microscope.tilts.angles, 0.02),
    "shifts": (lambda m: m.microscope.tilts.shifts, 0.2),
    "scale": (lambda m: m.microscope.scale, 0.05),
    "offset": (lambda m: m.microscope.offset, 1.0),
    "sampling": (lambda m: m.microscope.grid.sampling, 0.005),
    "source_size": (lambda m: m.microscope.beam.source_size, 0.05),
}


@cache
def free(names: tuple[str, ...]) -> Callable[[Model], tuple[jax.Array, ...]]:
    """The function that a `Problem` asks for: always the same one, so that nothing compiles twice."""
    return lambda model: tuple(CHOICES[name][0](model) for name in names)


@cache
def truth() -> Model:
    rng = np.random.default_rng(0)
    lattice = np.stack(np.meshgrid(*[np.arange(-2, 3) * 2.6] * 3), axis=-1).reshape(-1, 3)
    ball = lattice[np.argsort(np.linalg.norm(lattice + np.array([0.1, 0.2, 0.3]), axis=1))[:ATOMS]]
    composition = np.eye(2)[rng.integers(0, 2, ATOMS)]
    positions = ball + rng.uniform(-0.3, 0.3, ball.shape)
    atoms = Atoms(positions, composition, rng.uniform(0.01, 0.03, ATOMS), ("Mo", "S"), [0.01, 0.03])
    tilts = Tilts(rng.uniform(-0.6, 0.6, (IMAGES, 3)), rng.uniform(-0.3, 0.3, (IMAGES, 2)))
    scale, offset = rng.uniform(0.8, 1.2, IMAGES), rng.uniform(2, 5, IMAGES)
    detector, grid = AnnularDetector(0.05, 0.21), Grid((48, 48), 0.32)
    return Model(atoms, Microscope(Beam(60e3, 0.038, 0.4, 3e4), detector, tilts, grid, scale, offset))


@cache
def images() -> Images:
    """The noise-free images of the truth."""
    return eqx.filter_jit(Linear())(truth().atoms, truth().microscope)


def problem(names: tuple[str, ...], disturbed: bool = True, data: Images | None = None) -> Problem:
    """Some leaves free, each starting at some distance from the truth."""
    rng = np.random.default_rng(1)
    errors = tuple(CHOICES[name][1] for name in names) if disturbed else (0.0,) * len(names)
    leaves = [v + e * rng.normal(size=v.shape) for v, e in zip(free(names)(truth()), errors, strict=True)]
    start = eqx.tree_at(free(names), truth(), tuple(leaves))
    return Problem(Linear(), start, images() if data is None else data, free(names), Poisson())
