"""The Cramér-Rao bound: how well the data could fix each position at best.

The Fisher information of the free parameters is their normal matrix Jᵀ W J; the bound is its inverse. Angles, shifts,
brightness and widths that are free cost information, so they are inverted along. A rigid motion of all atoms
that free angles and shifts would make up for is no error: the bound is that of positions after rigid alignment to the
truth by least squares. Source: Kay, Fundamentals of Statistical Signal Processing (1993), chapter 3.
"""

import jax
import numpy as np
from jaxtyping import Float

from jaxaet.core import InputError
from jaxaet.forward import Linear
from jaxaet.inverse.gauss_newton import probed_blocks
from jaxaet.inverse.linearised import Linearised, sparse_normal_matrix
from jaxaet.inverse.normal import normal_matrix
from jaxaet.inverse.preconditioner import invert
from jaxaet.inverse.problem import Problem

_RIDGES = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4)  # brightness and response are known only together, and the matrix is rounded


def fisher(problem: Problem) -> Float[np.ndarray, "n 3 3"]:
    """The bound on the covariance of each atom's position at the problem's model, (n, 3, 3) in Å².

    The positions must be the first free leaf. `problem.forward`: `Linear`, or of any other model
    `Simulator(forward).linearised(model)`.
    Memory and time grow as the square and the cube of the number of parameters. Raises `InputError` when the positions
    are not free, and for another forward model.
    """
    packed = problem.pack(problem.leaves)
    first = jax.tree.leaves(problem.leaves)[0]
    atoms = problem.model.atoms
    if "atom" not in packed or first.shape != atoms.positions.shape:
        raise InputError(
            "The first free leaf is not atoms.positions; list it first, for the bound is that of positions."
        )
    information = _information(problem)
    n, width = packed["atom"].shape
    start = list(packed).index("atom")
    start = sum(value.size for value in list(packed.values())[:start])
    place = start + np.arange(n)[:, None] * width + np.arange(3)
    scale = np.sqrt(np.maximum(np.diagonal(information), 1e-30))
    information /= scale[:, None] * scale
    tilts = problem.model.microscope.tilts
    moving = [any(leaf is own for own in jax.tree.leaves(problem.leaves)) for leaf in (tilts.shifts, tilts.angles)]
    motions = _rigid_motions(np.asarray(atoms.positions, float))[:, np.repeat(moving, 3)]
    rigid = np.zeros((information.shape[0], motions.shape[1]))
    rigid[place.ravel()] = motions
    rigid = np.linalg.qr(rigid * scale[:, None])[0]
    information += 10.0 * rigid @ rigid.T
    covariance = invert(information, _RIDGES)
    blocks = np.array([covariance[np.ix_(rows, rows)] for rows in place])
    blocks /= scale[place][:, :, None] * scale[place][:, None, :]
    # What is held fixed above weighs atoms by what is known of them; alignment by least squares weighs all alike.
    motions = np.linalg.qr(motions)[0]
    units = scale[place].ravel()
    moved = (covariance[np.ix_(place.ravel(), place.ravel())] @ (motions / units[:, None])) / units[:, None]
    own, moved = motions.reshape(n, 3, -1), moved.reshape(n, 3, -1)
    cross = np.einsum("nam,nbm->nab", own, moved)
    both = np.einsum("nam,mk,nbk->nab", own, np.einsum("nam,nak->mk", own, moved), own)
    return blocks - cross - cross.swapaxes(1, 2) + both


def _information(problem: Problem) -> Float[np.ndarray, "p p"]:
    """Jᵀ W J in double precision."""
    forward, model = problem.forward, problem.model
    if isinstance(forward, Linearised):
        return sparse_normal_matrix(problem, forward)
    if not isinstance(forward, Linear):
        raise InputError(
            "The bound is known for the linear model and for Linearised ones; "
            "linearise the forward model, or use isolated_bound."
        )
    return normal_matrix(problem, float(forward.reach(model.atoms, model.microscope))).astype(np.float64)


def isolated_bound(problem: Problem) -> Float[np.ndarray, "n 3 3"]:
    """The bound on the covariance of each position if everything but that atom were known, (n, 3, 3) in Å².

    For any number of atoms and any forward model; lower than `fisher`, and estimated to some per cent from random
    signs. The positions must be the first free leaf, which is not checked again.
    """
    blocks = probed_blocks(problem).blocks["atom"]
    return np.linalg.inv(np.asarray(blocks, float))[:, :3, :3]


def _rigid_motions(positions: np.ndarray) -> np.ndarray:
    """Three translations and three small rotations of all atoms, (3 n, 6)."""
    centred = positions - positions.mean(axis=0)
    shifts = np.broadcast_to(np.eye(3), (len(positions), 3, 3))
    turns = np.cross(np.eye(3)[None], centred[:, None])
    return np.concatenate([shifts, turns], axis=1).transpose(0, 2, 1).reshape(-1, 6)
