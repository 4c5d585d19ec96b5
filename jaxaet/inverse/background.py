"""What lies under the specimen and is in no model of it: the smooth part of what the model leaves."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxaet.core import Grid


def smoothed(images: Float[Array, "k ny nx"], grid: Grid, width: Float[Array, ""]) -> Float[Array, "k ny nx"]:
    """Images averaged with a Gaussian of rms `width` Å, of which at an edge that part is taken that lies inside.

    An image of one value stays as it is.
    """
    rows, columns = (_averages(n, width / grid.sampling).astype(images.dtype) for n in grid.shape)
    return rows[None] @ images @ columns.T[None]


def _averages(n: int, width: Float[Array, ""]) -> Float[Array, "n n"]:
    places = jnp.arange(n)
    kernel = jnp.exp(-0.5 * ((places[:, None] - places[None]) / width) ** 2)
    return kernel / jnp.sum(kernel, axis=1, keepdims=True)
