"""The linear forward model: incoherent annular dark-field STEM."""

from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxaet.core import Images, project
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
    A vibrating stage shows each atom at the places of `StageVibration.places`. `splat` says how the sum is done:
    `Dense()`, or `Tiled` through `Linear.plan`. Any number of atoms and tilts; nothing retraces when only values
    change. `correction`: (k, ny, nx) counts to add, such as what a better model found at nearby atoms.
    """

    splat: Dense | Tiled = Dense()
    correction: Float[Array, "k ny nx"] | None = None

    @classmethod
    def plan(cls, atoms: Atoms, microscope: Microscope) -> "Linear":
        """The faster of the two ways for this size of problem, with room for the atoms to move."""
        if len(atoms) < 64:
            return cls(Dense())
        points, weights, variances = jax.jit(_each_apart)(atoms, microscope)
        reach = float(reach_of(weights[0], variances))
        return cls(Tiled.plan(np.asarray(points), reach, microscope.grid.shape))

    def __call__(self, atoms: Atoms, microscope: Microscope) -> Images:
        """The mean images: `atoms` seen by `microscope`, (k, ny, nx) counts."""
        points, weights, variances = _each_apart(atoms, microscope)
        grid = microscope.grid
        data = jax.lax.map(lambda view: self.splat(view[0], view[1], variances, grid.shape), (points, weights))
        data = microscope.scale[:, None, None] * data + microscope.pedestal
        return Images(data if self.correction is None else data + self.correction, microscope.tilts.angles, grid)

    def reach(self, atoms: Atoms, microscope: Microscope, negligible: float = NEGLIGIBLE) -> Float[Array, ""]:
        """Pixels from an atom beyond which each of its Gaussians is below the fraction `negligible` of its peak."""
        points, weights, variances = gaussians(atoms, microscope)
        stroke = jnp.max(jnp.linalg.norm(points[:, :, -1] - points[:, :, 0], axis=-1), initial=0.0)
        return reach_of(weights[0, :, 0], variances, negligible) + 0.5 * stroke


def gaussians(
    atoms: Atoms, microscope: Microscope
) -> tuple[Float[Array, "k n m 2"], Float[Array, "k n m g"], Float[Array, "n g"]]:
    """Each atom's places in each view, and its Gaussians at each of them.

    Pixel coordinates of the m places, from one end of a vibration to the other; peak counts of the g Gaussians at each
    place; their variances in pixels².
    """
    beam, detector, tilts, grid = microscope.beam, microscope.annular, microscope.tilts, microscope.grid
    seen = (project(atoms.positions, tilts.angles) + tilts.shifts[:, None])[:, :, None]
    cross_sections, variances = probe_profile(atoms.species, beam, detector)
    variances = (variances[None] + atoms.total_u2[:, None]) / grid.sampling**2
    response = jnp.broadcast_to(detector.response, atoms.composition.shape)
    weights = beam.dose / (2 * jnp.pi) * (atoms.composition * response) @ cross_sections / variances
    weights = jnp.broadcast_to(weights[None, :, None], (*seen.shape[:3], weights.shape[1]))
    if microscope.vibration is not None:
        places, shares = microscope.vibration.places()
        seen, weights = seen + places[:, None], weights * shares[:, None, :, None]
    return grid.pixels(seen), weights, variances


def _each_apart(
    atoms: Atoms, microscope: Microscope
) -> tuple[Float[Array, "k nm 2"], Float[Array, "k nm g"], Float[Array, "nm g"]]:
    """The same with every place as an atom of its own."""
    points, weights, variances = gaussians(atoms, microscope)
    k, n, m, g = weights.shape
    return points.reshape(k, n * m, 2), weights.reshape(k, n * m, g), jnp.repeat(variances, m, axis=0)
