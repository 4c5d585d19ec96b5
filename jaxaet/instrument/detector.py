"""Detectors."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxaet.core import InputError, known


class AnnularDetector(eqx.Module):
    """An annular detector that counts every electron scattered into its ring.

    `inner`, `outer`: collection semi-angles, rad. `response`: counts per electron relative to the
    tabulated cross-section, one number for all species, shape (), or one for each species, (s,).
    Raises `InputError` for a ring that is not open.
    """

    inner: Float[Array, ""]
    outer: Float[Array, ""]
    response: Float[Array, "*s"]

    def __init__(self, inner: ArrayLike, outer: ArrayLike, response: ArrayLike | Sequence = 1.0):
        self.inner, self.outer = jnp.asarray(inner, dtype=float), jnp.asarray(outer, dtype=float)
        self.response = jnp.asarray(response, dtype=float)

    def __check_init__(self):
        check_ring(self.inner, self.outer)

    def sensitivity(self, kx: Float[Array, "*n"], ky: Float[Array, "*n"], blur: Float[Array, ""]) -> Float[Array, "*n"]:
        """The fraction of the electrons at angles (`kx`, `ky`), rad, that is counted; edges are `blur` wide."""
        return ring(kx, ky, self.inner, self.outer, blur)


class SegmentedDetector(eqx.Module):
    """An annular detector cut into equal sectors, read as one weighted sum of them.

    `inner`, `outer`: collection semi-angles, rad. `rotation`: azimuth at which the first sector begins, from x towards
    y, rad. `weights`: (c,) what an electron in each of the c sectors counts: all 1 for the whole ring, one 1 for
    one sector, 1 and -1 for a difference. Only `Multislice` knows sectors.
    Raises `InputError` for a ring that is not open and for no sectors.
    """

    inner: Float[Array, ""]
    outer: Float[Array, ""]
    rotation: Float[Array, ""]
    weights: Float[Array, " c"]

    def __init__(
        self, inner: ArrayLike, outer: ArrayLike, weights: ArrayLike | Sequence = (1.0,) * 4, rotation: ArrayLike = 0.0
    ):
        values = (inner, outer, weights, rotation)
        self.inner, self.outer, self.weights, self.rotation = (jnp.asarray(x, dtype=float) for x in values)

    def __check_init__(self):
        check_ring(self.inner, self.outer)
        if self.weights.ndim != 1 or self.weights.size == 0:
            raise InputError(f"Weights of shape {self.weights.shape} name no sectors; give a list of one for each.")

    def sensitivity(self, kx: Float[Array, "*n"], ky: Float[Array, "*n"], blur: Float[Array, ""]) -> Float[Array, "*n"]:
        """What an electron at the angles (`kx`, `ky`), rad, counts; the ring's edges are `blur` wide."""
        azimuth = jax.lax.stop_gradient(jnp.arctan2(ky, kx) - self.rotation)
        sectors = self.weights.shape[0]
        sector = jnp.floor(azimuth / (2 * jnp.pi / sectors)).astype(int) % sectors
        return self.weights[sector] * ring(kx, ky, self.inner, self.outer, blur)


def ring(
    x: Float[Array, "*n"],
    y: Float[Array, "*n"],
    inner: Float[Array, ""],
    outer: Float[Array, ""],
    blur: Float[Array, ""],
) -> Float[Array, "*n"]:
    """1 between two distances from the origin and 0 elsewhere, with linear edges `blur` wide."""
    distance = jnp.sqrt(x**2 + y**2 + 1e-12)
    inside, outside = (jnp.clip((edge - distance) / blur + 0.5, 0.0, 1.0) for edge in (outer, inner))
    return inside - outside


def check_ring(inner: Float[Array, ""], outer: Float[Array, ""]) -> None:
    """Raise `InputError` for a ring that is not open."""
    if known(~(inner < outer)) or known(inner < 0):
        raise InputError(
            f"A detector from {float(inner) * 1e3:g} to {float(outer) * 1e3:g} mrad collects nothing; "
            "give an inner semi-angle of 0 or more, below the outer one."
        )
    if known(outer > jnp.pi):
        raise InputError(f"A detector reaches {float(outer):g} rad; give angles in rad, at most pi.")
