"""Gauss-Newton for a handful of free numbers, such as those of the instrument, and a dear forward model.

The derivative of all pixels with respect to each number is made by one forward derivative, so a step costs about two
images more for each of them, whatever their number of pixels, and no backward pass.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, PyTree

from jaxaet.inverse.gauss_newton import next_damping
from jaxaet.inverse.problem import Problem


class DenseGaussNewton(eqx.Module):
    """Second-order method for `solve`, for at most some tens of free numbers.

    `max_steps`: steps at most. `tolerance`: stop when the step still to be made, in standard errors (root mean square
    over numbers), falls below this. `damping`: of the first step, relative to the curvature.
    """

    max_steps: int = eqx.field(static=True)
    tolerance: Float[Array, ""]
    damping: Float[Array, ""]

    def __init__(self, max_steps: int = 6, tolerance: float = 0.1, damping: float = 1e-3):
        self.max_steps = int(max_steps)
        self.tolerance, self.damping = (jnp.asarray(x, dtype=float) for x in (tolerance, damping))

    def start(self, problem: Problem, loss: Float[Array, ""]) -> "DenseState":
        """The state before the first step; `loss`: at the problem's model."""
        damping, remaining = self.damping.astype(loss.dtype), jnp.full_like(loss, jnp.inf)
        return DenseState(problem.leaves, loss, damping, remaining, jnp.asarray(True))

    def step(self, problem: Problem, state: "DenseState") -> "DenseState":
        """One trial step: kept if the loss falls, else the damping grows."""
        return _step(problem, state)


class DenseState(eqx.Module):
    """Where the iteration stands.

    `leaves`: the free leaves. `loss`: dimensionless. `damping`: dimensionless. `remaining`: the last step in standard
    errors (dimensionless), root mean square over numbers. `accepted`: whether that step was taken.
    """

    leaves: PyTree
    loss: Float[Array, ""]
    damping: Float[Array, ""]
    remaining: Float[Array, ""]
    accepted: Bool[Array, ""]


@eqx.filter_jit
def _step(problem: Problem, state: DenseState) -> DenseState:
    flat, unravel = ravel_pytree(state.leaves)

    def pushed(direction):
        return jax.jvp(lambda x: problem.mean(unravel(x)), (flat,), (direction,))

    mean, jacobian = jax.vmap(pushed, out_axes=(None, 0))(jnp.eye(flat.size, dtype=flat.dtype))
    slope = jax.grad(lambda m: jnp.sum(problem.likelihood.loss(m, problem.data.data)))(mean)
    rows = jacobian.reshape(flat.size, -1)
    curvature = (rows * problem.likelihood.information(mean).reshape(1, -1)) @ rows.T
    # In units of each number's own precision: they differ by many powers of ten.
    scale = jnp.sqrt(jnp.maximum(jnp.diag(curvature), jnp.finfo(flat.dtype).tiny))
    scaled = curvature / (scale[:, None] * scale[None]) + state.damping * jnp.eye(flat.size, dtype=flat.dtype)
    downhill = -(rows @ slope.reshape(-1)) / scale
    step = jnp.linalg.solve(scaled, downhill)
    noise = jnp.maximum(2 * state.loss / mean.size, jnp.finfo(mean.dtype).tiny)
    remaining = jnp.sqrt(jnp.abs(step @ downhill) / (flat.size * noise))
    leaves = unravel(flat + step / scale)
    loss = problem.loss(leaves)
    accepted = loss < state.loss
    kept = jax.tree.map(lambda new, old: jnp.where(accepted, new, old), leaves, state.leaves)
    damping = next_damping(state.damping, accepted)
    return DenseState(kept, jnp.where(accepted, loss, state.loss), damping, remaining, accepted)
