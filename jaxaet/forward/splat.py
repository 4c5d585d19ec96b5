"""Sums of Gaussians on a pixel grid, two ways: a product over the whole image, and tiles.

Both use that a Gaussian is separable, so an image is a matrix product of row and column factors and not
(pixels × atoms) exponentials.
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

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
    """Gaussians on square patches that overlap, each drawn around a tile for the atoms within it: best for many atoms.

    `size`: pixels across a tile, static. `tiles`: how many patches may be drawn, static. `slots`: atoms that fit one
    patch, static; a tile with more atoms takes several. `margin`: pixels from a tile to the edge of its patches,
    static; by default half a tile. When atoms have moved or widened so far that they no longer fit, the image is
    computed by `Dense`: slower, never wrong. `plan` chooses the numbers. `jax.vmap` cannot batch it; `jax.lax.map` can.
    """

    size: int = eqx.field(static=True)
    tiles: int = eqx.field(static=True)
    slots: int = eqx.field(static=True)
    margin: int = eqx.field(static=True)

    def __init__(self, size: int, tiles: int, slots: int, margin: int | None = None):
        self.size, self.tiles, self.slots = size, tiles, slots
        self.margin = size // 2 if margin is None else margin

    @classmethod
    def plan(cls, points: np.ndarray, reach: float, shape: tuple[int, int]) -> "Tiled":
        """Room for atoms at `points` (k, n, 2) pixels in k views, and a tenth more; `reach` as from `reach_of`."""
        margin = max(2, int(np.ceil(1.05 * reach)))
        # Products of matrices are fastest in multiples of 16, and patches of three tiles cost least.
        size = 16 * int(np.ceil(2.75 * margin / 16)) - 2 * margin
        bins = np.prod(_tile_grid(shape, size, margin))
        tiles = [_tile_of(view, size, margin, shape) for view in points]
        counts = np.array([np.bincount(tile, minlength=bins + 1)[:bins] for tile in tiles])
        needed = {n: int((-(-counts // n)).sum(axis=1).max()) for n in range(8, 65, 8)}
        # To add a patch to the image takes about as long as to draw four atoms.
        slots = min(needed, key=lambda n: needed[n] * (n + 4))
        return cls(size, int(1.1 * needed[slots]) + 4, slots, margin)

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
        rows, columns = _tile_grid(shape, self.size, self.margin)
        tile = jnp.asarray(_tile_of(points, self.size, self.margin, shape))
        order = _sorting(tile, rows * columns + 1)
        tile = tile[order]
        first = jnp.searchsorted(tile, jnp.arange(rows * columns + 1))
        needed = -(-jnp.diff(first) // self.slots)
        before = jnp.cumsum(needed) - needed
        fits = (jnp.sum(needed) <= self.tiles) & (reach_of(weights, variances) <= self.margin)
        slot = before[tile] * self.slots + jnp.arange(len(points)) - first[tile]
        slot = jnp.where(tile < rows * columns, slot, self.tiles * self.slots)
        patch_tile = jnp.zeros(self.tiles, int).at[slot // self.slots].set(tile, mode="drop")
        atom_in_slot = jnp.full(self.tiles * self.slots, len(points)).at[slot].set(order, mode="drop")
        slot_of_atom = jnp.zeros(len(points), int).at[order].set(slot)
        corners = jnp.stack([patch_tile // columns, patch_tile % columns], axis=-1) * self.size
        # Storing the factors for the backward pass would cost more than computing them again.
        draw = jax.checkpoint(partial(self._draw, corners, atom_in_slot, slot_of_atom, shape))
        dense = jax.checkpoint(partial(Dense(), shape=shape))
        return jax.lax.cond(fits, draw, dense, points, weights, variances)

    def _draw(self, corners, atom_in_slot, slot_of_atom, shape, points, weights, variances):
        g, margin = weights.shape[1], 2 * self.margin
        slots = _rearrange(jnp.concatenate([points, weights, variances], axis=1), atom_in_slot, slot_of_atom)
        slots = slots.reshape(self.tiles, self.slots, -1)
        local = slots[..., :2] - (corners[:, None, ::-1] - margin).astype(points.dtype)
        filled = (atom_in_slot < len(points)).reshape(self.tiles, self.slots, 1)
        widths = jnp.where(filled, slots[..., 2 + g :], 1.0)
        patches = _patches(local, slots[..., 2 : 2 + g], widths, self.size + margin)
        rows, columns = _tile_grid(shape, self.size, self.margin)
        canvas = jnp.zeros((rows * self.size + margin, columns * self.size + margin), patches.dtype)
        windows = jax.lax.ScatterDimensionNumbers((1, 2), (), (0, 1))
        canvas = jax.lax.scatter_add(canvas, corners, patches, windows, mode="promise_in_bounds")
        return canvas[margin : margin + shape[0], margin : margin + shape[1]]


def reach_of(
    weights: Float[Array, "n g"], variances: Float[Array, "n g"], negligible: float = NEGLIGIBLE
) -> Float[Array, ""]:
    """The distance in pixels beyond which every Gaussian is below the fraction `negligible` of its atom's peak."""
    share = jnp.abs(weights) / (jnp.sum(jnp.abs(weights), axis=1, keepdims=True) + jnp.finfo(weights.dtype).tiny)
    return jnp.max(jnp.sqrt(2 * variances * jnp.log(jnp.maximum(share / negligible, 1.0))), initial=0.0)


def _tile_grid(shape: tuple[int, int], size: int, margin: int) -> tuple[int, int]:
    """Rows and columns of tiles on the image and `margin` pixels around it."""
    return -(-(shape[0] + 2 * margin) // size), -(-(shape[1] + 2 * margin) // size)


def _tile_of(points, size: int, margin: int, shape: tuple[int, int]):
    """The index of the tile that holds each point; one past the last for points outside."""
    library = np if isinstance(points, np.ndarray) else jnp
    rows, columns = _tile_grid(shape, size, margin)
    place = library.floor((points + margin) / size).astype(int)
    column, row = place[..., 0], place[..., 1]
    inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    return library.where(inside, row * columns + column, rows * columns)


def _sorting(keys: Int[Array, " n"], bound: int) -> Int[Array, " n"]:
    """The indices that sort `keys` below `bound`: one array is sorted four times as fast as a pair."""
    n = len(keys)
    if bound * n > jnp.iinfo(keys.dtype).max:
        return jnp.argsort(keys)
    return jnp.sort(keys * n + jnp.arange(n)) % n


def _rearrange(values: Float[Array, "n c"], source: Int[Array, " m"], place: Int[Array, " n"]) -> Float[Array, "m c"]:
    """`values[source]`, 0 where there is none. Its transpose gathers by `place`: XLA's scatter is serial on CPU."""

    def gather(indices, values):
        return values.at[indices[0]].get(mode="fill", fill_value=0.0)

    def gather_back(indices, slots):
        return slots.at[indices[1]].get(mode="fill", fill_value=0.0)

    return jax.custom_derivatives.linear_call(gather, gather_back, (source, place), values)


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _patches(
    points: Float[Array, "m k 2"], weights: Float[Array, "m k g"], variances: Float[Array, "m k g"], size: int
) -> Float[Array, "m p p"]:
    rows, columns, _, _ = _factors(points, variances, size)
    return (_flat(weights, weights)[:, None] * rows) @ columns


@_patches.defjvp
def _patches_jvp(size, primals, tangents):
    """The derivative as two matrix products whose transposes are two matrix products and four row sums."""
    points, weights, variances = primals
    moved, reweighted, widened = tangents
    rows, columns, y, x = _factors(points, variances, size)
    precision = _flat(1 / variances, weights)
    broader = 0.5 * precision**2 * _flat(widened, weights)
    along_x, along_y = (precision * _flat(moved[..., axis, None], weights) for axis in (0, 1))
    weight, reweighted = (_flat(values, weights)[:, None] for values in (weights, reweighted))
    changed_rows = rows * (reweighted + weight * y * (along_y[:, None] + broader[:, None] * y))
    changed_columns = columns * x * (along_x[..., None] + broader[..., None] * x)
    drawn = weight * rows
    return drawn @ columns, changed_rows @ columns + drawn @ changed_columns


def _flat(values: Float[Array, "m k c"], like: Float[Array, "m k g"]) -> Float[Array, "m kg"]:
    m, k, g = like.shape
    return jnp.broadcast_to(values, (m, k, g)).reshape(m, k * g)


def _factors(points, variances, size: int):
    """Row factors (m, p, k g), column factors (m, k g, p) of each Gaussian and the distances they are taken at."""
    pixels = jnp.arange(size, dtype=points.dtype)
    steepness = _flat(-0.5 / variances, variances)
    x, y = (_flat(points[..., axis, None], variances) for axis in (0, 1))
    x, y = pixels[None, None] - x[..., None], pixels[None, :, None] - y[:, None]
    return jnp.exp(steepness[:, None] * y**2), jnp.exp(steepness[..., None] * x**2), y, x
