"""The instrument as a whole."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxaet.core import Grid, InputError
from jaxaet.instrument.beam import Beam
from jaxaet.instrument.detector import AnnularDetector, SegmentedDetector
from jaxaet.instrument.tilts import Tilts
from jaxaet.instrument.vibration import StageVibration


class Microscope(eqx.Module):
    """Everything that looks, and the brightness of each of its k images.

    `beam`, `detector`: shared by all images. `tilts`: how the specimen lies in each. `grid`: the scan, in Å.
    `scale`: (k,) dimensionless gain of each image. `offset`: (k,) counts added to every pixel of each image.
    `vibration`: of the stage in each image, or none. `background`: (k, ny, nx) counts of what lies under the specimen,
    such as contamination, or none; neither `scale` nor vibration touches it.
    """

    beam: Beam
    detector: AnnularDetector | SegmentedDetector
    tilts: Tilts
    grid: Grid
    scale: Float[Array, " k"]
    offset: Float[Array, " k"]
    vibration: StageVibration | None
    background: Float[Array, "k ny nx"] | None

    def __init__(
        self,
        beam: Beam,
        detector: AnnularDetector | SegmentedDetector,
        tilts: Tilts,
        grid: Grid,
        scale: ArrayLike | Sequence = 1.0,
        offset: ArrayLike | Sequence = 0.0,
        vibration: StageVibration | None = None,
        background: ArrayLike | None = None,
    ):
        self.beam, self.detector, self.tilts, self.grid = beam, detector, tilts, grid
        images = tilts.angles.shape[:1]
        self.scale = jnp.broadcast_to(jnp.asarray(scale, dtype=float), images)
        self.offset = jnp.broadcast_to(jnp.asarray(offset, dtype=float), images)
        if vibration is not None and vibration.amplitude.shape == (1,):
            vibration = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, images), vibration)
        self.vibration = vibration
        self.background = None if background is None else jnp.asarray(background, dtype=float)

    def __check_init__(self):
        if self.scale.shape != self.offset.shape:
            raise InputError(f"Scale {self.scale.shape} and offset {self.offset.shape} differ; give one per image.")
        if self.vibration is not None and self.vibration.amplitude.shape != self.scale.shape:
            raise InputError(
                f"{self.vibration.amplitude.shape[0]} vibrations do not fit {self.scale.shape[0]} images; "
                "give one, or one for each image."
            )

        shape = (*self.scale.shape, *self.grid.shape)
        if self.background is not None and self.background.shape != shape:
            raise InputError(
                f"A background of shape {self.background.shape} does not fit images of {shape}; give that."
            )

    @property
    def pedestal(self) -> Float[Array, "k #ny #nx"]:
        """The counts in each pixel that do not come from the specimen."""
        offset = self.offset[:, None, None]
        return offset if self.background is None else offset + self.background

    @property
    def annular(self) -> AnnularDetector:
        """The detector; `InputError` if it has sectors, which only `Multislice` knows."""
        if isinstance(self.detector, SegmentedDetector):
            raise InputError("The linear model knows no sectors of a detector; give an AnnularDetector.")
        return self.detector

    def view(self, index) -> "Microscope":
        """The microscope of one image alone; `index` may be traced."""
        return eqx.tree_at(each_image, self, replace_fn=lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, index, 1))


def each_image(microscope: Microscope) -> tuple:
    """The leaves of which every image has its own."""
    tilts = microscope.tilts
    perhaps = jax.tree.leaves((microscope.vibration, microscope.background))
    return tilts.angles, tilts.shifts, microscope.scale, microscope.offset, *perhaps
