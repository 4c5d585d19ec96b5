"""Densities of vibrational states, of the whole cell or of parts of it, with derivatives at degeneracies too."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jaxaet.phonons.force_constants import ForceConstants
from jaxaet.phonons.modes import STILL, Modes, mode_energies, mode_energy
from jaxaet.specimen import Crystal


def gaussian(distance: Array, width: Array) -> Array:
    """A normal density, 1/meV, of rms `width` meV at a `distance` in meV."""
    return jnp.exp(-((distance / width) ** 2) / 2) / (width * jnp.sqrt(2 * jnp.pi))


def lorentzian(distance: Array, width: Array) -> Array:
    """A Lorentzian density, 1/meV, of half width `width` meV at half its height, at a `distance` in meV."""
    return width / jnp.pi / (distance**2 + width**2)


@partial(jax.jit, static_argnames="shape")
def density_of_states(
    modes: Modes,
    energies: Float[Array, " e"],
    width: float | Array,
    weights: Float[Array, "w n"] | None = None,
    shape: Callable = gaussian,
) -> Float[Array, "w e"]:
    """Modes per meV and cell at the `energies` (meV), each broadened by `shape` and `width`: (w, e).

    `weights`: (w, n), how much the motion of each atom counts in each of w densities; by default one density of all
    atoms, whose integral is 3n. The mean is taken over the wave vectors.
    """
    weights = jnp.ones((1, len(modes.masses))) if weights is None else weights

    def at(point):
        values, shares = point
        return weights @ shares @ shape(energies[None, :] - values[:, None], width)

    return jnp.mean(jax.lax.map(at, (modes.energies, modes.shares)), axis=0)


@jax.jit
def total_density(
    constants: ForceConstants,
    crystal: Crystal,
    q: Float[Array, "k 3"],
    energies: Float[Array, " e"],
    width: float | Array,
) -> Float[Array, " e"]:
    """The one density of all atoms that `density_of_states` gives, with Gaussians, from eigenvalues alone: (e,)."""
    width = jnp.asarray(width, float)

    def at(values):
        return jnp.sum(gaussian(energies[:, None] - values[None, :], width), axis=1)

    return jnp.mean(jax.lax.map(at, mode_energies(constants, crystal, q)), axis=0)


def projected_density(
    constants: ForceConstants,
    crystal: Crystal,
    q: Float[Array, "k 3"],
    energies: Float[Array, " e"],
    width: float | Array,
    weights: Float[Array, "w n"],
) -> Float[Array, "w e"]:
    """The same as `density_of_states` with Gaussians, from the force constants, and with exact derivatives: (w, e).

    The density is a diagonal of a function of the dynamical matrix, so it has derivatives with respect to the force
    constants, the masses and through them to every coordinate also where modes are degenerate, by divided differences.
    """
    rows = jnp.repeat(weights, 3, axis=1)
    width = jnp.asarray(width, float)

    def at(point):
        return spectral_density(constants.dynamical_matrix(point, crystal.masses), energies, width, rows)

    return jnp.mean(jax.lax.map(jax.checkpoint(at), q), axis=0)


@jax.custom_vjp
def spectral_density(
    matrix: Complex[Array, "d d"], energies: Float[Array, " e"], width: Array, rows: Float[Array, "w d"]
) -> Float[Array, "w e"]:
    """Σ_J rows·|V_J|² g(E - ħω_J), (w, e): the states of a Hermitian matrix, `rows` weighting its rows."""
    values, vectors = jnp.linalg.eigh(matrix)
    return _density(values, rows @ jnp.abs(vectors) ** 2, energies, width)


def _density(values, strengths, energies, width):
    return strengths @ gaussian(energies[None, :] - mode_energy(values)[:, None], width)


def _forward(matrix, energies, width, rows):
    values, vectors = jnp.linalg.eigh(matrix)
    strengths = rows @ jnp.abs(vectors) ** 2
    return _density(values, strengths, energies, width), (values, vectors, strengths, energies, width, rows)


def _backward(saved, cotangent):
    values, vectors, strengths, energies, width, rows = saved
    _, pull = jax.vjp(_density, values, strengths, energies, width)
    _, to_strengths, to_energies, to_width = pull(cotangent)
    to_rows = to_strengths @ jnp.abs(vectors.T) ** 2

    def height(value):  # of each row of the matrix, what a mode at this eigenvalue adds to the objective
        return rows.T @ (cotangent @ gaussian(energies - mode_energy(value), width))

    heights, slopes = jax.vmap(lambda value: jax.jvp(height, (value,), (jnp.ones_like(value),)), out_axes=1)(values)
    gaps = values[:, None] - values[None, :]
    equal = jnp.abs(gaps) < 1e3 * STILL

    def mean(of):  # V† diag(.) V with the function at the left eigenvalue and at the right one
        return (vectors * of).conj().T @ vectors, vectors.conj().T @ (vectors * of)

    left, right = mean(heights)
    left_slope, right_slope = mean(slopes)
    divided = jnp.where(equal, (left_slope + right_slope) / 2, (left - right) / jnp.where(equal, 1.0, gaps))
    to_matrix = vectors @ divided @ vectors.conj().T
    return to_matrix.conj(), to_energies, to_width, to_rows


spectral_density.defvjp(_forward, _backward)
