"""Densities of vibrational states of thousands of atoms, from products of the force constants with a few vectors."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxaet.core import InputError
from jaxaet.phonons.density import gaussian
from jaxaet.phonons.force_constants import ForceConstants
from jaxaet.phonons.modes import mode_energy
from jaxaet.specimen import Crystal

MARGIN = 0.03  # of the span of eigenvalues, added at both ends
LANCZOS_STEPS = 60  # the ends of the span are then within MARGIN


def random_signs(key: PRNGKeyArray, atoms: int, number: int) -> Float[Array, "r n 3"]:
    """Vectors of random signs, (number, atoms, 3), scaled so that the mean of Σ |v⟩⟨v| is the identity: `probes` of
    `sampled_density`."""
    return jax.random.rademacher(key, (number, atoms, 3), float) / jnp.sqrt(number * 1.0)


@partial(jax.jit, static_argnames="order")
def sampled_density(
    constants: ForceConstants,
    crystal: Crystal,
    energies: Float[Array, " e"],
    width: float | Array,
    probes: Float[Array, "r n 3"],
    weights: Float[Array, "w n"] | None = None,
    order: int = 1000,
) -> Float[Array, "w e"]:
    """What `density_of_states` gives at Γ of the cell, without its modes: modes per meV at the `energies` (meV), each
    a Gaussian of rms `width` meV, (w, e).

    The trace of the Gaussian of the dynamical matrix is estimated as Σ ⟨v|W g(E - ħω) |v⟩ over the `probes`, (r, n, 3):
    `random_signs` for an estimate whose relative error falls as 1/√(probes × modes within a width), or the 3n unit
    vectors for the trace itself. `weights`: (w, n), of the atoms in each of w densities, by default one of all.
    `order`: degree of the Chebyshev series; it is exact to 1e-5 of the maximum where E is above 5 widths and above
    0.6 E_max² / (order × width), E_max the highest energy, and wrong below. Work and memory grow
    linearly with the atoms. Derivatives in the force constants, masses and through them in every coordinate are those
    of the estimate, and finite where modes are degenerate; a gradient keeps order × r × 3n numbers.
    Source: kernel polynomial method, Weiße et al., Rev. Mod. Phys. 78, 275 (2006), with the Gaussian as the kernel.
    """
    if probes.shape[1:] != (len(crystal), 3):
        raise InputError(f"Probes of shape {probes.shape} do not fit; give (any number, {len(crystal)}, 3).")
    weights = jnp.ones((1, len(crystal))) if weights is None else weights
    apply = _dynamical(constants, crystal)
    low, high = span(constants, crystal)
    middle, half = (high + low) / 2, (high - low) / 2
    start = jnp.moveaxis(probes, 0, 2)

    def step(before, _):
        last, this = before
        following = 2 * (apply(this) - middle * this) / half - last
        return (this, following), weights @ jnp.sum(start * following, axis=(1, 2))

    first = (apply(start) - middle * start) / half
    begin = [weights @ jnp.sum(start * vector, axis=(1, 2)) for vector in (start, first)]
    _, rest = jax.lax.scan(step, (start, first), None, length=order - 1)
    moments = jnp.concatenate([jnp.stack(begin), rest])
    inside = jnp.abs(rest).max() <= 1.01 * jnp.abs(weights).max() * jnp.sum(start**2)  # else an eigenvalue was missed
    moments = jnp.where(inside, moments, jnp.nan)
    return moments.T @ _series(energies, jnp.asarray(width, float), middle, half, order)


def span(constants: ForceConstants, crystal: Crystal) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Two numbers, eV/Å²/amu, between which all eigenvalues at Γ lie: ends found by Lanczos' iteration and a margin.

    They have no derivatives.
    """
    constants, crystal = jax.lax.stop_gradient((constants, crystal))
    apply = _dynamical(constants, crystal)
    steps = min(LANCZOS_STEPS, 3 * len(crystal) - 1)
    start = jax.random.normal(jax.random.key(0), (len(crystal), 3, 1))

    def step(state, _):
        before, this, overlap = state
        product = apply(this) - overlap * before
        alpha = jnp.sum(product * this)
        product = product - alpha * this
        norm = jnp.linalg.norm(product)
        following = product / jnp.where(norm > 0, norm, 1.0)
        return (this, following, norm), (alpha, norm)

    begin = (jnp.zeros_like(start), start / jnp.linalg.norm(start), jnp.zeros(()))
    _, (diagonal, beside) = jax.lax.scan(step, begin, None, length=max(steps, 1))
    matrix = jnp.diag(diagonal) + jnp.diag(beside[:-1], 1) + jnp.diag(beside[:-1], -1)
    values = jnp.linalg.eigvalsh(matrix)
    low, high = values[0], values[-1]
    margin = MARGIN * (high - low) + 1e-9
    return low - margin, high + margin


def _dynamical(constants: ForceConstants, crystal: Crystal):
    """Multiplies (n, 3, r) by the dynamical matrix at Γ."""
    i, j = constants.pairs.T
    blocks = constants.blocks / jnp.sqrt(crystal.masses[i] * crystal.masses[j])[:, None, None]

    def apply(vectors):
        products = jnp.einsum("mab,mbr->mar", blocks, vectors[j])
        return jax.ops.segment_sum(products, i, num_segments=len(vectors))

    return apply


def _series(energies, width, middle, half, order: int) -> Float[Array, "m e"]:
    """The Chebyshev coefficients of the Gaussians around `energies`, as functions of the scaled eigenvalue."""
    count = 2 * (order + 1)
    angles = jnp.pi * (jnp.arange(count) + 0.5) / count
    values = mode_energy(middle + half * jnp.cos(angles))
    waves = jnp.cos(jnp.arange(order + 1.0)[:, None] * angles[None, :])
    factors = jnp.where(jnp.arange(order + 1) == 0, 1.0, 2.0) / count
    return factors[:, None] * (waves @ gaussian(energies[None, :] - values[:, None], width))
