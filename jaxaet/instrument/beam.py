"""The electron beam."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxaet.core import InputError, known
from jaxaet.instrument.aberrations import Aberrations

HC = 12398.419843320026  # eV Å, exact in the 2019 SI
ELECTRON_REST_ENERGY = 510998.95  # eV, CODATA 2018


class Beam(eqx.Module):
    """A focused probe.

    `energy`: eV. `semi_angle`: convergence semi-angle, rad. `source_size`: rms width of the effective
    source along one axis, Å. `dose`: electrons per Å² in each image. `aberrations`: of the lens, none by default.
    `focal_spread`: rms defocus that the energy spread of the beam makes, Å. The linear model takes the
    probe to be free of aberrations and of focal spread. Raises `InputError` for an energy or a semi-angle that is not
    positive.
    """

    energy: Float[Array, ""]
    semi_angle: Float[Array, ""]
    source_size: Float[Array, ""]
    dose: Float[Array, ""]
    aberrations: Aberrations
    focal_spread: Float[Array, ""]

    def __init__(
        self,
        energy: ArrayLike,
        semi_angle: ArrayLike,
        source_size: ArrayLike = 0.0,
        dose: ArrayLike = 1.0,
        aberrations: Aberrations | None = None,
        focal_spread: ArrayLike = 0.0,
    ):
        values = (energy, semi_angle, source_size, dose, focal_spread)
        energy, semi_angle, source_size, dose, focal_spread = (jnp.asarray(x, dtype=float) for x in values)
        self.energy, self.semi_angle, self.source_size, self.dose = energy, semi_angle, source_size, dose
        self.aberrations = Aberrations() if aberrations is None else aberrations
        self.focal_spread = focal_spread

    def __check_init__(self):
        if known(~(self.semi_angle > 0)) or known(~(self.energy > 0)):
            raise InputError(
                f"A beam of {float(self.energy) / 1e3:g} keV with a convergence semi-angle of "
                f"{float(self.semi_angle) * 1e3:g} mrad is not possible; give positive numbers."
            )
        if known(self.source_size < 0) or known(self.dose < 0):
            raise InputError(
                f"A source of {float(self.source_size):g} Å and a dose of {float(self.dose):g} e/Å²; allowed 0 or more."
            )
        if known(self.semi_angle > 1):
            raise InputError(f"A convergence semi-angle of {float(self.semi_angle):g} rad; give rad, at most 1.")

    @property
    def wavelength(self) -> Float[Array, ""]:
        """Relativistic de Broglie wavelength, Å."""
        return HC / jnp.sqrt(self.energy * (self.energy + 2 * ELECTRON_REST_ENERGY))

    @property
    def mass_ratio(self) -> Float[Array, ""]:
        """Relativistic mass over rest mass."""
        return 1 + self.energy / ELECTRON_REST_ENERGY
