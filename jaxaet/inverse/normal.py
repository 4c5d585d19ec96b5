"""The normal matrix Jᵀ W J of a problem, exactly, from windows of a few pixels.

An atom touches few pixels, so a window of pixels depends on few atoms and its share of Jᵀ W J is a small dense
product. The same matrix is the Fisher information (`fisher`) and, factorised, the preconditioner of Gauss-Newton.
"""

from typing import cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxaet.core import project
from jaxaet.forward import Linear
from jaxaet.inverse.problem import Model, Problem

WINDOW = 16  # pixels across: smaller windows repeat atoms, larger ones multiply atoms that do not meet


def normal_matrix(problem: Problem, reach: float) -> Float[np.ndarray, "p p"]:
    """Jᵀ W J at the problem's model, in the order of `Problem.pack`: atoms, images, then global parameters.

    `reach`: pixels from an atom beyond which it is negligible. The forward model must have `footprints`.
    """
    packed = problem.pack(problem.leaves)
    start = dict(zip(packed, np.cumsum([0] + [value.size for value in packed.values()]), strict=False))
    total = sum(value.size for value in packed.values())
    matrix = np.zeros((total, total), np.asarray(problem.data.data).dtype)
    information = _information(problem)
    for view, corner, atoms in windows(problem, reach):
        padded = np.concatenate([atoms, np.zeros(_padded_length(len(atoms)) - len(atoms), int)])
        place = (jnp.asarray(padded), jnp.asarray(len(atoms)), jnp.asarray(view), jnp.asarray(corner))
        share = _window(problem, information, *place)
        index = []
        for kind, value in packed.items():
            rows = {"atom": atoms, "image": np.array([view]), "global": np.array([0])}[kind]
            index.append((start[kind] + rows[:, None] * value.shape[1] + np.arange(value.shape[1])).ravel())
        extra = len(padded) - len(atoms)
        width = packed["atom"].shape[1] if "atom" in packed else 0
        kept = np.r_[: len(atoms) * width, (len(atoms) + extra) * width : share.shape[0]]
        where = np.concatenate(index)
        matrix[np.ix_(where, where)] += np.asarray(share)[np.ix_(kept, kept)]
    return matrix


def windows(problem: Problem, reach: float) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """For each view and each window that atoms touch: (view, corner (row, column), atom indices)."""
    grid, tilts = problem.model.microscope.grid, problem.model.microscope.tilts
    points = grid.pixels(project(problem.model.atoms.positions, tilts.angles) + tilts.shifts[:, None])
    found = []
    for view, (column, row) in enumerate(np.moveaxis(np.asarray(points), -1, 1)):
        for top in range(0, grid.shape[0], WINDOW):
            near = np.flatnonzero((row > top - reach) & (row < top + WINDOW - 1 + reach))
            for left in range(0, grid.shape[1], WINDOW):
                inside = (column[near] > left - reach) & (column[near] < left + WINDOW - 1 + reach)
                if inside.any():
                    found.append((view, np.array([top, left]), near[inside]))
    return found


def normal_cost(problem: Problem, reach: float) -> float:
    """Floating-point operations of `normal_matrix`, to decide whether it is worth it."""
    width = problem.pack(problem.leaves)["atom"].shape[1]
    rows = [_padded_length(len(atoms)) * width for _, _, atoms in windows(problem, reach)]
    return 2.0 * WINDOW**2 * sum(n**2 for n in rows)


def _padded_length(count: int) -> int:
    """The next of few lengths, so that few shapes are compiled: 16, 24, 32, 48, 64, 96 …"""
    length = 16
    while length < count:
        length = length * 3 // 2 if length & (length - 1) == 0 else length * 4 // 3
    return length


@eqx.filter_jit
def _information(problem: Problem) -> Float[Array, "k ny nx"]:
    """The information of each pixel, and none in a margin of zeros into which the last windows reach."""
    information = problem.likelihood.information(problem.mean(problem.leaves))
    return jnp.pad(information, ((0, 0), (0, WINDOW), (0, WINDOW)))


@eqx.filter_jit
def _window(
    problem: Problem,
    information: Float[Array, "k ny nx"],
    atoms: Int[Array, " a"],
    real: Int[Array, ""],
    view: Int[Array, ""],
    corner: Int[Array, "2"],
) -> Float[Array, "q q"]:
    """The share of one window of one view in the normal matrix of its atoms, its view and the global parameters."""
    real_atoms = jnp.arange(atoms.size) < real
    full = problem.model.atoms
    some = eqx.tree_at(
        lambda a: (a.positions, a.composition, a.u2),
        full,
        (full.positions[atoms], full.composition[atoms] * real_atoms[:, None], full.u2[atoms]),
    )
    forward = cast(Linear, problem.forward)  # the only model with footprints
    model = Model(some, problem.model.microscope.view(view))
    part = eqx.tree_at(lambda p: (p.model, p.data), problem, (model, None), is_leaf=lambda x: x is None)
    rows = part.pack(part.leaves)

    def each(atom_rows):
        changed = part.with_leaves(part.unpack({**rows, "atom": atom_rows}))
        return forward.footprints(changed.atoms, changed.microscope, corner, WINDOW)

    def whole(other_rows):
        changed = part.with_leaves(part.unpack({**rows, **other_rows}))
        seen = forward.footprints(changed.atoms, changed.microscope, corner, WINDOW)
        return seen.sum(axis=0) + changed.microscope.offset[0]

    columns = []
    for kind, value in rows.items():
        units = jnp.eye(value.shape[1], dtype=value.dtype)
        if kind == "atom":
            push = lambda unit: jax.jvp(each, (rows["atom"],), (jnp.broadcast_to(unit, rows["atom"].shape),))[1]  # noqa: E731
            change = jnp.moveaxis(jax.vmap(push)(units), 0, 1)
        else:
            push = lambda unit, kind=kind: jax.jvp(lambda v: whole({kind: v}), (rows[kind],), (unit[None],))[1]  # noqa: E731
            change = jax.vmap(push)(units)
        columns.append(change.reshape(-1, WINDOW**2))
    jacobian = jnp.concatenate(columns)
    weight = jax.lax.dynamic_slice(information[view], corner, (WINDOW, WINDOW)).ravel()
    return (jacobian * weight[None]) @ jacobian.T
