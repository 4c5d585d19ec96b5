"""The linear model without JAX: NumPy written for speed, the per-atom window of the public AET codes, and Numba.

Each is a pair of functions of a `Scene`: `draw` gives the images (k, ny, nx), `slope` gives half the sum of squares of
images - data and its derivative by the points, (k, n, 2). Only what is nearer than `reach` to an atom is drawn.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

TILE = 24  # pixels: the fastest of 16, 24, 32 and 48 for 1,900 atoms in 512² pixels


class Scene(NamedTuple):
    """Gaussians on a grid of pixels.

    `points`: (k, n, 2) column and row, pixels. `weights`: (n, g) counts. `variances`: (n, g) pixels². `shape`: rows
    and columns. `reach`: pixels.
    """

    points: Float[np.ndarray, "k n 2"]
    weights: Float[np.ndarray, "n g"]
    variances: Float[np.ndarray, "n g"]
    shape: tuple[int, int]
    reach: int


class Peer(NamedTuple):
    """One implementation: `draw(scene)` → images, `slope(scene, data)` → (loss, derivative by the points)."""

    draw: Callable
    slope: Callable


def tiled_numpy() -> Peer:
    """Separable factors, one matrix product for each tile of atoms, views on as many threads as there are cores."""
    pool = ThreadPoolExecutor(os.cpu_count())

    def draw(scene):
        images = np.empty((len(scene.points), *scene.shape), scene.points.dtype)

        def view(k):
            images[k] = _draw_tiles(scene, _tiles(scene, k))

        list(pool.map(view, range(len(images))))
        return images

    def slope(scene, data):
        derivative = np.empty_like(scene.points)

        def view(k):
            tiles = _tiles(scene, k)
            residual = _draw_tiles(scene, tiles) - data[k]
            derivative[k] = _tiles_back(scene, tiles, residual)
            return 0.5 * np.vdot(residual, residual)

        return sum(pool.map(view, range(len(data)))), derivative

    return Peer(draw, slope)


class _Tiles(NamedTuple):
    order: np.ndarray
    slices: list  # (pixels of the padded image, rows of the factors) of each tile that holds atoms
    factors: tuple  # exponentials along x and, times the weight, along y, (n g, patch)
    distances: tuple


def _tiles(scene: Scene, view: int) -> _Tiles:
    rows, columns = (-(-length // TILE) for length in scene.shape)
    x, y = scene.points[view].T
    column, row = (np.clip(np.floor(z / TILE).astype(int), 0, n - 1) for z, n in ((x, columns), (y, rows)))
    order = np.argsort(row * columns + column, kind="stable")
    bounds = np.searchsorted((row * columns + column)[order], np.arange(rows * columns + 1))
    weights, variances = scene.weights[order], scene.variances[order]
    patch, g = TILE + 2 * scene.reach, weights.shape[1]
    pixels = np.arange(patch, dtype=x.dtype)
    distances, factors = [], []
    for z, tile in ((x, column), (y, row)):
        distance = pixels - (z - TILE * tile + scene.reach)[order, None].astype(x.dtype)
        distances.append(np.repeat(distance, g, axis=0))
        factors.append(np.exp(distances[-1] ** 2 * (-0.5 / variances).reshape(-1, 1)))
    factors[1] *= weights.reshape(-1, 1)
    slices = []
    for tile in np.flatnonzero(np.diff(bounds)):
        top, left = TILE * (tile // columns), TILE * (tile % columns)
        pixels = np.s_[top : top + patch, left : left + patch]
        slices.append((pixels, slice(bounds[tile] * g, bounds[tile + 1] * g)))
    return _Tiles(order, slices, tuple(factors), tuple(distances))


def _padded(scene: Scene, dtype) -> tuple[np.ndarray, tuple[slice, slice]]:
    canvas = np.zeros([-(-length // TILE) * TILE + 2 * scene.reach for length in scene.shape], dtype)
    return canvas, np.s_[scene.reach : scene.reach + scene.shape[0], scene.reach : scene.reach + scene.shape[1]]


def _draw_tiles(scene: Scene, tiles: _Tiles) -> Float[np.ndarray, "ny nx"]:
    along_x, along_y = tiles.factors
    canvas, inside = _padded(scene, along_x.dtype)
    for pixels, rows in tiles.slices:
        canvas[pixels] += along_y[rows].T @ along_x[rows]
    return canvas[inside]


def _tiles_back(scene: Scene, tiles: _Tiles, residual: Float[np.ndarray, "ny nx"]) -> Float[np.ndarray, "n 2"]:
    along_x, along_y = tiles.factors
    canvas, inside = _padded(scene, residual.dtype)
    canvas[inside] = residual
    back_x, back_y = np.empty_like(along_x), np.empty_like(along_y)
    for pixels, rows in tiles.slices:
        np.matmul(along_y[rows], canvas[pixels], out=back_x[rows])
        np.matmul(along_x[rows], canvas[pixels].T, out=back_y[rows])
    derivative = np.empty((len(tiles.order), 2), residual.dtype)
    pairs = zip((back_x, back_y), tiles.factors, tiles.distances, strict=True)
    for axis, (back, factor, distance) in enumerate(pairs):
        along = np.einsum("ip,ip,ip->i", back, factor, distance).reshape(scene.variances.shape)
        derivative[tiles.order, axis] = np.sum(along / scene.variances[tiles.order], axis=1)
    return derivative


def _windows(scene: Scene):
    """Each view's and atom's window in the padded image, with the distances of its columns, rows and pixels."""
    margin = scene.reach + 1
    offsets = np.arange(-scene.reach, scene.reach + 1)
    for k, points in enumerate(scene.points):
        for i, (x, y) in enumerate(points):
            column, row = round(float(x)), round(float(y))
            if -margin < column < scene.shape[1] + margin and -margin < row < scene.shape[0] + margin:
                top, left = row + 2 * margin - scene.reach, column + 2 * margin - scene.reach
                pixels = np.s_[top : top + offsets.size, left : left + offsets.size]
                dx, dy = (offsets + (column - x)).astype(points.dtype), (offsets + (row - y)).astype(points.dtype)
                r2 = (dx**2)[None, :] + (dy**2)[:, None]
                yield k, i, pixels, dx, dy, r2


def window_loop() -> Peer:
    """The public AET codes' way: for each atom and view a square window of exponentials is added to the image."""

    def blank(scene):
        padding = 4 * (scene.reach + 1)
        return np.zeros([len(scene.points), *(length + padding for length in scene.shape)], scene.points.dtype)

    def inside(scene):
        margin = 2 * (scene.reach + 1)
        return np.s_[:, margin : margin + scene.shape[0], margin : margin + scene.shape[1]]

    def draw(scene):
        canvas = blank(scene)
        for k, i, pixels, _, _, r2 in _windows(scene):
            for weight, variance in zip(scene.weights[i], scene.variances[i], strict=True):
                canvas[k][pixels] += weight * np.exp(r2 * (-0.5 / variance))
        return canvas[inside(scene)]

    def slope(scene, data):
        residual, derivative = blank(scene), np.zeros_like(scene.points)
        residual[inside(scene)] = draw(scene) - data
        for k, i, pixels, dx, dy, r2 in _windows(scene):
            for weight, variance in zip(scene.weights[i], scene.variances[i], strict=True):
                term = residual[k][pixels] * np.exp(r2 * (-0.5 / variance))
                derivative[k, i, 0] += weight / variance * (term.sum(axis=0) @ dx)
                derivative[k, i, 1] += weight / variance * (term.sum(axis=1) @ dy)
        return 0.5 * np.vdot(residual, residual), derivative

    return Peer(draw, slope)


def threaded_numba(threads: int = 2) -> Peer:
    """Compiled loops over separable windows, views in parallel. Raises `ImportError` where Numba is not installed."""
    import numba

    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    draw_all, back = _numba_draw(numba), _numba_back(numba)

    def draw(scene):
        images = np.zeros((len(scene.points), *scene.shape), scene.points.dtype)
        draw_all(scene.points, scene.weights, scene.variances, scene.reach, images)
        return images

    def slope(scene, data):
        residual, derivative = draw(scene) - data, np.zeros_like(scene.points)
        back(scene.points, scene.weights, scene.variances, scene.reach, residual, derivative)
        return 0.5 * np.vdot(residual, residual), derivative

    return Peer(draw, slope)


def _numba_draw(numba) -> Callable:
    @numba.njit(parallel=True, fastmath=True)
    def draw_all(points, weights, variances, reach, images):
        for k in numba.prange(points.shape[0]):
            across = np.empty(2 * reach + 1, points.dtype)
            for i in range(points.shape[1]):
                column, row = round(points[k, i, 0]), round(points[k, i, 1])
                left, right = max(column - reach, 0), min(column + reach + 1, images.shape[2])
                top, bottom = max(row - reach, 0), min(row + reach + 1, images.shape[1])
                for g in range(weights.shape[1]):
                    steepness = points.dtype.type(-0.5) / variances[i, g]
                    for c in range(left, right):
                        across[c - left] = np.exp(steepness * (c - points[k, i, 0]) ** 2)
                    for r in range(top, bottom):
                        down = weights[i, g] * np.exp(steepness * (r - points[k, i, 1]) ** 2)
                        for c in range(left, right):
                            images[k, r, c] += down * across[c - left]

    return draw_all


def _numba_back(numba) -> Callable:
    @numba.njit(parallel=True, fastmath=True)
    def back(points, weights, variances, reach, residual, derivative):
        for k in numba.prange(points.shape[0]):
            across, moved = np.empty(2 * reach + 1, points.dtype), np.empty(2 * reach + 1, points.dtype)
            for i in range(points.shape[1]):
                column, row = round(points[k, i, 0]), round(points[k, i, 1])
                left, right = max(column - reach, 0), min(column + reach + 1, residual.shape[2])
                top, bottom = max(row - reach, 0), min(row + reach + 1, residual.shape[1])
                for g in range(weights.shape[1]):
                    steepness = points.dtype.type(-0.5) / variances[i, g]
                    for c in range(left, right):
                        across[c - left] = np.exp(steepness * (c - points[k, i, 0]) ** 2)
                        moved[c - left] = across[c - left] * (c - points[k, i, 0])
                    for r in range(top, bottom):
                        dy = r - points[k, i, 1]
                        down = weights[i, g] / variances[i, g] * np.exp(steepness * dy**2)
                        still, moving = points.dtype.type(0), points.dtype.type(0)
                        for c in range(left, right):
                            still += residual[k, r, c] * across[c - left]
                            moving += residual[k, r, c] * moved[c - left]
                        derivative[k, i, 0] += down * moving
                        derivative[k, i, 1] += down * dy * still

    return back
