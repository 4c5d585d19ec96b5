"""Sums of Gaussians on a pixel grid, two ways: a product over the whole image, and tiles.

Both use that a Gaussian is separable, so an image is a matrix product of row and column factors and not
(pixels × atoms) exponentials.
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

# Tiles leave out what is below this fraction of an atom's peak.
NEGLIGIBLE = 1e-4


class Dense(eqx.Module):
    """Every Gaussian on every pixel: exact, and best for few atoms or small images."""

    def __call__(
        self,
        points: Float[Array, "n 2"],
        weights: Float[Array, "n g"],
        variances: Float[Array, "n g"],
        shape: tuple[int, int],
    ) -> Float[Array, "ny nx"]:
        """The image of Σ w exp(-|r - point|²/2v): `points` (column, row) in pixels, `variances` in pixels²."""
        x, y = (jnp.arange(n, dtype=points.dtype)[None] for n in shape[::-1])
        steepness = -0.5 / variances[:, :, None]
        columns = jnp.exp(steepness * ((x - points[:, :1]) ** 2)[:, None])
        rows = weights[:, :, None] * jnp.exp(steepness * ((y - points[:, 1:]) ** 2)[:, None])
        return jnp.einsum("ngy,ngx->yx", rows, columns)


class Tiled(eqx.Module):
    """Gaussians on square patches, two tiles a side and overlapping by one: best for many atoms.

    `size`: pixels across a tile, static. `tiles`: how many tiles may hold atoms, static. `slots`: atoms that fit
    one tile, static. When atoms have moved or widened so far that they no longer fit, the image is computed
    by `Dense`: slower, never wrong. `plan` chooses the three numbers. `jax.vmap` cannot batch it; `jax.lax.map` can.
    """

    size: int = eqx.field(static=True)
    tiles: int = eqx.field(static=True)
    slots: int = eqx.field(static=True)

    @classmethod
    def plan(cls, points: np.ndarray, reach: float, shape: tuple[int, int]) -> "Tiled":
        """Room for atoms at `points` (k, n, 2) pixels in k views, and a fifth more; `reach` as from `reach_of`."""
        size = max(8, int(np.ceil(2.1 * reach)))
        bins = np.prod(_tile_grid(shape, size))
        counts = np.array([np.bincount(_tile_of(view, size, shape), minlength=bins + 1)[:bins] for view in points])
        occupied, fullest = int((counts > 0).sum(axis=1).max()), int(counts.max())
        return cls(size, min(int(bins), int(1.1 * occupied) + 4), int(1.2 * fullest) + 4)

    def __call__(
        self,
        points: Float[Array, "n 2"],
        weights: Float[Array, "n g"],
        variances: Float[Array, "n g"],
        shape: tuple[int, int],
    ) -> Float[Array, "ny nx"]:
        """The image of Σ w exp(-|r - point|²/2v): `points` (column, row) in pixels, `variances` in pixels²."""
        if len(points) == 0:
            return jnp.zeros(shape, points.dtype)
        rows, columns = _tile_grid(shape, self.size)
        tile = _tile_of(points, self.size, shape)
        order = jnp.argsort(tile)
        first = jnp.searchsorted(tile[order], jnp.arange(rows * columns + 1))
        count = jnp.diff(first)
        fits = (count.max() <= self.slots) & (jnp.sum(count > 0) <= self.tiles)
        fits &= 2 * reach_of(weights, variances) <= self.size
        sorting = (tile[order], order, first, count)
        # Storing the factors for the backward pass would cost more than computing them again.
        draw = jax.checkpoint(partial(self._draw, sorting=sorting, shape=shape))
        dense = jax.checkpoint(partial(Dense(), shape=shape))
        return jax.lax.cond(fits, draw, dense, points, weights, variances)

    def _draw(self, points, weights, variances, sorting, shape):
        tile, order, first, count = sorting
        n, g = weights.shape
        rows, columns = _tile_grid(shape, self.size)
        active = jnp.nonzero(count, size=self.tiles, fill_value=rows * columns)[0]
        within = jnp.arange(self.slots)[None]
        slot = first[active][:, None] + within
        filled = within < jnp.append(count, 0)[active][:, None]
        rank = jnp.zeros(rows * columns + 1, int).at[active].set(jnp.arange(self.tiles), mode="drop")
        place = rank[tile] * self.slots + jnp.arange(n) - first[tile]
        place = jnp.where(tile < rows * columns, place, self.tiles * self.slots)
        place = jnp.zeros(n, int).at[order].set(place)
        packed = jnp.concatenate([points, weights, variances], axis=1)
        packed = _fill_slots(packed, order[jnp.minimum(slot, n - 1)].ravel(), filled.ravel(), place)
        packed = packed.reshape(self.tiles, self.slots, -1)
        corner = (jnp.stack([active % columns, active // columns], axis=-1) - 1) * self.size
        local = packed[..., :2] - corner[:, None].astype(points.dtype)
        widths = jnp.where(filled[..., None], packed[..., 2 + g :], 1.0)
        patches = _patches(local, packed[..., 2 : 2 + g], widths, 2 * self.size)
        empty = jnp.zeros((1, *patches.shape[1:]), patches.dtype)
        where = jnp.full(rows * columns, self.tiles).at[active].set(jnp.arange(self.tiles), mode="drop")
        patches = jnp.concatenate([patches, empty])[where]
        return _overlap_add(patches.reshape(rows, columns, *patches.shape[1:]), shape)


def reach_of(weights: Float[Array, "n g"], variances: Float[Array, "n g"]) -> Float[Array, ""]:
    """The distance in pixels beyond which every Gaussian is negligible beside its atom's peak."""
    share = jnp.abs(weights) / (jnp.sum(jnp.abs(weights), axis=1, keepdims=True) + jnp.finfo(weights.dtype).tiny)
    return jnp.max(jnp.sqrt(2 * variances * jnp.log(jnp.maximum(share / NEGLIGIBLE, 1.0))), initial=0.0)


def _tile_grid(shape: tuple[int, int], size: int) -> tuple[int, int]:
    return -(-shape[0] // size) + 1, -(-shape[1] // size) + 1


def _tile_of(points, size: int, shape: tuple[int, int]):
    """The index of the patch whose central half holds each point; one past the last for points outside."""
    library = np if isinstance(points, np.ndarray) else jnp
    rows, columns = _tile_grid(shape, size)
    place = library.floor(points / size - 0.5).astype(int) + 1
    column, row = place[..., 0], place[..., 1]
    inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    return library.where(inside, row * columns + column, rows * columns)


def _fill_slots(
    values: Float[Array, "n c"], source: Int[Array, " m"], filled: Bool[Array, " m"], place: Int[Array, " n"]
) -> Float[Array, "m c"]:
    """`values[source]` where filled, else 0. Its transpose gathers by `place` too: XLA's scatter is serial on CPU."""

    def gather(indices, values):
        source, filled, _ = indices
        return jnp.where(filled[:, None], values[source], 0.0)

    def gather_back(indices, slots):
        return jnp.concatenate([slots, jnp.zeros((1, slots.shape[1]), slots.dtype)])[indices[2]]

    return jax.custom_derivatives.linear_call(gather, gather_back, (source, filled, place), values)


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _patches(
    points: Float[Array, "m k 2"], weights: Float[Array, "m k g"], variances: Float[Array, "m k g"], size: int
) -> Float[Array, "m p p"]:
    rows, columns, _, _ = _factors(points, variances, size)
    return jnp.einsum("mky,mkx->myx", _flat(weights, weights) * rows, columns)


@_patches.defjvp
def _patches_jvp(size, primals, tangents):
    """The derivative as two matrix products whose transposes are two matrix products and four row sums."""
    points, weights, variances = primals
    moved, reweighted, widened = tangents
    rows, columns, y, x = _factors(points, variances, size)
    precision, weight = _flat(1 / variances, weights), _flat(weights, weights)
    broader = 0.5 * precision**2 * _flat(widened, weights)
    along_x, along_y = (precision * _flat(moved[..., axis, None], weights) for axis in (0, 1))
    drawn = weight * rows
    changed_rows = rows * (_flat(reweighted, weights) + weight * y * (along_y + broader * y))
    changed_columns = columns * x * (along_x + broader * x)
    product = partial(jnp.einsum, "mky,mkx->myx")
    return product(drawn, columns), product(changed_rows, columns) + product(drawn, changed_columns)


def _flat(values: Float[Array, "m k c"], like: Float[Array, "m k g"]) -> Float[Array, "m kg 1"]:
    m, k, g = like.shape
    return jnp.broadcast_to(values, (m, k, g)).reshape(m, k * g, 1)


def _factors(points, variances, size: int):
    """Row and column factors (m, k g, p) of each Gaussian and the distances they are taken at."""
    pixels = jnp.arange(size, dtype=points.dtype)[None, None]
    steepness = _flat(-0.5 / variances, variances)
    x, y = (pixels - _flat(points[..., axis, None], variances) for axis in (0, 1))
    return jnp.exp(steepness * y**2), jnp.exp(steepness * x**2), y, x


def _overlap_add(patches: Float[Array, "r c p p"], shape: tuple[int, int]) -> Float[Array, "ny nx"]:
    """The image of overlapping patches: four shifted sums, no scatter."""
    rows, columns, width, _ = patches.shape
    size = width // 2
    quarters = patches.reshape(rows, columns, 2, size, 2, size)
    total = sum(
        jnp.pad(quarters[:, :, a, :, b, :], ((a, 1 - a), (b, 1 - b), (0, 0), (0, 0))) for a in (0, 1) for b in (0, 1)
    )
    image = jnp.transpose(jnp.asarray(total), (0, 2, 1, 3)).reshape((rows + 1) * size, (columns + 1) * size)
    return image[size : size + shape[0], size : size + shape[1]]
