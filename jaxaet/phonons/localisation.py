"""How much of the crystal a mode moves, and how much of it at an interface."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxaet.core import InputError
from jaxaet.phonons.density import projected_density
from jaxaet.phonons.energy import Energy
from jaxaet.phonons.force_constants import ForceConstants, force_constants
from jaxaet.phonons.modes import Modes, checked_modes, find_modes, same
from jaxaet.phonons.topology import Topology
from jaxaet.specimen import Crystal

NOTHING = 1e-12  # 1/meV/amu: where no mode is near, a window has no participation


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


def window_participation(
    constants: ForceConstants,
    crystal: Crystal,
    q: Float[Array, "k 3"],
    energies: Float[Array, " e"],
    width: float | Array,
    weights: Float[Array, " n"] | None = None,
) -> Float[Array, " e"]:
    """The participation ratio of everything that moves within `width` (rms, meV) of each of the `energies` (meV), (e,).

    Of the local densities g: (Σ g/M)² / (n Σ g²/M²), or with `weights` (n,) of sum 1 as in `interface_participation`
    Σ w g/M / √(n Σ g²/M²); near a mode that is apart from all others by several widths both are that mode's. The local
    density holds only projectors onto sets of equal energies, so unlike the ratio of one mode of a degenerate set this
    one is unique, and has derivatives in every coordinate everywhere; it is 0 where nothing moves.
    Source: the inverse ratio of local densities, Murphy, Wortis & Atkinson, Phys. Rev. B 83, 184206 (2011).
    """
    local = projected_density(constants, crystal, q, energies, width, jnp.eye(len(crystal)))
    motion = local / crystal.masses[:, None]
    moving = jnp.sum(motion, axis=0) > NOTHING
    square = len(crystal) * jnp.sum(jnp.where(moving, motion, 1.0) ** 2, axis=0)
    if weights is None:
        return jnp.where(moving, jnp.sum(motion, axis=0) ** 2 / square, 0.0)
    return jnp.where(moving, weights @ motion / jnp.sqrt(square), 0.0)


def mode_participation(
    energy: Energy, crystal: Crystal, topology: Topology, q: Float[Array, "3"], mode: int
) -> tuple[Float[Array, ""], Crystal]:
    """The participation ratio of one `mode` (a number from 0, rising) at `q`, and its gradient, a crystal of
    derivatives: positions in 1/Å, cell, masses.

    To first order a mode changes by (ω² - D)⁺ dD e, with the inverse over all other modes.
    Raises `InputError` for a number that no mode has, and for a mode that is degenerate with another, which has neither
    a participation ratio of its own nor a gradient.
    """
    q, (mode,) = jnp.asarray(q, float), checked_modes(mode, crystal).tolist()
    found = find_modes(force_constants(energy, crystal, topology), crystal, q[None])
    energies, vectors = np.asarray(found.energies[0]), found.eigenvectors[0]
    together = np.flatnonzero(np.abs(energies - energies[mode]) < same(energies))
    if len(together) > 1:
        raise InputError(
            f"Mode {mode} at q = {np.asarray(q).tolist()} is degenerate with {sorted({*together.tolist()} - {mode})} "
            "and has no participation ratio of its own; take a single mode, or `window_participation` around "
            f"{energies[mode]:.2f} meV."
        )
    squares = jnp.einsum("aj,ab,bj->j", vectors.conj(), _matrix(energy, crystal, topology, q), vectors).real
    gaps = squares[mode] - squares
    inverse = jnp.where(jnp.arange(len(gaps)) == mode, 0.0, 1 / jnp.where(gaps == 0, 1.0, gaps))
    others = (vectors * inverse[None, :]) @ vectors.conj().T

    @eqx.filter_jit
    @eqx.filter_value_and_grad
    def ratio(crystal):
        matrix = _matrix(energy, crystal, topology, q)
        vector = vectors[:, mode] + others @ (matrix - jax.lax.stop_gradient(matrix)) @ vectors[:, mode]
        motion = jnp.sum(jnp.abs(vector.reshape(-1, 3)) ** 2, axis=1) / crystal.masses
        return jnp.sum(motion) ** 2 / (len(motion) * jnp.sum(motion**2))

    return ratio(crystal)


def _matrix(energy: Energy, crystal: Crystal, topology: Topology, q):
    return force_constants(energy, crystal, topology).dynamical_matrix(q, crystal.masses)


def _motion(modes: Modes) -> Float[Array, "k n j"]:
    return modes.shares / modes.masses[None, :, None]
