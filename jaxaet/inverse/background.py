"""What lies under the specimen and is in no model of it: the smooth part of what the model leaves."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxaet.core import Grid

_KNOTS = 1.5  # in each rms width


class Smooth(eqx.Module):
    """Averages images with a Gaussian, at knots a fraction of its width apart, and interpolates between them.

    An image of one value stays as it is; at an edge counts what lies inside. `rows`, `columns`: (knots, pixels), how
    much each pixel counts at a knot, dimensionless. `up_rows`, `up_columns`: (pixels, knots), how much each knot
    counts at a pixel.
    """

    rows: Float[Array, "p ny"]
    up_rows: Float[Array, "ny p"]
    columns: Float[Array, "q nx"]
    up_columns: Float[Array, "nx q"]

    @classmethod
    def of(cls, grid: Grid, width: ArrayLike) -> "Smooth":
        """A Gaussian of rms `width` Å for images on `grid`."""
        parts = (_knots(n, float(np.asarray(width) / np.asarray(grid.sampling))) for n in grid.shape)
        return cls(*(jnp.asarray(part, dtype=float) for pair in parts for part in pair))

    def __call__(self, images: Float[Array, "k ny nx"]) -> Float[Array, "k ny nx"]:
        """The smooth part of each image."""
        at_knots = self.rows[None] @ (images @ self.columns.T[None])
        return self.up_rows[None] @ (at_knots @ self.up_columns.T[None])


def _knots(pixels: int, width: float) -> tuple[np.ndarray, np.ndarray]:
    """From pixels to knots and back: two Gaussians that make one of rms `width` pixels."""
    knots = np.linspace(0, pixels - 1, 2 + int(_KNOTS * pixels / width))
    weights = np.exp(-(((knots[:, None] - np.arange(pixels)) / width) ** 2))
    return weights / weights.sum(axis=1, keepdims=True), (weights / weights.sum(axis=0)).T
