"""Scanning tomography: a wide, thin specimen, reconstructed window by window.

A window of the field has its own stack, cut from every image where the window is seen, and is reconstructed alone, so
that the memory is that of one batch of windows, whatever the field; only its middle is kept. Source: AET paper,
supplement, "sAET reconstruction". Where the paper cuts, the images fade out towards the border of a window along the
plane z = 0: of a specimen much thinner than that border, they show what a volume that fades out likewise would show.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

from jaxaet.core import Grid, Images, InputError, Volume, rotation_matrix
from jaxaet.tomography.real_space import VOXEL, back_project
from jaxaet.tomography.reconstruct import Method, System, origin, voxels

_FARTHEST = 1.0  # pixels that one alignment moves an image


class Windows(eqx.Module):
    """How a field is scanned.

    `size`: voxels of a window along x and y, static. `step`: from one window to the next, and of what is kept of each,
    static. `alignments`: how often the images of each window are shifted onto its reconstruction, which is then made
    anew, static. `batch`: windows computed at once on each device, static.
    """

    size: int = eqx.field(static=True)
    step: int = eqx.field(static=True)
    alignments: int = eqx.field(static=True)
    batch: int = eqx.field(static=True)

    def __init__(self, size: int = 60, step: int = 30, alignments: int = 0, batch: int = 1):
        self.size, self.step, self.alignments, self.batch = int(size), int(step), int(alignments), int(batch)

    def __check_init__(self):
        if not (0 < self.step <= self.size and self.size % 2 == self.step % 2 == 0):
            raise InputError(
                f"Windows of {self.size} voxels every {self.step} do not cover a field; give even numbers, and a step "
                "of at most the size."
            )
        if self.alignments < 0 or self.batch < 1:
            raise InputError(f"Found {self.alignments} alignments and batches of {self.batch}; give 0 and 1 or more.")


def scanned(
    images: Images,
    method: Method,
    windows: Windows,
    extent: tuple[float, float, float],
    sampling: float,
    shifts: Float[Array, "k 2"] | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> Volume:
    """The density that explains the images, in counts per voxel, put together from the middles of windows.

    `images`: without background; beyond their border they count as empty. `extent`: size of the volume along x, y, z,
    Å, centred at the origin. `sampling`: voxel, Å. `shifts`: (k, 2) where the origin lies in each image, Å.
    `on_step(windows, error)` is called after each batch, with its mean error. Windows are shared out to all devices.
    Raises `InputError` for windows larger than the images.
    """
    shape, pixel = voxels(extent, sampling), float(images.grid.sampling)
    if windows.size * sampling > max(images.grid.shape) * pixel:
        raise InputError(
            f"A window of {windows.size} voxels is {windows.size * sampling:.3g} Å wide and the images are "
            f"{max(images.grid.shape) * pixel:.3g} Å; give a smaller window, or reconstruct without windows."
        )
    turn = np.asarray(rotation_matrix(images.angles), float)
    places = np.zeros((len(turn), 2)) if shifts is None else np.asarray(shifts, float)
    seen = np.abs(turn[:, :2, :2]).sum(axis=1).max() * windows.size * sampling  # of a window by any image
    side = 2 * int(np.ceil(seen / pixel / 2))
    patch = Grid((side, side), images.grid.sampling)
    system = method.system(images.angles, patch, (windows.size, windows.size, shape[2]), sampling)
    blocks = [-(-n // windows.step) for n in shape[:2]]
    start = windows.step * np.stack(np.meshgrid(*map(np.arange, blocks), indexing="ij"), axis=-1).reshape(-1, 2)
    middles = (start + windows.step // 2 - np.array(shape[:2]) // 2) * sampling
    volume = np.zeros((*(n * windows.step for n in blocks), shape[2]), images.data.dtype)
    border = 0.5 * sampling * np.array([windows.step, windows.size])
    together = windows.batch * jax.device_count()
    kept = slice((windows.size - windows.step) // 2, (windows.size + windows.step) // 2)
    for first in range(0, len(start), together):
        some = np.minimum(np.arange(first, first + together), len(start) - 1)  # the last batch repeats its last window
        stacks = [_stack(images, turn, places, middles[one], patch, border) for one in some]
        data, left = (jnp.asarray(np.stack(part), images.data.dtype) for part in zip(*stacks, strict=True))
        found, errors = _batch(system, images.angles, windows.alignments, data, left)
        for one, density in zip(some, np.asarray(found), strict=True):
            x, y = start[one]
            volume[x : x + windows.step, y : y + windows.step] = density[kept, kept]
        if on_step is not None:
            on_step(min(first + together, len(start)), float(jnp.mean(errors)))
    return Volume(volume[: shape[0], : shape[1]], origin(shape, sampling), sampling)


def _stack(images: Images, turn, shifts, middle, patch: Grid, border) -> tuple[np.ndarray, np.ndarray]:
    """What each image sees of a window around `middle`, and where in it the window's own origin lies, Å.

    `border`: distance in Å from the middle at which the images start to fade, and end.
    """
    pixel, side = float(patch.sampling), patch.shape[0]
    data = np.asarray(images.data)
    plane = np.swapaxes(turn[:, :2, :2], 1, 2)  # what it makes of x and y at z = 0
    seen = plane @ middle + shifts
    nearest = np.rint(seen / pixel).astype(int)
    left = seen - nearest * pixel
    axis = (np.arange(side) - side // 2) * pixel
    found = np.zeros((len(data), side, side), data.dtype)
    for view, (column, row) in enumerate(nearest + np.array(data.shape[:0:-1]) // 2 - side // 2):
        first, start = max(row, 0), max(column, 0)
        part = data[view, first : max(row + side, 0), start : max(column + side, 0)]
        there = np.stack(np.meshgrid(axis - left[view, 0], axis - left[view, 1]))
        back = np.abs(np.einsum("ab,byx->ayx", np.linalg.inv(plane[view]), there))
        faded = np.clip((border[1] - back) / max(border[1] - border[0], 1e-6), 0.0, 1.0)
        fade = np.prod(np.sin(0.5 * np.pi * faded) ** 2, axis=0)
        found[view, first - row :, start - column :][: part.shape[0], : part.shape[1]] = part
        found[view] *= fade
    return found, left


@eqx.filter_jit
def _batch(system: System, angles: Float[Array, "k 3"], alignments: int, data, shifts):
    """The volumes and errors of a batch of windows, each device with its share."""
    leaves, rest = eqx.partition((system, angles), eqx.is_array)

    def one(leaves, data, shifts):
        system, angles = eqx.combine(leaves, rest)
        state = solved(system, data, shifts)
        for _ in range(alignments):
            shifts = shifts + misalignment(system, angles, data, shifts, state.best)
            state = solved(system, data, shifts)
        return state.best, state.error

    mesh = jax.make_mesh((jax.device_count(),), ("windows",), (jax.sharding.AxisType.Auto,))
    spread = PartitionSpec("windows")
    every = jax.shard_map(
        jax.vmap(one, in_axes=(None, 0, 0)), mesh=mesh, in_specs=(PartitionSpec(), spread, spread),
        out_specs=(spread, spread), check_vma=False,
    )  # fmt: skip
    return every(leaves, data, shifts)


def solved(system: System, data: Float[Array, "k ny nx"], shifts: Float[Array, "k 2"]):
    """The last state of a method, without leaving the device."""
    running, advance = (lambda state: system.running(state)), (lambda state: system.advance(state))
    return jax.lax.while_loop(running, advance, system.start(data, shifts))


def misalignment(
    system, angles: Float[Array, "k 3"], data: Float[Array, "k ny nx"], shifts: Float[Array, "k 2"], volume
) -> Float[Array, "k 2"]:
    """How far each image is shifted from what it should see of a volume, Å: one step of least squares."""

    def back(images):
        return back_project(
            Images(images, angles, system.grid), VOXEL * system.sampling, system.shape, system.sampling, shifts
        )

    (seen,) = jax.linear_transpose(back, data)(volume)
    fy, fx = system.grid.frequencies()
    spectrum = jnp.fft.fft2(seen)
    slope = [jnp.fft.ifft2(-2j * jnp.pi * f * spectrum).real for f in (fx[None, None, :], fy[None, :, None])]
    rows = jnp.stack([part.reshape(len(data), -1) for part in slope], axis=1)
    normal = jnp.einsum("kap,kbp->kab", rows, rows)
    right = jnp.einsum("kap,kp->ka", rows, (data - seen).reshape(len(data), -1))
    ridge = 1e-6 * jnp.trace(normal, axis1=1, axis2=2)[:, None, None] + jnp.finfo(data.dtype).tiny
    step = jnp.linalg.solve(normal + ridge * jnp.eye(2, dtype=data.dtype)[None], right[..., None])[..., 0]
    farthest = _FARTHEST * system.grid.sampling
    return jnp.clip(step, -farthest, farthest)
