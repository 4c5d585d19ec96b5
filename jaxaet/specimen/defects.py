"""Changes to a specimen: vacancies, substitutions, ripples."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, PRNGKeyArray, ScalarLike

from jaxaet.core import InputError
from jaxaet.specimen.atoms import Atoms
from jaxaet.specimen.generator import host_generator


def with_vacancies(
    atoms: Atoms, which: Int[np.ndarray, " m"] | list[int] | int, key: PRNGKeyArray | None = None
) -> Atoms:
    """The atoms without some of them.

    `which`: the indices of the atoms to remove, or how many to remove at random with `key`.
    Raises `InputError` for an index or a number beyond the atoms, and for a number without a key.
    """
    if isinstance(which, int):
        if key is None:
            raise InputError(f"{which} vacancies at random need a key; pass one, or the indices of the atoms.")
        if not 0 <= which <= len(atoms):
            raise InputError(f"{which} of {len(atoms)} atoms cannot be removed; give 0 to {len(atoms)}.")
        which = host_generator(key).choice(len(atoms), which, replace=False)
    return atoms.select(np.delete(np.arange(len(atoms)), _indices(atoms, which)))


def with_substitutions(atoms: Atoms, which: Int[np.ndarray, " m"] | list[int], species: str) -> Atoms:
    """The atoms with those of the indices `which` replaced by `species`, at the same place and with the same `u2`.

    Raises `InputError` for an index beyond the atoms and for a species that has no column in the composition.
    """
    if species not in atoms.species:
        raise InputError(
            f"Species {species!r} is not among {list(atoms.species)}; build the atoms with it as a column."
        )
    row = jnp.eye(len(atoms.species))[atoms.species.index(species)]
    composition = atoms.composition.at[_indices(atoms, which)].set(row)
    return eqx.tree_at(lambda a: a.composition, atoms, composition)


@jax.jit
def with_ripple(
    atoms: Atoms,
    amplitude: ScalarLike,
    wavelength: ScalarLike,
    direction: ScalarLike = 0.0,
    phase: ScalarLike = 0.0,
    ridge: ScalarLike = 0.0,
    decay: ScalarLike = jnp.inf,
) -> Atoms:
    """A thin sheet bent to the height `amplitude` cos(2π t / `wavelength` + `phase`) exp(-(s - `ridge`)² / 2 `decay`²).

    Here t = x cos d + y sin d runs along the wave and s = x sin d - y cos d along its crests. `amplitude`,
    `wavelength`, `ridge` and `decay`: Å; `direction` d and `phase`: rad. Atoms off the plane z = 0 follow the sheet's
    normal (r -> r + ζ ẑ - z ∇ζ, Kirchhoff's thin plate), so one side of a crest is stretched, the other compressed.
    Differentiable in every argument.
    """
    cosine, sine = jnp.cos(direction), jnp.sin(direction)

    def height(xy):
        along, across = xy[0] * cosine + xy[1] * sine, xy[0] * sine - xy[1] * cosine
        wave = jnp.cos(2 * jnp.pi * along / wavelength + phase)
        return amplitude * wave * jnp.exp(-(((across - ridge) / decay) ** 2) / 2)

    heights, slopes = jax.vmap(jax.value_and_grad(height))(atoms.positions[:, :2])
    bent = jnp.column_stack([-atoms.positions[:, 2:] * slopes, heights])
    return eqx.tree_at(lambda a: a.positions, atoms, atoms.positions + bent)


def _indices(atoms: Atoms, which) -> np.ndarray:
    which = np.asarray(which, dtype=int).reshape(-1)
    if which.size and (which.min() < -len(atoms) or which.max() >= len(atoms)):
        raise InputError(f"Atoms {which.min()} to {which.max()} are not all among {len(atoms)}; count from 0.")
    return which
