"""Vibrational modes: frequencies, eigenvectors, group velocities."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from jaxaet.core import InputError
from jaxaet.core.errors import known
from jaxaet.phonons.energy import Energy
from jaxaet.phonons.force_constants import ForceConstants, force_constants
from jaxaet.phonons.topology import Topology
from jaxaet.specimen import Crystal

# ħ √(eV/Å²/amu) in meV, and √(eV/Å²/amu) Å in m/s, from the CODATA values of e, ħ and the atomic mass constant.
MEV = 6.582119569e-13 * np.sqrt(1.602176634e-19 / 1.66053906660e-27) * 1e10
METRES_PER_SECOND = np.sqrt(1.602176634e-19 / 1.66053906660e-27)
SAME = 1e-4  # meV: modes nearer than this count as degenerate in float64, and a thousand times as far in float32
STILL = 1e-9  # eV/Å²/amu: an eigenvalue this small (2 µeV) is that of a translation


class Modes(eqx.Module):
    """The modes of a crystal at k wave vectors.

    `q`: (k, 3) in units of the cell's reciprocal vectors. `energies`: (k, 3n) in meV, rising, imaginary ones negative.
    `eigenvectors`: (k, 3n, 3n), column J that of mode J, rows x, y, z of each atom; normalised displacements times
    √mass, without a phase inside the cell. `masses`: (n,) amu.
    """

    q: Float[Array, "k 3"]
    energies: Float[Array, "k j"]
    eigenvectors: Complex[Array, "k j j"]
    masses: Float[Array, " n"]

    @property
    def shares(self) -> Float[Array, "k n j"]:
        """How much of each mode is motion of each atom, |e|² summed over x, y, z: (k, n, 3n)."""
        k, j, _ = self.eigenvectors.shape
        return jnp.sum(jnp.abs(self.eigenvectors.reshape(k, j // 3, 3, j)) ** 2, axis=2)


def check_atoms(constants: ForceConstants, crystal: Crystal) -> None:
    """Raises `InputError` for force constants of another number of atoms than the crystal has, where that is known."""
    last = jnp.max(constants.pairs, initial=-1)
    if known(last != len(crystal) - 1) or known(jnp.min(constants.pairs, initial=0) < 0):
        raise InputError(
            f"Force constants of {int(last) + 1} atoms do not fit a crystal of {len(crystal)}; give those of the same "
            "crystal, every atom with itself among the pairs."
        )


def mode_energy(eigenvalues: Float[Array, " *j"]) -> Float[Array, " *j"]:
    """ħω in meV of eigenvalues ω² in eV/Å²/amu; of a negative one -ħ|ω|. A translation's has the derivative 0."""
    still = jnp.abs(eigenvalues) < STILL
    size = jnp.sqrt(jnp.where(still, 1.0, jnp.abs(eigenvalues)))
    return MEV * jnp.sign(eigenvalues) * jnp.where(still, jax.lax.stop_gradient(jnp.sqrt(jnp.abs(eigenvalues))), size)


def find_modes(constants: ForceConstants, crystal: Crystal, q: Float[Array, "k 3"]) -> Modes:
    """All modes at the wave vectors `q`, (k, 3) in reciprocal vectors of the cell.

    Exact to rounding in float64; in float32 energies below about 1 meV are noise. Raises `InputError` for force
    constants of another number of atoms.
    """
    check_atoms(constants, crystal)
    return _find_modes(constants, crystal, q)


@jax.jit
def _find_modes(constants, crystal, q):
    def at(point):
        values, vectors = jnp.linalg.eigh(constants.dynamical_matrix(point, crystal.masses))
        return mode_energy(values), vectors

    energies, vectors = jax.lax.map(at, q)
    return Modes(q, energies, vectors, crystal.masses)


def mode_energies(constants: ForceConstants, crystal: Crystal, q: Float[Array, "k 3"]) -> Float[Array, "k j"]:
    """The energies of all modes at the wave vectors `q`, (k, 3n) in meV, rising, without eigenvectors: as `find_modes`
    finds them, in a third of its time. Raises `InputError` as it does."""
    check_atoms(constants, crystal)
    return _mode_energies(constants, crystal, q)


@jax.jit
def _mode_energies(constants, crystal, q):
    def at(point):
        return mode_energy(jnp.linalg.eigvalsh(constants.dynamical_matrix(point, crystal.masses)))

    return jax.lax.map(at, q)


@jax.jit
def group_velocities(constants: ForceConstants, crystal: Crystal, q: Float[Array, "k 3"]) -> Float[Array, "k j 3"]:
    """dω/dk of each mode, (k, 3n, 3) in m/s, by the Hellmann-Feynman theorem.

    Among degenerate modes those are taken that stay apart along (1, 2, 3), so the set's velocities are meaningful and
    each one's is that of a branch in that direction. A mode without energy has none (0).
    """

    def at(point):
        # k·(S cell) = 2π q·S, so a step dk is a step cell dk / 2π of q.
        def matrix(step):
            return constants.dynamical_matrix(point + crystal.cell @ step / (2 * jnp.pi), crystal.masses)

        here, slopes = matrix(jnp.zeros(3)), jax.jacfwd(matrix)(jnp.zeros(3))
        along = slopes @ jnp.array([1.0, 2.0, 3.0])
        _, vectors = jnp.linalg.eigh(here + 1e-7 * along * jnp.abs(here).max() / (jnp.abs(along).max() + 1e-30))
        values = jnp.einsum("aj,ab,bj->j", vectors.conj(), here, vectors).real
        rates = jnp.einsum("aj,abx,bj->jx", vectors.conj(), slopes, vectors).real
        moving = values > 1e3 * STILL
        speed = METRES_PER_SECOND / (2 * jnp.sqrt(jnp.where(moving, values, 1.0)))
        return jnp.where(moving, speed, 0.0)[:, None] * rates

    return jax.lax.map(at, q)


def mean_energy(
    energy: Energy, crystal: Crystal, topology: Topology, q: Float[Array, "3"], modes: Int[np.ndarray, " m"] | list[int]
) -> tuple[Float[Array, ""], Crystal]:
    """The mean energy in meV of `modes` (numbers from 0, rising) at `q`, and its gradient with respect to the crystal.

    By Hellmann-Feynman: d(ω²) = e† dD e, with the projector onto the modes held fixed, which is exact where they are
    apart from all others. The gradient comes as a crystal of derivatives: positions in meV/Å, cell, masses.
    Raises `InputError` for modes that there are not, and if one is degenerate with one that is left out: the mean then
    has no gradient.
    """
    q, modes = jnp.asarray(q, float), checked_modes(modes, crystal)
    found = find_modes(force_constants(energy, crystal, topology), crystal, q[None])
    energies = np.asarray(found.energies[0])
    inside = np.isin(np.arange(len(energies)), modes)
    gaps = np.abs(energies[inside][:, None] - energies[~inside][None, :])
    if gaps.size and gaps.min() < same(energies):
        together = np.flatnonzero(np.abs(energies - energies[inside][gaps.min(axis=1).argmin()]) < same(energies))
        raise InputError(
            f"Modes {modes.tolist()} at q = {np.asarray(q).tolist()} are degenerate with others and have no gradient "
            f"of their own; allowed all of a degenerate set; take {together.tolist()} together."
        )
    vectors = found.eigenvectors[0][:, modes]

    @eqx.filter_jit
    @eqx.filter_value_and_grad
    def mean(crystal):
        matrix = force_constants(energy, crystal, topology).dynamical_matrix(q, crystal.masses)
        return jnp.mean(mode_energy(jnp.einsum("aj,ab,bj->j", vectors.conj(), matrix, vectors).real))

    return mean(crystal)


def checked_modes(modes, crystal: Crystal) -> Int[np.ndarray, " m"]:
    """The numbers of modes, (m,); raises `InputError` for none, and for numbers that a crystal does not have."""
    numbers = np.asarray(modes, int).reshape(-1)
    if not len(numbers) or numbers.min() < 0 or numbers.max() >= 3 * len(crystal):
        raise InputError(f"Found the modes {numbers.tolist()}; allowed one or more of 0 to {3 * len(crystal) - 1}.")
    return numbers


def same(energies: Float[np.ndarray, " j"]) -> float:
    """How near, meV, two of the energies are whose modes count as degenerate."""
    return SAME if energies.dtype == np.float64 else 1e3 * SAME


def mesh(counts: tuple[int, int, int], shift: float = 0.5) -> Float[np.ndarray, "k 3"]:
    """A regular mesh of wave vectors over the whole zone, (k, 3) in reciprocal vectors.

    `counts`: along each of them; where it is 1 the component is 0. `shift`: of the mesh from Γ in its own steps; 1/2
    keeps it off Γ, where the acoustic modes have no energy and their densities no derivative.
    """
    axes = [(np.arange(n) + (shift if n > 1 else 0.0)) / n for n in counts]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def half_mesh(counts: tuple[int, int, int]) -> Float[np.ndarray, "k 3"]:
    """One of each pair q, -q of `mesh`, whose modes have the same energies and motions by time reversal, (k, 3).

    All of the mesh if it has an odd number of points, for then one is its own opposite.
    """
    whole = mesh(counts)  # -q of the number i from the start is the number i from the end
    return whole if len(whole) % 2 else whole[: len(whole) // 2]


def path(corners: Float[np.ndarray, "c 3"], steps: int) -> Float[np.ndarray, "k 3"]:
    """Wave vectors along straight lines from corner to corner, `steps` to each line and the last corner, (k, 3)."""
    corners = np.asarray(corners, float)
    shares = np.arange(steps)[:, None] / steps
    lines = [start + shares * (end - start) for start, end in itertools.pairwise(corners)]
    return np.concatenate([*lines, corners[-1:]])
