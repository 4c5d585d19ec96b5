"""Layers on top of each other: moiré stacks."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxaet.core import InputError, rotation_matrix
from jaxaet.specimen.atoms import Atoms


def twisted_stack(
    layers: Sequence[Atoms],
    twists: Sequence[float] | Float[Array | np.ndarray, " l"],
    spacings: Sequence[float] | Float[Array | np.ndarray, " m"],
) -> Atoms:
    """Any number of layers, each turned about z and placed above the one before; the mean height is 0.

    `layers`: from the bottom up, each with its own plane at z = 0. `twists`: one angle per layer in rad,
    counter-clockwise seen from +z. `spacings`: distance in Å of each layer's plane from that of the layer below,
    one fewer than layers. Differentiable in every layer, twist and spacing.
    Raises `InputError` when the counts do not fit.
    """
    twists, spacings = jnp.asarray(twists, dtype=float), jnp.asarray(spacings, dtype=float)
    if not layers or twists.shape != (len(layers),) or spacings.shape != (len(layers) - 1,):
        raise InputError(
            f"{len(layers)} layers came with twists of shape {twists.shape} and spacings of shape {spacings.shape}; "
            "give one twist for each layer and one spacing fewer."
        )
    heights = jnp.concatenate([jnp.zeros(1), jnp.cumsum(spacings)])
    heights -= heights.mean()
    rotations = rotation_matrix(jnp.pad(twists[:, None], ((0, 0), (0, 2))))
    species = tuple(dict.fromkeys(symbol for layer in layers for symbol in layer.species))
    stacked = [
        (layer.positions @ rotation.T).at[:, 2].add(height)
        for layer, rotation, height in zip(layers, rotations, heights, strict=True)
    ]
    return Atoms(
        jnp.concatenate(stacked),
        jnp.concatenate([_in_columns(layer, species) for layer in layers]),
        # What a species shares in one layer it need not share in another, so it becomes each atom's own.
        jnp.concatenate([layer.u2 + layer.composition @ layer.species_u2 for layer in layers]),
        species,
    )


def _in_columns(atoms: Atoms, species: tuple[str, ...]) -> Float[Array, "n s"]:
    columns = jnp.array([species.index(symbol) for symbol in atoms.species])
    return jnp.zeros((len(atoms), len(species))).at[:, columns].set(atoms.composition)
