"""Approximate inverses of Jᵀ W J, which conjugate gradients need."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Float

from jaxaet.forward import Linear
from jaxaet.inverse.normal import normal_cost, normal_matrix
from jaxaet.inverse.problem import Problem

Packed = dict[str, Array]

AFFORDABLE = 3e12  # floating-point operations of a normal matrix that a fit may spend
LARGEST = 14_000  # parameters whose dense matrix is factorised
_FLOOR = 0.02  # smallest eigenvalue of a block, relative to its largest, after scaling to unit diagonal
_HARDLY = 1e-6  # information on a parameter, relative to the best known one of its kind
_RIDGES = (0.01, 0.1)  # added to the scaled normal matrix: the gauge freedoms turn as the model moves


class Inverse(eqx.Module):
    """The inverse of the whole normal matrix: few iterations, for up to some thousand atoms.

    `inverse`: (p, p) of the matrix scaled to unit diagonal. `scale`: (p,) square roots of that diagonal.
    """

    inverse: Float[Array, "p p"]
    scale: Float[Array, " p"]

    @classmethod
    def of(cls, problem: Problem, reach: float) -> "Inverse":
        """Assembled and inverted at the problem's model; `reach` in pixels."""
        matrix = normal_matrix(problem, reach)
        # What the images hardly show must stay where it is, and not fly off on a rounding error.
        tiny = np.finfo(matrix.dtype).tiny
        shown = _split(jnp.asarray(np.diagonal(matrix)), problem.pack(problem.leaves))
        shown = [
            jnp.maximum(value, _HARDLY * value.max(axis=0, keepdims=True) + tiny).ravel() for value in shown.values()
        ]
        scale = np.sqrt(np.concatenate(shown))
        matrix /= scale[:, None] * scale
        return cls(jnp.asarray(invert(matrix, _RIDGES)), jnp.asarray(scale))

    def diagonal(self, like: Packed) -> Packed:
        """The diagonal of the normal matrix."""
        return _split(self.scale**2, like)

    def solve(self, v: Packed) -> Packed:
        """The approximate inverse times `v`."""
        flat = jnp.concatenate([v[kind].ravel() for kind in v]) / self.scale
        return _split(self.inverse @ flat / self.scale, v)


class Blocks(eqx.Module):
    """One block for each atom, each image, and all global parameters: for any size and any forward model.

    `blocks`: for each kind (rows, p, p).
    """

    blocks: dict[str, Float[Array, "rows p p"]]

    @classmethod
    def of(cls, curvature, like: Packed, probes: int = 6) -> "Blocks":
        """Exact for images and global parameters, estimated for atoms, from products v ↦ Jᵀ W J v.

        Different images share no pixel, so one product gives a column of all their blocks; atoms overlap, so their
        columns are averages over random signs, in which the neighbours cancel. Source: Hutchinson, Commun.
        Stat. Simul. Comput. 19 (1990) 433.
        """
        zero = jax.tree.map(jnp.zeros_like, like)
        blocks = {}
        for kind, value in like.items():
            rows, width = value.shape
            repeats = probes if kind == "atom" else 1
            signs = jnp.ones((repeats, rows), value.dtype)
            if kind == "atom":
                signs = jax.random.rademacher(jax.random.key(0), (repeats, rows), value.dtype)

            def column(pair, kind=kind):
                signs, index = pair
                return curvature({**zero, kind: zero[kind].at[:, index].set(signs)})[kind] * signs[:, None]

            pairs = (jnp.repeat(signs, width, axis=0), jnp.tile(jnp.arange(width), repeats))
            columns = jax.lax.map(column, pairs).reshape(repeats, width, rows, width).mean(axis=0)
            blocks[kind] = _positive(jnp.transpose(columns, (1, 2, 0)))
        return cls(blocks)

    def diagonal(self, like: Packed) -> Packed:
        """The diagonal of the blocks."""
        return {kind: jnp.diagonal(self.blocks[kind], axis1=1, axis2=2) for kind in like}

    def solve(self, v: Packed) -> Packed:
        """The inverse of the blocks times `v`."""
        return {kind: jnp.linalg.solve(self.blocks[kind], v[kind][..., None])[..., 0] for kind in v}


def invert(matrix: Float[np.ndarray, "p p"], ridges: tuple[float, ...]) -> Float[np.ndarray, "p p"]:
    """The inverse of a positive matrix of unit diagonal, with the first of the ridges that rounding allows."""
    potri = getattr(scipy.linalg.lapack, "dpotri" if matrix.dtype == np.float64 else "spotri")
    for ridge in ridges:
        try:
            factor = scipy.linalg.cholesky(matrix + ridge * np.eye(len(matrix), dtype=matrix.dtype), lower=True)
        except scipy.linalg.LinAlgError:
            continue
        lower = np.tril(potri(factor, lower=True, overwrite_c=True)[0])
        return lower + np.tril(lower, -1).T
    raise FloatingPointError(
        f"A normal matrix is not positive to within {ridges[-1]:g} of its diagonal: this is a bug."
    )


def is_affordable(problem: Problem, reach: float) -> bool:
    """Whether the whole normal matrix can be had for the price of a few steps."""
    packed = problem.pack(problem.leaves)
    parameters = sum(value.size for value in packed.values())
    if not isinstance(problem.forward, Linear) or "atom" not in packed or parameters > LARGEST:
        return False
    return normal_cost(problem, reach) < AFFORDABLE


def _split(flat: Float[Array, " p"], like: Packed) -> Packed:
    edges = np.cumsum([value.size for value in like.values()])[:-1]
    parts = jnp.split(flat, edges)
    return {kind: part.reshape(value.shape) for (kind, value), part in zip(like.items(), parts, strict=True)}


def _positive(blocks: Float[Array, "rows p p"]) -> Float[Array, "rows p p"]:
    """The nearest blocks that are symmetric and safely positive, judged after scaling to unit diagonal."""
    diagonal = jnp.diagonal(blocks, axis1=1, axis2=2)
    # A species of which there is no atom has no curvature at all.
    least = jnp.maximum(1e-9 * jnp.max(diagonal), jnp.finfo(blocks.dtype).tiny)
    typical = jnp.maximum(jnp.median(diagonal, axis=0, keepdims=True), least)
    scale = jnp.sqrt(jnp.clip(diagonal, 0.1 * typical, 10 * typical))
    scaled = 0.5 * (blocks + jnp.swapaxes(blocks, 1, 2)) / (scale[:, :, None] * scale[:, None, :])
    values, vectors = jnp.linalg.eigh(scaled)
    scaled = jnp.einsum("rij,rj,rkj->rik", vectors, jnp.maximum(values, _FLOOR), vectors)
    return scaled * scale[:, :, None] * scale[:, None, :]
