"""Damped Gauss-Newton (Levenberg-Marquardt) without matrices.

One step solves (Jᵀ W J + lambda P) d = -gradient by conjugate gradients, where J is the derivative of all
pixels, W the expected information of each pixel and P the diagonal of Jᵀ W J. J is never stored: each product
with it is one forward and one backward derivative of the forward model. The preconditioner is the inverse of the
normal matrix of the start where that is affordable, else blocks (`preconditioner`). Source: Nocedal & Wright, Numerical
Optimization (2006), section 10.3 and algorithm 5.3.
"""

from functools import partial
from typing import cast

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from jaxaet.forward import Linear
from jaxaet.inverse.preconditioner import Blocks, Inverse, is_affordable
from jaxaet.inverse.problem import Problem

_LONG = 5.0  # times the median length of a row's step, in standard errors, is the longest that is taken
_FAINT = 1e-2  # of an atom's peak: tails that change no iteration count


class GaussNewton(eqx.Module):
    """Second-order method for `solve`.

    `max_steps`: steps at most. `tolerance`: stop when the step still to be made, in standard errors (root mean
    square over parameters), falls below this. `cg_steps`: inner iterations at most. `cg_tolerance`: relative
    residual at which they stop. `damping`: of the first step, relative to the curvature; small near the solution.
    """

    max_steps: int = eqx.field(static=True)
    tolerance: Float[Array, ""]
    cg_steps: int = eqx.field(static=True)
    cg_tolerance: Float[Array, ""]
    damping: Float[Array, ""]

    def __init__(self, max_steps: int = 20, tolerance=0.01, cg_steps: int = 60, cg_tolerance=0.05, damping=1e-4):
        self.max_steps, self.cg_steps = int(max_steps), int(cg_steps)
        values = (tolerance, cg_tolerance, damping)
        self.tolerance, self.cg_tolerance, self.damping = (jnp.asarray(x, dtype=float) for x in values)

    def start(self, problem: Problem, loss: Float[Array, ""]) -> "NewtonState":
        """The state before the first step; `loss`: at the problem's model."""
        reach = _reach(problem)
        preconditioner = Inverse.of(problem, reach) if is_affordable(problem, reach) else probed_blocks(problem)
        damping, remaining = self.damping.astype(loss.dtype), jnp.full_like(loss, jnp.inf)
        return NewtonState(problem.leaves, loss, preconditioner, damping, remaining, jnp.asarray(True))

    def step(self, problem: Problem, state: "NewtonState") -> "NewtonState":
        """One trial step, else one of which no row is much longer than most; if the loss rises, the damping grows."""
        return _step(self, problem, state)


class NewtonState(eqx.Module):
    """Where the iteration stands.

    `leaves`: the free leaves. `loss`: dimensionless. `preconditioner`: made at the start. `damping`:
    dimensionless. `remaining`: the last step in standard errors (dimensionless), root mean square over parameters.
    `accepted`: whether that step was taken.
    """

    leaves: PyTree
    loss: Float[Array, ""]
    preconditioner: Inverse | Blocks
    damping: Float[Array, ""]
    remaining: Float[Array, ""]
    accepted: Bool[Array, ""]


@eqx.filter_jit
def probed_blocks(problem: Problem) -> Blocks:
    """The blocks of the normal matrix at the problem's model, from products with it."""
    _, _, curvature = _products(problem, problem.leaves)
    return Blocks.of(curvature, problem.pack(problem.leaves))


def _reach(problem: Problem) -> float:
    """Pixels from an atom beyond which it hardly matters to a preconditioner."""
    forward, model = problem.forward, problem.model
    if not isinstance(forward, Linear) or len(model.atoms) == 0:
        return 0.0
    return float(eqx.filter_jit(partial(forward.reach, negligible=_FAINT))(model.atoms, model.microscope))


@eqx.filter_jit
def _step(method: GaussNewton, problem: Problem, state: NewtonState) -> NewtonState:
    mean, gradient, curvature = _products(problem, state.leaves)
    scale = jax.tree.map(jnp.sqrt, state.preconditioner.diagonal(problem.pack(state.leaves)))
    over, times = (partial(jax.tree.map, operation) for operation in (jnp.divide, jnp.multiply))
    downhill = over(jax.tree.map(jnp.negative, gradient(mean)), scale)
    # In units of each parameter's own precision: else the residual is that of whichever has the smallest unit.
    step, _ = jax.scipy.sparse.linalg.cg(
        lambda v: jax.tree.map(lambda a, b: a + state.damping * b, over(curvature(over(v, scale)), scale), v),
        downhill,
        tol=cast(float, method.cg_tolerance),
        maxiter=method.cg_steps,
        M=lambda v: times(state.preconditioner.solve(times(v, scale)), scale),
    )
    flat = lambda v: jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(v)])  # noqa: E731
    gain = jnp.vdot(flat(step), flat(downhill))
    noise = jnp.maximum(2 * state.loss / mean.size, jnp.finfo(mean.dtype).tiny)
    # A step uphill is no sign of convergence: the inner iteration failed, and more damping helps.
    remaining = jnp.where(gain >= 0, jnp.sqrt(jnp.abs(gain) / (flat(step).size * noise)), jnp.inf)

    def after(step):
        leaves = jax.tree.map(jnp.add, state.leaves, problem.unpack(over(step, scale)))
        return leaves, problem.loss(leaves)

    leaves, loss = after(step)
    again = lambda: after(jax.tree.map(_shortened, step))  # noqa: E731
    leaves, loss = jax.lax.cond(loss < state.loss, lambda: (leaves, loss), again)
    accepted = loss < state.loss
    keep = lambda new, old: jax.tree.map(lambda a, b: jnp.where(accepted, a, b), new, old)  # noqa: E731
    damping = next_damping(state.damping, accepted)
    return NewtonState(
        keep(leaves, state.leaves), keep(loss, state.loss), state.preconditioner, damping, remaining, accepted
    )


def _shortened(step: Float[Array, "rows p"]) -> Float[Array, "rows p"]:
    """The step, that of no row much longer than most: an atom near another one may be sent too far."""
    length = jnp.linalg.norm(step, axis=1, keepdims=True)
    longest = _LONG * jnp.median(length)
    return step * jnp.where(length > longest, longest / length, 1.0)


def next_damping(damping: Float[Array, ""], accepted: Bool[Array, ""]) -> Float[Array, ""]:
    """Ten times less after a step that was taken, ten times more, and no trifle, after one that was not."""
    return jnp.where(accepted, jnp.maximum(0.1 * damping, 1e-6), jnp.maximum(10 * damping, 0.1))


def _products(problem: Problem, leaves: PyTree):
    """The mean at these leaves, and two functions in packed coordinates: the gradient, and v ↦ Jᵀ W J v."""
    mean, push = jax.linearize(problem.mean, leaves)
    pull = jax.linear_transpose(push, leaves)
    information = problem.likelihood.information(mean)

    def gradient(mean):
        slope = jax.grad(lambda m: jnp.sum(problem.likelihood.loss(m, problem.data.data)))(mean)
        return problem.pack(pull(slope)[0])

    def curvature(v):
        return problem.pack(pull(information * push(problem.unpack(v)))[0])

    return mean, gradient, curvature
