"""The specimen: atoms that may be shared between species."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from jaxaet.core import InputError


class Atoms(eqx.Module):
    """Atoms in the object frame, whose origin lies on all rotation axes.

    `positions`: (n, 3) in Å. `composition`: (n, s), the weight of each of the static `species` at each
    atom; an ordinary atom is a one-hot row, what is missing to 1 is vacancy, and every entry has a
    gradient. `u2`: (n,) mean-square displacement along one axis in Å², thermal and instrumental.
    `species_u2`: (s,) what all atoms of a species share of it, in Å², in addition to `u2`.
    """

    positions: Float[Array, "n 3"]
    composition: Float[Array, "n s"]
    u2: Float[Array, " n"]
    species_u2: Float[Array, " s"]
    species: tuple[str, ...] = eqx.field(static=True)

    def __init__(self, positions, composition, u2, species, species_u2: ArrayLike | Sequence = 0.0):
        self.positions = jnp.asarray(positions, dtype=float)
        self.composition = jnp.asarray(composition, dtype=float)
        self.u2 = jnp.broadcast_to(jnp.asarray(u2, dtype=float), self.positions.shape[:1])
        self.species = tuple(species)
        self.species_u2 = jnp.broadcast_to(jnp.asarray(species_u2, dtype=float), (len(self.species),))

    def __check_init__(self):
        n, s = self.positions.shape[0], len(self.species)
        if self.positions.shape != (n, 3) or self.composition.shape != (n, s):
            raise InputError(
                f"Positions of shape {self.positions.shape} with composition of shape {self.composition.shape} "
                f"do not describe atoms of {s} species; give (n, 3) and (n, {s})."
            )

    @classmethod
    def from_symbols(cls, positions, symbols, u2: ArrayLike | Sequence = 0.0, species=None) -> "Atoms":
        """Atoms with one element each.

        `positions`: (n, 3) in Å; `symbols`: n chemical symbols; `u2`: Å², one number or (n,);
        `species`: the order of the columns, by default the order of appearance.
        Raises `InputError` for a symbol that is not among `species`.
        """
        symbols = [str(symbol) for symbol in symbols]
        columns = tuple(dict.fromkeys(symbols)) if species is None else tuple(species)
        unknown = sorted(set(symbols) - set(columns))
        if unknown:
            raise InputError(f"Species {unknown} are not among {list(columns)}; add them to `species`.")
        index = np.array([columns.index(symbol) for symbol in symbols], dtype=int)
        composition = np.eye(len(columns))[index] if len(symbols) else np.zeros((0, len(columns)))
        return cls(np.reshape(positions, (-1, 3)), composition, u2, columns)

    def __len__(self) -> int:
        return self.positions.shape[0]

    @property
    def total_u2(self) -> Float[Array, " n"]:
        """`u2` and what each atom shares of `species_u2`, (n,) in Å²."""
        content = jnp.sum(jnp.abs(self.composition), axis=1)
        return self.u2 + jnp.abs(self.composition) @ self.species_u2 / jnp.where(content > 0, content, 1.0)

    @property
    def labels(self) -> np.ndarray:
        """The index into `species` of each atom's largest weight, (n,) integers on the host."""
        return np.argmax(np.asarray(self.composition), axis=1)

    @property
    def symbols(self) -> np.ndarray:
        """The chemical symbol of each atom's largest weight, (n,) strings on the host."""
        return np.array(self.species)[self.labels]

    def select(self, which: Bool[np.ndarray, " n"] | Int[np.ndarray, " m"]) -> "Atoms":
        """The atoms of a mask or of an index array."""
        return Atoms(self.positions[which], self.composition[which], self.u2[which], self.species, self.species_u2)

    def join(self, other: "Atoms") -> "Atoms":
        """These atoms followed by those of `other`, which must have the same `species`; `species_u2` stays."""
        if other.species != self.species:
            raise InputError(f"Species {other.species} cannot be joined to {self.species}; use the same order.")
        return Atoms(
            jnp.concatenate([self.positions, other.positions]),
            jnp.concatenate([self.composition, other.composition]),
            jnp.concatenate([self.u2, other.u2]),
            self.species,
            self.species_u2,
        )
