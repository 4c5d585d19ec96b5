"""A first volume: non-negative least squares with the atom's own width in the model.

The volume holds point scatterers that every image shows blurred to a Gaussian of rms width w. For projections P_k,

    min over V >= 0 of  Σ_k |g * P_k V - b_k|²,

needs the images only once: the gradient is K * V - c with c the back-projection of the blurred images and
K(d) = Σ_k exp(-|P_k d|²/4w²) / 4 pi w², a convolution on the padded grid. Each step of

    V ← V · c / (K * V)

keeps V positive and lowers the misfit; it is accelerated by extrapolation. Because the blur belongs to the model, the
volume is sharper than the images. Source: Daube-Witherspoon & Muehllehner, IEEE Trans. Med. Imaging
5 (1986) 61 (the iteration); Biggs & Andrews, Appl. Opt. 36 (1997) 1766 (its acceleration); the Gaussian kernel is the
closed form of back-projecting a projection.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.fft import next_fast_len

from jaxaet.core import Images, Volume, rotation_matrix

_REACH = 5.0  # standard deviations of the kernel after which the padding may end


def reconstruct(
    images: Images,
    width: float,
    extent: tuple[float, float, float],
    sampling: float,
    iterations: int = 40,
    shifts: Float[Array, "k 2"] | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> Volume:
    """The density that explains the images, in counts per voxel.

    `images`: without background. `width`: rms width of an atom's image, Å. `extent`: size of the volume along x, y, z,
    Å, centred at the origin. `sampling`: voxel, Å. `shifts`: (k, 2) where the origin lies in each image, Å.
    `on_step(step, residual)` is called after each group of steps with the relative residual of K * V = c.
    """
    shape = tuple(max(1, int(np.ceil(length / sampling / 2)) * 2) for length in extent)
    shifts = jnp.zeros((len(images.data), 2)) if shifts is None else shifts
    width = float(np.hypot(width, 0.3 * sampling))
    padded = _padded_shape(shape, sampling, width, np.asarray(images.angles))
    target = back_project(images, width, shape, sampling, shifts)
    transfer = _kernel_transfer(images.angles, width, padded, sampling, images.grid.sampling)
    target = jnp.maximum(target, 0.0)
    volume = jnp.full(shape, jnp.mean(target) / jnp.max(transfer.real))
    state = (volume, volume, jnp.zeros_like(volume), jnp.zeros_like(volume))
    done = 0
    while done < iterations:
        steps = min(10, iterations - done)
        state, residual = _iterate(state, target, transfer, padded=padded, steps=steps)
        done += steps
        if on_step is not None:
            on_step(done, float(residual))
    origin = -0.5 * sampling * jnp.asarray(shape, dtype=target.dtype)
    return Volume(state[0], origin, sampling)


def back_project(
    images: Images, width: float, shape: tuple[int, ...], sampling: float, shifts: Float[Array, "k 2"]
) -> Float[Array, "nx ny nz"]:
    """The sum over images of the blurred image at the projection of each voxel, (nx, ny, nz)."""
    axes = [(jnp.arange(n) - n / 2) * sampling for n in shape]
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
    return jnp.fft.rfftn(kernel)


@partial(jax.jit, static_argnames=("padded", "steps"))
def _iterate(state, target, transfer, *, padded, steps):
    """Some steps, each from a point extrapolated along the last one by as much as successive steps agree."""
    nx, ny, nz = target.shape
    smallest = 1e-6 * jnp.max(target)

    def convolve(volume):
        return jnp.fft.irfftn(jnp.fft.rfftn(volume, s=padded) * transfer, s=padded)[:nx, :ny, :nz]

    def step(_, state):
        volume, previous, change, change_before = state
        agreement = jnp.vdot(change, change_before) / jnp.maximum(jnp.vdot(change_before, change_before), 1e-30)
        point = jnp.maximum(volume + jnp.clip(agreement, 0.0, 0.999) * (volume - previous), 1e-9 * jnp.max(volume))
        following = point * target / jnp.maximum(convolve(point), smallest)
        return following, volume, following - point, change

    state = jax.lax.fori_loop(0, steps, step, state)
    return state, jnp.linalg.norm((convolve(state[0]) - target).ravel()) / jnp.linalg.norm(target.ravel())
