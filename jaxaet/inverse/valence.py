"""Force-field constants from phonon frequencies: an inverse problem like any other."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Float

from jaxaet.phonons import ValenceForceField, find_modes, gauss_newton_constants
from jaxaet.specimen import Crystal


def fit_valence(
    crystal: Crystal,
    q: Float[Array, "k 3"] | Float[np.ndarray, "k 3"],
    energies: Sequence[np.ndarray],
    start: Float[Array, "8"] | Float[np.ndarray, "8"],
) -> tuple[Float[Array, "8"], Float[Array, ""]]:
    """The eight constants of `ValenceForceField` that give a monolayer's modes, and their rms misfit in meV.

    `crystal`: its primitive cell. `q`: (k, 3) wave vectors; `energies`: at each the known highest modes in meV, rising;
    `start`: (8,) constants to start from, in eV, Å. By Levenberg-Marquardt.
    """
    topology, q = ValenceForceField().topology(crystal), jnp.asarray(q, float)
    known = [jnp.asarray(one, float) for one in energies]

    @jax.jit
    def misfit(constants, _):
        field = ValenceForceField(jnp.tile(constants[None], (4, 1)))
        modes = find_modes(gauss_newton_constants(field, crystal, topology), crystal, q)
        return jnp.concatenate([found[-len(one) :] - one for found, one in zip(modes.energies, known, strict=True)])

    solver = optx.LevenbergMarquardt(rtol=1e-9, atol=1e-9)
    found = optx.least_squares(misfit, solver, jnp.asarray(start, float), max_steps=500, throw=False)
    return found.value, jnp.sqrt(jnp.mean(misfit(found.value, None) ** 2))
