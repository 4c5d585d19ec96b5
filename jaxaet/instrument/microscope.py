"""The instrument as a whole."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxaet.core import Grid, InputError
from jaxaet.instrument.beam import Beam
from jaxaet.instrument.detector import AnnularDetector
from jaxaet.instrument.tilts import Tilts


class Microscope(eqx.Module):
    """Everything that looks, and the brightness of each of its k images.

    `beam`, `detector`: shared by all images. `tilts`: how the specimen lies in each. `grid`: the scan, in Å.
    `scale`: (k,) dimensionless gain of each image. `offset`: (k,) counts added to every pixel of each image.
    """

    beam: Beam
    detector: AnnularDetector
    tilts: Tilts
    grid: Grid
    scale: Float[Array, " k"]
    offset: Float[Array, " k"]

    def __init__(
        self,
        beam: Beam,
        detector: AnnularDetector,
        tilts: Tilts,
        grid: Grid,
        scale: ArrayLike | Sequence = 1.0,
        offset: ArrayLike | Sequence = 0.0,
    ):
        self.beam, self.detector, self.tilts, self.grid = beam, detector, tilts, grid
        images = tilts.angles.shape[:1]
        self.scale = jnp.broadcast_to(jnp.asarray(scale, dtype=float), images)
        self.offset = jnp.broadcast_to(jnp.asarray(offset, dtype=float), images)

    def __check_init__(self):
        if self.scale.shape != self.offset.shape:
            raise InputError(f"Scale {self.scale.shape} and offset {self.offset.shape} differ; give one per image.")

    def view(self, index) -> "Microscope":
        """The microscope of one image alone; `index` may be traced."""
        return eqx.tree_at(
            lambda m: (m.tilts.angles, m.tilts.shifts, m.scale, m.offset),
            self,
            replace_fn=lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, index, 1),
        )
