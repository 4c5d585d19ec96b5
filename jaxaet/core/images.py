"""Data together with the grid and the angles they live on."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxaet.core.errors import InputError
from jaxaet.core.grid import Grid


class Images(eqx.Module):
    """A tilt series, measured or computed.

    `data`: (k, ny, nx) electron counts (or the detector's own linear unit) of each pixel.
    `angles`: (k, 3) tilt angles (Z, Y, X) in rad. `grid`: the pixels, in Å.
    """

    data: Float[Array, "k ny nx"]
    angles: Float[Array, "k 3"]
    grid: Grid

    def __init__(self, data, angles, grid: Grid):
        self.data = jnp.asarray(data, dtype=float)
        self.angles = jnp.asarray(angles, dtype=float)
        self.grid = grid

    def __check_init__(self):
        if self.data.ndim != 3 or self.data.shape[1:] != self.grid.shape:
            raise InputError(
                f"Images of shape {self.data.shape} do not fit a grid of {self.grid.shape}; "
                "give an array (images, rows, columns) with the grid's rows and columns."
            )
        if self.angles.shape != (self.data.shape[0], 3):
            raise InputError(
                f"{self.data.shape[0]} images came with angles of shape {self.angles.shape}; "
                "give one row (Z, Y, X) for each image."
            )


class Frames(eqx.Module):
    """A tilt series as it was recorded, several frames of each image.

    `data`: (k, f, ny, nx) electron counts (or the detector's own linear unit) of each pixel of each of f frames.
    `angles`: (k, 3) tilt angles (Z, Y, X) in rad. `grid`: the pixels, in Å.
    """

    data: Float[Array, "k f ny nx"]
    angles: Float[Array, "k 3"]
    grid: Grid

    def __init__(self, data, angles, grid: Grid):
        self.data = jnp.asarray(data, dtype=float)
        self.angles = jnp.asarray(angles, dtype=float)
        self.grid = grid

    def __check_init__(self):
        if self.data.ndim != 4 or self.data.shape[2:] != self.grid.shape:
            raise InputError(
                f"Frames of shape {self.data.shape} do not fit a grid of {self.grid.shape}; "
                "give an array (images, frames, rows, columns) with the grid's rows and columns."
            )
        if self.angles.shape != (self.data.shape[0], 3):
            raise InputError(
                f"Frames of {self.data.shape[0]} images came with angles of shape {self.angles.shape}; "
                "give one row (Z, Y, X) for each image."
            )


class Volume(eqx.Module):
    """A density on voxels.

    `data`: (nx, ny, nz), indexed [x, y, z]. `origin`: position in Å of voxel (0, 0, 0).
    `sampling`: voxel size in Å.
    """

    data: Float[Array, "nx ny nz"]
    origin: Float[Array, "3"]
    sampling: Float[Array, ""]

    def __init__(self, data, origin, sampling):
        self.data = jnp.asarray(data, dtype=float)
        self.origin = jnp.asarray(origin, dtype=float)
        self.sampling = jnp.asarray(sampling, dtype=float)
