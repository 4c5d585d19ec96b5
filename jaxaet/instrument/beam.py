"""The electron beam."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

HC = 12398.419843320026  # eV Å, exact in the 2019 SI
ELECTRON_REST_ENERGY = 510998.95  # eV, CODATA 2018


class Beam(eqx.Module):
    """A focused, aberration-free probe.

    `energy`: eV. `semi_angle`: convergence semi-angle, rad. `source_size`: rms width of the effective
    source along one axis, Å. `dose`: electrons per Å² in each image.
    """

    energy: Float[Array, ""]
    semi_angle: Float[Array, ""]
    source_size: Float[Array, ""]
    dose: Float[Array, ""]

    def __init__(self, energy, semi_angle, source_size: ArrayLike = 0.0, dose: ArrayLike = 1.0):
        self.energy = jnp.asarray(energy, dtype=float)
        self.semi_angle = jnp.asarray(semi_angle, dtype=float)
        self.source_size = jnp.asarray(source_size, dtype=float)
        self.dose = jnp.asarray(dose, dtype=float)

    @property
    def wavelength(self) -> Float[Array, ""]:
        """Relativistic de Broglie wavelength, Å."""
        return HC / jnp.sqrt(self.energy * (self.energy + 2 * ELECTRON_REST_ENERGY))

    @property
    def mass_ratio(self) -> Float[Array, ""]:
        """Relativistic mass over rest mass."""
        return 1 + self.energy / ELECTRON_REST_ENERGY
