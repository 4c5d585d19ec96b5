"""First-order methods: any Optax gradient transformation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, PyTree

from jaxaet.inverse.problem import Problem


class FirstOrder(eqx.Module):
    """First-order method for `solve`: Adam by default.

    `optimiser`: an Optax transformation. `max_steps`: steps at most. `tolerance`: stop when the loss has changed by
    less than this fraction over one step.
    """

    optimiser: optax.GradientTransformationExtraArgs = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)
    tolerance: Float[Array, ""]

    def __init__(self, optimiser=None, max_steps: int = 300, tolerance: float = 1e-7):
        self.optimiser = optax.with_extra_args_support(optax.adam(0.02) if optimiser is None else optimiser)
        self.max_steps, self.tolerance = int(max_steps), jnp.asarray(tolerance, dtype=float)

    def start(self, problem: Problem, loss: Float[Array, ""]) -> "FirstOrderState":
        """The state before the first step; `loss`: at the problem's model."""
        leaves = problem.leaves
        return FirstOrderState(
            leaves, loss, self.optimiser.init(leaves), jnp.full_like(loss, jnp.inf), jnp.asarray(True)
        )

    def step(self, problem: Problem, state: "FirstOrderState") -> "FirstOrderState":
        """One step of the optimiser."""
        return _step(self, problem, state)


class FirstOrderState(eqx.Module):
    """Where the iteration stands.

    `leaves`: the free leaves. `loss`: dimensionless, before the last step. `optimiser`: Optax's own state.
    `remaining`: relative change of the loss over the last step. `accepted`: always true.
    """

    leaves: PyTree
    loss: Float[Array, ""]
    optimiser: PyTree
    remaining: Float[Array, ""]
    accepted: Bool[Array, ""]


@eqx.filter_jit
def _step(method: FirstOrder, problem: Problem, state: FirstOrderState) -> FirstOrderState:
    loss, gradient = jax.value_and_grad(problem.loss)(state.leaves)
    updates, optimiser = method.optimiser.update(
        gradient, state.optimiser, state.leaves, value=loss, grad=gradient, value_fn=problem.loss
    )
    remaining = jnp.where(jnp.isinf(state.remaining), 1.0, jnp.abs(state.loss - loss) / loss)
    return FirstOrderState(optax.apply_updates(state.leaves, updates), loss, optimiser, remaining, jnp.asarray(True))
