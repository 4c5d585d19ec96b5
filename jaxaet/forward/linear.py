"""The linear forward model: incoherent annular dark-field STEM."""

from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxaet.core import Images, project
from jaxaet.forward.blur import blurred
from jaxaet.forward.profile import probe_profile
from jaxaet.forward.splat import NEGLIGIBLE, Dense, Tiled, reach_of
from jaxaet.instrument import Microscope
from jaxaet.specimen import Atoms


@runtime_checkable
class Forward(Protocol):
    """A forward model: the mean of the measurement, pure, jittable, differentiable in every float leaf."""

    def __call__(self, atoms: Atoms, microscope: Microscope) -> Images:
        """The noise-free images of `atoms`."""
        ...


class Linear(eqx.Module):
    """ADF-STEM in the incoherent approximation.

    Each image is the sum over atoms and species of the species' probe-convolved profile (`forward.profile`) with
    its own cross-section, widened by each atom's `u2`: counts = scale · dose · pixel area · Σ + pedestal.
    `splat` says how the sum is done: `Dense()`, or `Tiled` through `Linear.plan`. Any number of atoms and tilts;
    nothing retraces when only values change. `margin`: pixels around the images from which a vibration of the stage
    brings atoms in, static. `correction`: (k, ny, nx) counts to add, such as what a better model found at nearby atoms.
    """

    splat: Dense | Tiled = Dense()
    margin: int = eqx.field(static=True, default=16)
    correction: Float[Array, "k ny nx"] | None = None

    @classmethod
    def plan(cls, atoms: Atoms, microscope: Microscope) -> "Linear":
        """The faster of the two ways for this size of problem, with room for the atoms to move."""
        if len(atoms) < 64:
            return cls(Dense())
        points, weights, variances = jax.jit(gaussians)(atoms, microscope)
        reach = float(reach_of(weights, variances))
        return cls(Tiled.plan(np.asarray(points), reach, microscope.grid.shape))

    def __call__(self, atoms: Atoms, microscope: Microscope) -> Images:
        """The mean images: `atoms` seen by `microscope`, (k, ny, nx) counts."""
        points, weights, variances = gaussians(atoms, microscope)
        grid, vibration = microscope.grid, microscope.vibration
        margin = 0 if vibration is None else self.margin
        shape = (grid.shape[0] + 2 * margin, grid.shape[1] + 2 * margin)
        data = jax.lax.map(lambda points: self.splat(points, weights, variances, shape), points + margin)
        if vibration is not None:
            y, x = grid.coordinates()
            origin = y[0] - margin * grid.sampling, x[0] - margin * grid.sampling
            data = blurred(data, origin, grid.sampling, None, vibration, grid)
        data = microscope.scale[:, None, None] * data + microscope.pedestal
        return Images(data if self.correction is None else data + self.correction, microscope.tilts.angles, grid)

    def reach(self, atoms: Atoms, microscope: Microscope, negligible: float = NEGLIGIBLE) -> Float[Array, ""]:
        """Pixels from an atom beyond which each of its Gaussians is below the fraction `negligible` of its peak."""
        _, weights, variances = gaussians(atoms, microscope)
        return reach_of(weights, variances, negligible)


def gaussians(
    atoms: Atoms, microscope: Microscope
) -> tuple[Float[Array, "k n 2"], Float[Array, "n g"], Float[Array, "n g"]]:
    """Each atom's pixel coordinates in each view, and the peak counts and variances in pixels² of its Gaussians."""
    beam, detector, tilts, grid = microscope.beam, microscope.annular, microscope.tilts, microscope.grid
    seen = project(atoms.positions, tilts.angles) + tilts.shifts[:, None]
    cross_sections, variances = probe_profile(atoms.species, beam, detector)
    variances = (variances[None] + atoms.total_u2[:, None]) / grid.sampling**2
    response = jnp.broadcast_to(detector.response, atoms.composition.shape)
    weights = beam.dose / (2 * jnp.pi) * (atoms.composition * response) @ cross_sections / variances
    return grid.pixels(seen), weights, variances
