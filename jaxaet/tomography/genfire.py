"""GENFIRE: the volume whose Fourier transform agrees with those of the images where they measure it.

The transform of an image is a plane through that of the volume. Voxels of a fine reciprocal grid that lie near a plane
take its value; each iteration writes them into the transform of the volume, and makes the volume non-negative inside
its support:

    V ← max(0, V + c - K * V),    c = F⁻¹(M D),    K = F⁻¹(M),

with D the measured values and M one where they are measured. Only differences within the support matter of K, so the
fine grid is needed once, not in each iteration. The iteration is projected gradient descent of step 1 on
Σ M |F V - D|², which extrapolation accelerates. Source: Pryor et al., Sci. Rep. 7 (2017) 10409.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int
from scipy.fft import next_fast_len

from jaxaet.core import Grid, InputError, rotation_matrix
from jaxaet.tomography.descent import Descent, descended, transfer_function

BLOCK = 25  # iterations between two looks at the fine grid
_LARGEST = 640  # voxels along a side of the fine grid
_NEAREST = 1e-3  # voxels: planes as near as that count alike
_PATIENCE = 3  # blocks without a lower R_free that end the iteration


class Genfire(eqx.Module):
    """Method for `reconstruct`: Fourier iteration.

    `iterations`: at most, static. `oversampling`: of the reciprocal grid, static. `radius`: how far from a plane its
    value still holds, in voxels of that grid (dimensionless). `extension`: in how many steps the resolution grows to
    its full value during the first half, static. `withheld`: fraction of the measured values that are not used but
    tell by R_free when to stop. `accelerated`: whether steps are extrapolated, static; the published iteration is not.
    """

    iterations: int = eqx.field(static=True)
    oversampling: int = eqx.field(static=True)
    radius: Float[Array, ""]
    extension: int = eqx.field(static=True)
    withheld: Float[Array, ""]
    accelerated: bool = eqx.field(static=True)

    def __init__(
        self, iterations: int = 1000, oversampling: int = 3, radius: float = 0.3, extension: int = 1,
        withheld: float = 0.05, accelerated: bool = True,
    ):  # fmt: skip
        self.iterations, self.oversampling, self.extension = int(iterations), int(oversampling), int(extension)
        self.radius, self.withheld = (jnp.asarray(x, dtype=float) for x in (radius, withheld))
        self.accelerated = bool(accelerated)

    def __check_init__(self):
        if self.iterations < 1 or self.oversampling < 2 or self.extension < 1:
            raise InputError(
                f"GENFIRE cannot work with {self.iterations} iterations, oversampling {self.oversampling} and "
                f"{self.extension} steps of extension; give at least 1, 2 and 1."
            )

    def system(
        self, angles: Float[Array, "k 3"], grid: Grid, shape: tuple[int, int, int], sampling: float
    ) -> "GenfireSystem":
        """What depends on the geometry alone: images on `grid`, a volume of `shape` voxels of `sampling` Å.

        Raises `InputError` for a volume whose fine grid would not fit in memory.
        """
        side = 2 * int(next_fast_len(int(np.ceil(self.oversampling * max(shape) / 2)), real=True) or 0)
        if side > _LARGEST:
            raise InputError(
                f"A volume of {max(shape)} voxels needs a reciprocal grid of {side}³; allowed {_LARGEST}³, "
                "so scan it in windows or give larger voxels."
            )
        planes = _planes(angles, grid, side, sampling, float(self.radius))
        measured = np.zeros(side * side * (side // 2 + 1), bool)
        measured[np.asarray(planes.voxels[planes.weight > 0])] = True
        voxel = jnp.asarray(sampling, grid.sampling.dtype)
        free = measured & (_pair_draws(side) < float(self.withheld))
        return GenfireSystem(self, planes, jnp.asarray(measured & ~free), jnp.asarray(free), grid, voxel, shape, side)


class Planes(NamedTuple):
    """Where each image measures the transform of the volume.

    `voxels`: (k, m) of the half grid, flat. `u`, `v`: (k, m), the nearest point of the plane, 1/Å. `weight`:
    (k, m), the larger the nearer, zero for padding.
    """

    voxels: Int[Array, "k m"]
    u: Float[Array, "k m"]
    v: Float[Array, "k m"]
    weight: Float[Array, "k m"]


class GenfireState(NamedTuple):
    """Where the iteration stands.

    `descent`: the volume and what carries it on. `values`: D on the half grid. `transfer`, `target`: of K and c at this
    resolution. `best`: the volume of the lowest R_free yet, or of the last look without one. `error`, `free`: R of used
    and withheld values at the last look. `lowest`: of R_free. `waited`: looks since then. `step`: steps done.
    """

    descent: Descent
    values: Complex[Array, " h"]
    transfer: Float[Array, "hz py px"]
    target: Float[Array, "nx ny nz"]
    best: Float[Array, "nx ny nz"]
    error: Float[Array, ""]
    free: Float[Array, ""]
    lowest: Float[Array, ""]
    waited: Int[Array, ""]
    step: Int[Array, ""]


class GenfireSystem(eqx.Module):
    """GENFIRE for one geometry and any images.

    `method`: its settings. `planes`: where images measure. `used`, `free`: (h,), values of the half grid that enter,
    and that are withheld. `grid`: of the images. `sampling`: voxel, Å. `shape`, `side`: voxels of the volume and of the
    fine grid, static.
    """

    method: Genfire
    planes: Planes
    used: Bool[Array, " h"]
    free: Bool[Array, " h"]
    grid: Grid
    sampling: Float[Array, ""]
    shape: tuple[int, int, int] = eqx.field(static=True)
    side: int = eqx.field(static=True)

    def measured(self, data: Float[Array, "k ny nx"], shifts: Float[Array, "k 2"]) -> Complex[Array, " h"]:
        """The values at the voxels of the half grid, from images whose origin lies at `shifts` Å."""
        y, x = self.grid.coordinates()

        def one(view):
            image, (sx, sy), index, u, v, weight = view
            across, down = 2 * jnp.pi * u[:, None] * (x[None] - sx), 2 * jnp.pi * v[:, None] * (y[None] - sy)
            # Real products: complex ones are several times slower on CPUs.
            cosine, sine = jnp.cos(across) @ image.T, jnp.sin(across) @ image.T
            real = jnp.sum(cosine * jnp.cos(down) - sine * jnp.sin(down), axis=1)
            imaginary = -jnp.sum(cosine * jnp.sin(down) + sine * jnp.cos(down), axis=1)
            return index, weight, weight * real, weight * imaginary

        index, *sums = jax.lax.map(one, (data, shifts, *self.planes))
        weight, real, imaginary = (jnp.zeros(self.used.size, data.dtype).at[index].add(part) for part in sums)
        return jax.lax.complex(real, imaginary) / jnp.where(weight > 0, weight, 1.0)

    @eqx.filter_jit
    def start(self, data: Float[Array, "k ny nx"], shifts: Float[Array, "k 2"]) -> GenfireState:
        """The empty volume, for images whose origin lies at `shifts` Å."""
        values = self.measured(data, shifts)
        transfer, target = self._at_resolution(values, self._limit(0))
        worst, none = jnp.asarray(jnp.inf, target.dtype), jnp.zeros((), int)
        descent = Descent.empty(target)
        return GenfireState(
            descent, values, transfer, target, descent.volume, worst, worst, worst, none, none
        )  # fmt: skip

    @eqx.filter_jit
    def advance(self, state: GenfireState) -> GenfireState:
        """A block of iterations, and a look at the fine grid."""
        padded, accelerated = tuple(2 * n for n in self.shape), self.method.accelerated
        steps = jnp.minimum(BLOCK, self.method.iterations - state.step)
        once = lambda _, now: descended(now, state.transfer, state.target, padded, accelerated)  # noqa: E731
        descent = jax.lax.fori_loop(0, steps, once, state.descent)
        limit, following = self._limit(state.step), self._limit(state.step + steps)
        seen = jnp.fft.rfftn(descent.volume, s=(self.side,) * 3).ravel()  # but for phases, which R does not see
        sharp = self._radius() <= limit
        error, free = (_r_factor(seen, state.values, where & sharp) for where in (self.used, self.free))
        # R_free of less than the full resolution is another number. Without one, the last volume is the best.
        final = limit >= self._limit(self.method.iterations)
        better = ~final | ~(free >= state.lowest)
        transfer, target = jax.lax.cond(
            following > limit,
            lambda: self._at_resolution(state.values, following),
            lambda: (state.transfer, state.target),
        )
        return GenfireState(
            descent, state.values, transfer, target, jnp.where(better, descent.volume, state.best), error, free,
            jnp.where(final & better, free, state.lowest), jnp.where(better, 0, state.waited + 1), state.step + steps,
        )  # fmt: skip

    def running(self, state: GenfireState) -> Bool[Array, ""]:
        """Whether there is more to do."""
        return (state.step < self.method.iterations) & (state.waited < _PATIENCE)

    def _limit(self, step) -> Float[Array, ""]:
        """The spatial frequency up to which data are used at a step, 1/Å."""
        widest, stages = _nyquist(self.grid, self.sampling), self.method.extension
        each = max(1, self.method.iterations // (2 * stages))
        done = jnp.minimum(1 + jnp.asarray(step) // each, stages)
        return widest * done / stages

    def _radius(self) -> Float[Array, " h"]:
        """The spatial frequency of each voxel of the half grid, 1/Å."""
        n = self.side
        full, half = jnp.fft.fftfreq(n) / self.sampling, jnp.fft.rfftfreq(n) / self.sampling
        square = full[:, None, None] ** 2 + full[None, :, None] ** 2 + half[None, None] ** 2
        return jnp.sqrt(square).ravel().astype(self.sampling.dtype)

    def _at_resolution(self, values, limit):
        """Transfer function and target with the data up to a spatial frequency."""
        mask = self.used & (self._radius() <= limit)
        half, full = (self.side, self.side, self.side // 2 + 1), (self.side,) * 3
        kernel = jnp.fft.irfftn(mask.astype(values.real.dtype).reshape(half), s=full)
        for axis, n in enumerate(self.shape):
            kernel = jnp.take(kernel, np.r_[0:n, self.side - n : self.side], axis=axis)
        target = jnp.fft.irfftn((mask * values).reshape(half), s=full)
        target = jnp.roll(target, tuple(n // 2 for n in self.shape), axis=(0, 1, 2))
        nx, ny, nz = self.shape
        return transfer_function(kernel), target[:nx, :ny, :nz]


def _nyquist(grid: Grid, sampling: Float[Array, ""] | float) -> Float[Array, ""]:
    return 0.5 / jnp.maximum(grid.sampling, sampling)


def _r_factor(seen, values, where) -> Float[Array, ""]:
    """Σ ||F| - |D|| / Σ |D| over some values; not a number if they are nothing."""
    total = jnp.sum(jnp.where(where, jnp.abs(values), 0.0))
    return jnp.sum(jnp.where(where, jnp.abs(jnp.abs(seen) - jnp.abs(values)), 0.0)) / total


def _planes(angles, grid: Grid, side: int, sampling: float, radius: float) -> Planes:
    """The voxels near each image's plane, padded to one number."""
    full, half = np.fft.fftfreq(side, sampling), np.fft.rfftfreq(side, sampling)
    widest, spacing = float(_nyquist(grid, sampling)), 1 / (side * sampling)
    qx, qy, qz = full[:, None, None], full[None, :, None], half[None, None]
    inside = qx**2 + qy**2 + qz**2 <= widest**2
    found = []
    for rotation in np.asarray(rotation_matrix(angles), float):
        away = np.abs(qx * rotation[0, 2] + qy * rotation[1, 2] + qz * rotation[2, 2]) / spacing
        near = np.nonzero((away <= radius) & inside)
        q = np.stack([full[near[0]], full[near[1]], half[near[2]]])
        index = np.ravel_multi_index(near, away.shape)
        found.append((index, *(rotation[:, :2].T @ q), 1 / np.maximum(away[near], _NEAREST)))
    most = max(len(index) for index, *_ in found)
    padded = [[np.pad(part, (0, most - len(part))) for part in one] for one in found]
    index, u, v, weight = (np.stack(part) for part in zip(*padded, strict=True))
    dtype = grid.sampling.dtype
    return Planes(jnp.asarray(index), *(jnp.asarray(part, dtype) for part in (u, v, weight)))


def _pair_draws(side: int) -> Float[np.ndarray, " h"]:
    """A uniform number for each voxel of the half grid, the same for a voxel and its mirror image."""
    half = side // 2 + 1
    draws = np.random.default_rng(0).random((side, side, half))
    mirror = -np.arange(side) % side
    for plane in (0, side // 2):
        draws[..., plane] = np.minimum(draws[..., plane], draws[mirror][:, mirror, plane])
    # The smaller of two uniform numbers is not uniform; its distribution function makes it so.
    for plane in (0, side // 2):
        draws[..., plane] = 1 - (1 - draws[..., plane]) ** 2
    return draws.ravel()
