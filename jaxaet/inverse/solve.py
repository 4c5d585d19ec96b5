"""One verb for every fit."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxaet.core import InputError
from jaxaet.inverse.dense import DenseGaussNewton
from jaxaet.inverse.first_order import FirstOrder
from jaxaet.inverse.gauss_newton import GaussNewton
from jaxaet.inverse.problem import Model, Problem
from jaxaet.inverse.rfactors import r1_factor, r_factor


class Solution(eqx.Module):
    """What `solve` found.

    `model`: the fitted model. `images`: (k, ny, nx), its mean images, counts. `losses`: (steps,) after each step,
    dimensionless. `r1`, `r`: the R factors (fractions, dimensionless). `result`: how it ended, a sentence.
    """

    model: Model
    images: Float[Array, "k ny nx"]
    losses: Float[Array, " steps"]
    r1: Float[Array, ""]
    r: Float[Array, ""]
    result: str = eqx.field(static=True)


def solve(
    problem: Problem,
    method: GaussNewton | DenseGaussNewton | FirstOrder | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> Solution:
    """Move the free leaves until the model explains the data.

    `method`: `GaussNewton()` by default, `DenseGaussNewton()` for a few numbers of a dear forward model, or
    `FirstOrder(optax transformation)`. `on_step(step, loss)` is called after each step. Raises `InputError` when the
    start already has no finite loss.
    """
    method = GaussNewton() if method is None else method
    loss = _start_loss(problem)
    if not np.isfinite(loss):
        raise InputError("The start of the fit has no finite loss; look for NaN in the images or in the model.")
    state: Any = method.start(problem, loss)
    losses = []
    result = f"Stopped after the largest allowed number of steps, {method.max_steps}; allow more steps."
    rejected = 0
    for step in range(method.max_steps):
        state = method.step(problem, state)
        losses.append(float(state.loss))
        rejected = 0 if bool(state.accepted) else rejected + 1
        if on_step is not None:
            on_step(step + 1, losses[-1])
        if float(state.remaining) < method.tolerance:
            last = f"the last one was {float(state.remaining):.2g}, under {method.tolerance:g}"
            result = f"Converged after {step + 1} steps: {last}."
            break
        if rejected == 4:
            result = f"Stopped after {step + 1} steps: no shorter step lowers the loss at this precision."
            break
    model = eqx.filter_jit(problem.with_leaves)(state.leaves)
    images = eqx.filter_jit(problem.mean)(state.leaves)
    data = problem.data.data
    r1, r = jax.jit(lambda d, m: (r1_factor(d, m), r_factor(d, m)))(data, images)
    return Solution(model, images, jnp.asarray(losses), r1, r, result)


@eqx.filter_jit
def _start_loss(problem: Problem) -> Float[Array, ""]:
    return problem.loss(problem.leaves)
