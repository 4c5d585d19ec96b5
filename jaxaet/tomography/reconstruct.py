"""Images → a volume, by one of several methods."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxaet.core import Grid, Images, Volume


@runtime_checkable
class System(Protocol):
    """A method for one geometry. Its states have `best`, the volume, `error`, what is left, and `step`."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of the volume."""
        ...

    def start(self, data: Float[Array, "k ny nx"], shifts: Float[Array, "k 2"]) -> Any:
        """The state before the first step, for images whose origin lies at `shifts` Å."""
        ...

    def advance(self, state: Any) -> Any:
        """A group of steps."""
        ...

    def running(self, state: Any) -> Any:
        """Whether there is more to do."""
        ...


@runtime_checkable
class Method(Protocol):
    """A way to reconstruct, such as `Genfire()`, `Resire()` or `Deblurring(width)`."""

    def system(self, angles: Array, grid: Grid, shape: tuple[int, int, int], sampling: float) -> System:
        """What depends on the geometry alone: images on `grid`, a volume of `shape` voxels of `sampling` Å."""
        ...


def reconstruct(
    images: Images,
    method: Method,
    extent: tuple[float, float, float],
    sampling: float,
    shifts: Float[Array, "k 2"] | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> Volume:
    """The density that explains the images, in counts per voxel.

    `images`: without background. `extent`: size of the volume along x, y, z, Å, centred at the origin. `sampling`:
    voxel, Å. `shifts`: (k, 2) where the origin lies in each image, Å. `on_step(step, error)` is called after each group
    of steps with the method's own measure of what is left. Raises `InputError` for a volume too large for the method.
    """
    system = method.system(images.angles, images.grid, voxels(extent, sampling), sampling)
    state = system.start(images.data, jnp.zeros((len(images.data), 2)) if shifts is None else shifts)
    while bool(system.running(state)):
        state = system.advance(state)
        if on_step is not None:
            on_step(int(state.step), float(state.error))
    return Volume(state.best, origin(system.shape, sampling), sampling)


def voxels(extent: tuple[float, float, float], sampling: float) -> tuple[int, int, int]:
    """How many voxels hold an extent in Å, an even number along each axis."""
    nx, ny, nz = (max(1, int(np.ceil(length / sampling / 2))) * 2 for length in extent)
    return nx, ny, nz


def origin(shape: tuple[int, int, int], sampling: float) -> Float[np.ndarray, "3"]:
    """The position in Å of the first voxel of a volume around the origin."""
    return -sampling * (np.asarray(shape) // 2)
