"""How much of the crystal a mode moves, and how much of it at an interface."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxaet.phonons.modes import Modes


def participation_ratio(modes: Modes) -> Float[Array, "k j"]:
    """(Σ |e|²/M)² / (n Σ |e|⁴/M²) of each mode, (k, 3n): 1 if all atoms move alike, 1/n if one atom moves.

    |e|² is summed over x, y, z. Source: the AET paper's supplement, eq. 2.
    """
    motion = _motion(modes)
    return jnp.sum(motion, axis=1) ** 2 / (motion.shape[1] * jnp.sum(motion**2, axis=1))


def interface_participation(modes: Modes, weights: Float[Array, " n"]) -> Float[Array, "k j"]:
    """Σ w |e|²/M / √(n Σ |e|⁴/M²) of each mode, (k, 3n); 1/n if all atoms move alike.

    `weights`: (n,), normal in the distance from the interface, of sum 1 (`interface_weights`). A mode on a single atom
    is *low* by this measure: look at `enrichment` beside it. Source: the AET paper's supplement, eq. 3.
    """
    motion = _motion(modes)
    return jnp.einsum("n,knj->kj", weights, motion) / jnp.sqrt(motion.shape[1] * jnp.sum(motion**2, axis=1))


def enrichment(modes: Modes, region: Float[Array, " n"]) -> Float[Array, "k j"]:
    """Each mode's energy in a region over the region's share of the atoms, (k, 3n): 1 if it is nowhere special.

    `region`: (n,), 1 for the atoms in it, else 0.
    """
    return jnp.einsum("n,knj->kj", region, modes.shares) / jnp.mean(region)


def interface_weights(distances: Float[Array, " n"], width: float | Array) -> Float[Array, " n"]:
    """Normal weights, (n,) of sum 1, of the `distances` from the interface and their rms `width`, Å."""
    weights = jnp.exp(-((distances / width) ** 2) / 2)
    return weights / jnp.sum(weights)


def _motion(modes: Modes) -> Float[Array, "k n j"]:
    return modes.shares / modes.masses[None, :, None]
