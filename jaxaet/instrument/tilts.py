"""The tilt series: how the specimen is turned and where each image lies."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxaet.core import InputError

# AET paper, table S2: nominal (alpha, beta) and calibrated (Z, Y, X) angles of the 12 images, degrees.
TABLE_S2_NOMINAL = (
    (0.0, 0.0), (-14.3, -22.9), (-14.3, 17.1), (20.1, 17.1), (20.1, -20.1), (12.6, -12.6),
    (12.6, 12.6), (-12.6, 12.6), (-12.6, -12.6), (-6.3, -6.3), (-6.3, 6.3), (6.3, 6.3),
)  # fmt: skip
TABLE_S2_CALIBRATED = (
    (0.3, 1.1, -2.0), (0.2, -14.5, 15.9), (0.4, -8.3, 8.4), (0.3, -0.7, 0.1), (-0.3, 12.5, -12.2),
    (-0.6, 19.5, -18.4), (-1.0, 24.2, -24.8), (0.0, 26.5, 7.8), (0.2, 24.5, 20.7), (0.3, 19.8, 0.7),
    (0.1, 19.9, 11.8), (0.4, 13.8, 3.6),
)  # fmt: skip


class Tilts(eqx.Module):
    """The orientation and position of the specimen in each image.

    `angles`: (k, 3) Euler angles (Z, Y, X) in rad. `shifts`: (k, 2) displacement (x', y') of the object's
    origin from the grid's origin, in Å.
    """

    angles: Float[Array, "k 3"]
    shifts: Float[Array, "k 2"]

    def __init__(self, angles, shifts=None):
        self.angles = jnp.asarray(angles, dtype=float)
        self.shifts = jnp.zeros((len(self.angles), 2)) if shifts is None else jnp.asarray(shifts, dtype=float)

    def __check_init__(self):
        k = self.angles.shape[0]
        if self.angles.shape != (k, 3) or self.shifts.shape != (k, 2):
            raise InputError(
                f"Tilt angles of shape {self.angles.shape} with shifts of shape {self.shifts.shape} do not "
                "describe a tilt series; give (k, 3) angles (Z, Y, X) and (k, 2) shifts (x, y)."
            )

    @classmethod
    def heterojunction(cls) -> "Tilts":
        """The 12 calibrated tilts of the AET paper (table S2)."""
        return cls(np.deg2rad(TABLE_S2_CALIBRATED))

    @classmethod
    def heterojunction_nominal(cls) -> "Tilts":
        """What the microscope reported for them (table S2): alpha about -Y, beta about -X, up to 30° off."""
        return cls(np.deg2rad([(0.0, -alpha, -beta) for alpha, beta in TABLE_S2_NOMINAL]))
