"""Volumes by non-negative least squares in real space.

The volume holds point scatterers that every image shows as a Gaussian of rms width w. For projections P_k,

    min over V >= 0 of  Σ_k |g * P_k V - b_k|²,

needs the images only once: the gradient is K * V - c with c the back-projection of the blurred images and
K(d) = Σ_k exp(-|P_k d|²/4w²) / 4 pi w², a convolution on the padded grid, the closed form of back-projecting a
projection. `Deblurring` takes for w the width of an atom's image, so that the volume is sharper than the images;
`Resire` takes hardly more than a voxel and descends along the gradient.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree
from scipy.fft import next_fast_len

from jaxaet.core import Grid, Images, InputError, rotation_matrix
from jaxaet.tomography.descent import Descent, convolved, descended, transfer_function

BLOCK = 10  # iterations between two looks at what is left
_REACH = 5.0  # standard deviations of the kernel after which the padding may end
VOXEL = 0.4  # rms width of a voxel's own image, voxels


class Deblurring(eqx.Module):
    """Method for `reconstruct`: V ← V · c / (K * V), accelerated by extrapolation.

    `width`: rms width of an atom's image, Å. `iterations`: static. Each step keeps V positive and lowers the misfit.
    Source: Daube-Witherspoon & Muehllehner, IEEE Trans. Med. Imaging 5 (1986) 61; Biggs & Andrews, Appl. Opt. 36 (1997)
    1766 (its acceleration).
    """

    width: Float[Array, ""]
    iterations: int = eqx.field(static=True)

    def __init__(self, width: float, iterations: int = 40):
        self.width, self.iterations = jnp.asarray(width, dtype=float), _positive(iterations)

    def system(self, angles, grid: Grid, shape: tuple[int, int, int], sampling: float) -> "RealSpaceSystem":
        """What depends on the geometry alone: images on `grid`, a volume of `shape` voxels of `sampling` Å."""
        return RealSpaceSystem.of(self, float(np.hypot(self.width, 0.3 * sampling)), angles, grid, shape, sampling)

    def begin(self, target: Float[Array, "nx ny nz"], transfer) -> PyTree:
        """A uniform volume, the one before it, and the last two changes."""
        volume = jnp.full_like(target, jnp.mean(jnp.maximum(target, 0.0)) / jnp.max(transfer))
        return volume, volume, jnp.zeros_like(volume), jnp.zeros_like(volume)

    def iterate(self, state: PyTree, target, transfer, padded: tuple[int, ...]) -> PyTree:
        """A step from a point extrapolated along the last one by as much as successive steps agree."""
        volume, previous, change, before = state
        target = jnp.maximum(target, 0.0)
        agreement = jnp.vdot(change, before) / jnp.maximum(jnp.vdot(before, before), 1e-30)
        point = jnp.maximum(volume + jnp.clip(agreement, 0.0, 0.999) * (volume - previous), 1e-9 * jnp.max(volume))
        following = point * target / jnp.maximum(convolved(point, transfer, padded), 1e-6 * jnp.max(target))
        return following, volume, following - point, change


class Resire(eqx.Module):
    """Method for `reconstruct`: V ← max(0, V - t (K * V - c)), the gradient descent of RESIRE.

    `iterations`: static. `step`: t as a fraction of the largest that cannot diverge. `accelerated`: whether steps are
    extrapolated, static; the published iteration is not. Source: Pham et al., Sci. Rep. 13 (2023) 5624.
    """

    iterations: int = eqx.field(static=True)
    step: Float[Array, ""]
    accelerated: bool = eqx.field(static=True)

    def __init__(self, iterations: int = 200, step: float = 1.0, accelerated: bool = True):
        self.iterations, self.accelerated = _positive(iterations), bool(accelerated)
        self.step = jnp.asarray(step, dtype=float)

    def system(self, angles, grid: Grid, shape: tuple[int, int, int], sampling: float) -> "RealSpaceSystem":
        """What depends on the geometry alone: images on `grid`, a volume of `shape` voxels of `sampling` Å."""
        return RealSpaceSystem.of(self, VOXEL * sampling, angles, grid, shape, sampling)

    def begin(self, target: Float[Array, "nx ny nz"], transfer) -> PyTree:
        """The empty volume."""
        return Descent.empty(target)

    def iterate(self, state: PyTree, target, transfer, padded: tuple[int, ...]) -> PyTree:
        """A step downhill."""
        step = self.step.astype(target.dtype) / jnp.max(transfer)
        return descended(state, step * transfer, step * target, padded, self.accelerated)


class RealSpaceState(NamedTuple):
    """Where the iteration stands.

    `memory`: the method's, of which the first is the volume. `target`: c. `error`: |K * V - c| / |c|. `step`: steps
    done.
    """

    memory: PyTree
    target: Float[Array, "nx ny nz"]
    error: Float[Array, ""]
    step: Int[Array, ""]

    @property
    def best(self) -> Float[Array, "nx ny nz"]:
        """The volume."""
        return self.memory[0]


class RealSpaceSystem(eqx.Module):
    """Least squares in real space for one geometry and any images.

    `method`: `Deblurring` or `Resire`. `width`: of the Gaussians, Å. `angles`: (k, 3) rad. `grid`: of the images.
    `transfer`: of K. `sampling`: voxel, Å. `shape`, `padded`: voxels of the volume and of the cyclic convolution,
    static.
    """

    method: Deblurring | Resire
    width: Float[Array, ""]
    angles: Float[Array, "k 3"]
    grid: Grid
    transfer: Float[Array, "hz py px"]
    sampling: Float[Array, ""]
    shape: tuple[int, int, int] = eqx.field(static=True)
    padded: tuple[int, ...] = eqx.field(static=True)

    @classmethod
    def of(cls, method, width: float, angles, grid: Grid, shape: tuple[int, int, int], sampling: float):
        """The system of a method with Gaussians of `width` Å."""
        padded = _padded_shape(shape, sampling, width, np.asarray(angles))
        transfer = _kernel_transfer(angles, width, padded, sampling, grid.sampling)
        voxel = jnp.asarray(sampling, grid.sampling.dtype)
        return cls(method, jnp.asarray(width, voxel.dtype), angles, grid, transfer, voxel, shape, padded)

    @eqx.filter_jit
    def start(self, data: Float[Array, "k ny nx"], shifts: Float[Array, "k 2"]) -> RealSpaceState:
        """The state before the first step, for images whose origin lies at `shifts` Å."""
        images = Images(data, self.angles, self.grid)
        target = back_project(images, self.width, self.shape, self.sampling, shifts)
        error = jnp.asarray(jnp.inf, target.dtype)
        return RealSpaceState(self.method.begin(target, self.transfer), target, error, jnp.zeros((), int))

    @eqx.filter_jit
    def advance(self, state: RealSpaceState) -> RealSpaceState:
        """A block of iterations, and how much is left."""
        steps = jnp.minimum(BLOCK, self.method.iterations - state.step)
        step = lambda _, memory: self.method.iterate(memory, state.target, self.transfer, self.padded)  # noqa: E731
        memory = jax.lax.fori_loop(0, steps, step, state.memory)
        left = convolved(memory[0], self.transfer, self.padded) - state.target
        error = jnp.linalg.norm(left.ravel()) / jnp.linalg.norm(state.target.ravel())
        return RealSpaceState(memory, state.target, error, state.step + steps)

    def running(self, state: RealSpaceState) -> Bool[Array, ""]:
        """Whether there is more to do."""
        return state.step < self.method.iterations


def _positive(iterations: int) -> int:
    if iterations < 1:
        raise InputError(f"{iterations} iterations reconstruct nothing; give at least 1.")
    return int(iterations)


def back_project(
    images: Images,
    width: Float[Array, ""] | float,
    shape: tuple[int, ...],
    sampling: Float[Array, ""] | float,
    shifts: Float[Array, "k 2"],
) -> Float[Array, "nx ny nz"]:
    """The sum over images of the blurred image at the projection of each voxel, (nx, ny, nz)."""
    axes = [(jnp.arange(n) - n // 2) * sampling for n in shape]
    return _back_project(images, jnp.asarray(width), axes, shifts)


@jax.jit
def _back_project(images, width, axes, shifts):
    ny, nx = images.grid.shape
    fy, fx = images.grid.frequencies()
    blur = jnp.exp(-2 * (jnp.pi * width) ** 2 * (fy[:, None] ** 2 + fx[None, : nx // 2 + 1] ** 2))

    def add(total, view):
        data, rotation, shift = view
        smooth = jnp.fft.irfft2(jnp.fft.rfft2(data) * blur, s=(ny, nx))
        x, y = (
            axes[0][:, None, None] * rotation[0, i]
            + axes[1][None, :, None] * rotation[1, i]
            + axes[2][None, None, :] * rotation[2, i]
            + shift[i]
            for i in (0, 1)
        )
        row, column = y / images.grid.sampling + ny // 2, x / images.grid.sampling + nx // 2
        return total + jax.scipy.ndimage.map_coordinates(smooth, [row, column], order=1, mode="constant"), None

    start = jnp.zeros(tuple(len(axis) for axis in axes), images.data.dtype)
    return jax.lax.scan(add, start, (images.data, rotation_matrix(images.angles), shifts))[0]


def _padded_shape(shape, sampling: float, width: float, angles: np.ndarray) -> tuple[int, ...]:
    """The grid on which the cyclic convolution is right: twice the volume, or less where the kernel ends sooner."""
    beam = np.abs(np.asarray(rotation_matrix(jnp.asarray(angles)))[..., 2])
    lengths = np.asarray(shape) * sampling
    # Along the beam the kernel has no end, but it leaves the padded volume through its nearest face.
    ends = np.array(
        [np.max(beam[:, i] / np.maximum(beam, 1e-3).T * lengths[:, None], axis=1, initial=0) for i in range(3)]
    )
    along = np.min(np.where(np.eye(3, dtype=bool), np.inf, ends), axis=1)
    reach = np.minimum(lengths, along + _REACH * np.sqrt(2) * width / np.maximum(1 - beam.max(axis=0) ** 2, 0.1))
    return tuple(
        int(next_fast_len(int(np.ceil((length + extra) / sampling)), real=True) or 0)
        for length, extra in zip(lengths, reach, strict=True)
    )


def _kernel_transfer(angles, width: float, padded: tuple[int, ...], sampling: float, pixel):
    axes = [jnp.fft.fftfreq(n, 1 / n) * sampling for n in padded]
    return _kernel(angles, jnp.asarray(width), axes, pixel)


@jax.jit
def _kernel(angles, width, axes, pixel):
    def add(total, rotation):
        x, y = (
            axes[0][:, None, None] * rotation[0, i]
            + axes[1][None, :, None] * rotation[1, i]
            + axes[2][None, None, :] * rotation[2, i]
            for i in (0, 1)
        )
        return total + jnp.exp(-(x**2 + y**2) / (4 * width**2)), None

    start = jnp.zeros(tuple(len(axis) for axis in axes), width.dtype)
    kernel = jax.lax.scan(add, start, rotation_matrix(angles))[0] * pixel**2 / (4 * jnp.pi * width**2)
    return transfer_function(kernel)
