"""The instrument as a whole."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxaet.core import Grid, InputError
from jaxaet.instrument.beam import Beam
from jaxaet.instrument.detector import AnnularDetector
from jaxaet.instrument.tilts import Tilts


class Microscope(eqx.Module):
    """Everything that looks: beam, detector, tilts and scan grid, and the brightness of each image.

    `scale`: (k,) dimensionless gain of each image. `offset`: (k,) counts added to every pixel of each image.
    """

    beam: Beam
    detector: AnnularDetector
    tilts: Tilts
    grid: Grid
    scale: Float[Array, " k"]
    offset: Float[Array, " k"]

    def __init__(self, beam: Beam, detector: AnnularDetector, tilts: Tilts, grid: Grid, scale=1.0, offset=0.0):
        self.beam, self.detector, self.tilts, self.grid = beam, detector, tilts, grid
        images = tilts.angles.shape[:1]
        self.scale = jnp.broadcast_to(jnp.asarray(scale, dtype=float), images)
        self.offset = jnp.broadcast_to(jnp.asarray(offset, dtype=float), images)

    def __check_init__(self):
        if self.scale.shape != self.offset.shape:
            raise InputError(f"Scale {self.scale.shape} and offset {self.offset.shape} differ; give one per image.")

    def view(self, index) -> "Microscope":
        """The microscope of one image alone; `index` may be traced."""
        pick = lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, index, 1)  # noqa: E731
        tilts = Tilts(pick(self.tilts.angles), pick(self.tilts.shifts))
        return Microscope(self.beam, self.detector, tilts, self.grid, pick(self.scale), pick(self.offset))
