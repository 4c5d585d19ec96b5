"""Aberrations of the probe-forming lens."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxaet.core import InputError


class Aberrations(eqx.Module):
    """Coefficients of the aberration function, in Krivanek's notation, all in Å and 0 by default.

    Their phase is chi = (2 pi / lambda) Σ alpha^(n+1) (C_nma cos m phi + C_nmb sin m phi) / (n + 1) at the angle alpha
    and azimuth phi. `c10`: minus the defocus, Å; `c30`, `c50`: spherical aberration of
    third and fifth order, Å. Each of the others is a pair (C_nma, C_nmb), (2,) in Å: `c12`: twofold astigmatism, Å;
    `c21`: coma, Å; `c23`: threefold astigmatism, Å; `c32`: that of third order, twofold, Å; `c34`: fourfold, Å.
    Raises `InputError` for another shape. Source: Krivanek, Dellby & Lupini, Ultramicroscopy 78 (1999) 1.
    """

    c10: Float[Array, ""]
    c12: Float[Array, "2"]
    c21: Float[Array, "2"]
    c23: Float[Array, "2"]
    c30: Float[Array, ""]
    c32: Float[Array, "2"]
    c34: Float[Array, "2"]
    c50: Float[Array, ""]

    def __init__(
        self,
        c10: ArrayLike = 0.0,
        c12: ArrayLike | Sequence = (0.0, 0.0),
        c21: ArrayLike | Sequence = (0.0, 0.0),
        c23: ArrayLike | Sequence = (0.0, 0.0),
        c30: ArrayLike = 0.0,
        c32: ArrayLike | Sequence = (0.0, 0.0),
        c34: ArrayLike | Sequence = (0.0, 0.0),
        c50: ArrayLike = 0.0,
    ):
        self.c10, self.c30, self.c50 = (jnp.asarray(value, dtype=float) for value in (c10, c30, c50))
        pairs = (c12, c21, c23, c32, c34)
        self.c12, self.c21, self.c23, self.c32, self.c34 = (jnp.asarray(value, dtype=float) for value in pairs)

    def __check_init__(self):
        for name in ("c12", "c21", "c23", "c32", "c34"):
            if getattr(self, name).shape != (2,):
                raise InputError(f"{name} has the shape {getattr(self, name).shape}; give the pair (C_a, C_b) in Å.")

    def phase(
        self, kx: Float[Array, "*shape"], ky: Float[Array, "*shape"], wavelength: Float[Array, ""]
    ) -> Float[Array, "*shape"]:
        """The aberration function chi in rad at spatial frequencies `kx`, `ky` (cycles per Å)."""
        x, y = wavelength * kx, wavelength * ky
        square = x**2 + y**2
        path = 0.5 * square * (self.c10 + 0.5 * self.c30 * square + self.c50 * square**2 / 3)
        real, imaginary = jnp.ones_like(x), jnp.zeros_like(x)
        powers = [(real, imaginary)]  # alpha^m cos m phi and alpha^m sin m phi: smooth where the angle itself is not
        for _ in range(4):
            real, imaginary = real * x - imaginary * y, real * y + imaginary * x
            powers.append((real, imaginary))
        for pair, m, order in (
            (self.c12, 2, 1), (self.c21, 1, 2), (self.c23, 3, 2), (self.c32, 2, 3), (self.c34, 4, 3)
        ):  # fmt: skip
            radial = square ** ((order + 1 - m) // 2) / (order + 1)
            path = path + radial * (pair[0] * powers[m][0] + pair[1] * powers[m][1])
        return 2 * jnp.pi / wavelength * path
