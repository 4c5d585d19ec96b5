"""The normal matrix Jᵀ W J of a problem, exactly, from windows of a few pixels.

An atom touches few pixels, so a window of pixels depends on few atoms and its share of Jᵀ W J is a small dense
product. The same matrix is the Fisher information (`fisher`) and, factorised, the preconditioner of Gauss-Newton.
"""

from collections.abc import Iterator
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxaet.core import project
from jaxaet.forward.linear import gaussians as describe_gaussians
from jaxaet.inverse.problem import Problem

WINDOW = 16  # pixels across: smaller windows repeat atoms, larger ones multiply atoms that do not meet
STEP = 32  # windows of up to 32, 64, 96 … atoms are computed alike, so that few shapes are compiled
BATCH = 32  # windows a call: enough to hide the call, few enough for their shares to stay in cache


def normal_matrix(problem: Problem, reach: float) -> Float[np.ndarray, "p p"]:
    """Jᵀ W J at the problem's model, in the order of `Problem.pack`.

    `reach`: pixels from an atom beyond which it is negligible. The forward model must be `Linear`.
    """
    packed = problem.pack(problem.leaves)
    first = dict(zip(packed, np.cumsum([0] + [value.size for value in packed.values()]), strict=False))
    total = sum(value.size for value in packed.values())
    matrix = np.zeros((total, total), np.asarray(problem.data.data).dtype)
    flat = matrix.reshape(-1)  # one flat index is twice as fast as a pair of them
    for (view, _, atoms), share in _shares(problem, windows(problem, reach)):
        rows = {"global": np.array([0]), "image": np.array([view]), "atom": atoms}
        places = [
            first[kind] + rows[kind][:, None] * packed[kind].shape[1] + np.arange(packed[kind].shape[1])
            for kind in rows
            if kind in packed
        ]
        where = np.concatenate([place.ravel() for place in places])
        flat[where[:, None] * total + where] += share[: where.size, : where.size]
    return matrix


def windows(problem: Problem, reach: float) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """For each view and each window: (view, corner (row, column), indices of the atoms that touch it)."""
    grid, tilts = problem.model.microscope.grid, problem.model.microscope.tilts
    points = grid.pixels(project(problem.model.atoms.positions, tilts.angles) + tilts.shifts[:, None])
    found = []
    for view, (column, row) in enumerate(np.moveaxis(np.asarray(points), -1, 1)):
        for top in range(0, grid.shape[0], WINDOW):
            near = np.flatnonzero((row > top - reach) & (row < top + WINDOW - 1 + reach))
            for left in range(0, grid.shape[1], WINDOW):
                inside = (column[near] > left - reach) & (column[near] < left + WINDOW - 1 + reach)
                found.append((view, np.array([top, left]), near[inside]))
    return found


def normal_cost(problem: Problem, reach: float) -> float:
    """Floating-point operations of `normal_matrix`, to decide whether it is worth it."""
    width = problem.pack(problem.leaves)["atom"].shape[1]
    lengths = np.array([_padded_length(len(atoms)) for _, _, atoms in windows(problem, reach)])
    return float(np.sum(2.0 * WINDOW**2 * (lengths * width) ** 2))


def _padded_length(count: int) -> int:
    return -(-count // STEP) * STEP


def _shares(problem: Problem, found: list) -> Iterator:
    """Each window with its share of the matrix: global parameters, its image's, its atoms', then rows of zeros."""
    moments = _moments(problem)
    if not moments.offsets.any():  # else dark pixels tell something as well
        found = [window for window in found if len(window[2])]
    found = sorted(found, key=lambda window: len(window[2]))
    lengths = [_padded_length(len(atoms)) for _, _, atoms in found]
    edges = [0, *(np.flatnonzero(np.diff(lengths)) + 1), len(found)]
    batches = [found[a : min(a + BATCH, stop)] for start, stop in pairwise(edges) for a in range(start, stop, BATCH)]
    waiting = []  # one batch is computed while the one before it is added up
    for batch in batches:
        atoms = np.full((BATCH, _padded_length(len(batch[-1][2]))), -1)
        for row, window in zip(atoms, batch, strict=False):
            row[: len(window[2])] = window[2]
        views, corners = (np.stack([w[i] for w in batch] + [batch[0][i]] * (BATCH - len(batch))) for i in (0, 1))
        waiting.append((batch, _batch(moments, *(jnp.asarray(x) for x in (views, corners, atoms)))))
        if len(waiting) == 2:
            done, shares = waiting.pop(0)
            yield from zip(done, np.asarray(shares), strict=False)
    for done, shares in waiting:
        yield from zip(done, np.asarray(shares), strict=False)


class _Moments(eqx.Module):
    """The Gaussians of all atoms and their derivatives by each column of packed parameters, c of an atom and d others.

    `gaussians`: points (k, n, m, 2), weights and variances (k, n, m, g). `per_atom`, `shared`: the same with a leading
    axis c or d. `offsets`: (d, k). `information`: of each pixel, with a margin into which the last windows reach.
    """

    gaussians: tuple[Array, Array, Array]
    per_atom: tuple[Array, Array, Array]
    shared: tuple[Array, Array, Array]
    offsets: Float[Array, "d k"]
    information: Float[Array, "k ny nx"]


@eqx.filter_jit
def _moments(problem: Problem) -> _Moments:
    packed = problem.pack(problem.leaves)

    def describe(packed):
        model = problem.with_leaves(problem.unpack(packed))
        points, weights, variances = describe_gaussians(model.atoms, model.microscope)
        weights = model.microscope.scale[:, None, None, None] * weights
        variances = jnp.broadcast_to(variances[None, :, None], weights.shape)
        return (points, weights, variances), model.microscope.offset

    gaussians, push = jax.linearize(describe, packed)
    zero = jax.tree.map(jnp.zeros_like, packed)

    def along(kind):
        units = jnp.eye(packed[kind].shape[1], dtype=packed[kind].dtype)
        return jax.vmap(lambda unit: push({**zero, kind: jnp.broadcast_to(unit, packed[kind].shape)}))(units)

    none = jax.tree.map(lambda x: jnp.zeros((0, *x.shape), x.dtype), gaussians)
    others = [along(kind) for kind in ("global", "image") if kind in packed]
    shared, offsets = jax.tree.map(lambda *x: jnp.concatenate(x), none, *others)
    per_atom = along("atom")[0] if "atom" in packed else none[0]
    information = problem.likelihood.information(problem.mean(problem.leaves))
    return _Moments(gaussians[0], per_atom, shared, offsets, jnp.pad(information, ((0, 0), (0, WINDOW), (0, WINDOW))))


@eqx.filter_jit
def _batch(
    moments: _Moments, views: Int[Array, " b"], corners: Int[Array, "b 2"], atoms: Int[Array, "b a"]
) -> Float[Array, "b q q"]:
    """The shares of several windows: first pixels `corners` (row, column); an atom of index -1 is none."""

    def share(inputs):
        view, corner, atoms = inputs
        some = lambda leaf: leaf[..., view, :, :, :][..., atoms, :, :]  # noqa: E731
        gaussians, per_atom, shared = jax.tree.map(some, (moments.gaussians, moments.per_atom, moments.shared))

        def factors(points, weights, variances):
            x, y = ((jnp.arange(WINDOW) + corner[axis])[None, None] - points[..., 1 - axis, None] for axis in (1, 0))
            rows, columns = (jnp.exp(-0.5 * z[:, :, None] ** 2 / variances[..., None]) for z in (y, x))
            return jnp.where(atoms >= 0, 1.0, 0.0)[:, None, None, None] * weights[..., None] * rows, columns

        def each(*gaussians):
            rows, columns = factors(*gaussians)
            return jnp.sum(rows[..., None] * columns[..., None, :], axis=(1, 2))

        def whole(*gaussians):
            return jnp.einsum("amgy,amgx->yx", *factors(*gaussians))

        push = lambda draw, tangents: jax.vmap(lambda t: jax.jvp(draw, gaussians, t)[1])(tangents)  # noqa: E731
        others = push(whole, shared) + moments.offsets[:, view, None, None]
        own = jnp.swapaxes(push(each, per_atom), 0, 1)
        jacobian = jnp.concatenate([others.reshape(-1, WINDOW**2), own.reshape(-1, WINDOW**2)])
        weight = jax.lax.dynamic_slice(moments.information[view], corner, (WINDOW, WINDOW)).ravel()
        return (jacobian * weight[None]) @ jacobian.T

    return jax.lax.map(share, (views, corners, atoms))
