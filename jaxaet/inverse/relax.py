"""Atoms at rest: the minimum of an interatomic energy, alone or against what was measured."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Float

from jaxaet.core import InputError
from jaxaet.phonons import Energy, forces
from jaxaet.specimen import Crystal

BOLTZMANN = 8.617333262e-5  # eV/K


class Relaxed(NamedTuple):
    """What `relax` found.

    `crystal`: at the minimum. `energy`: of it, eV, without what a measurement adds. `largest_force`: the largest
    component of the energy's own forces, eV/Å: 0 at a minimum, what the measurement holds against it otherwise.
    `steps`: taken. `result`: a sentence.
    """

    crystal: Crystal
    energy: float
    largest_force: float
    steps: int
    result: str


def relax(
    energy: Energy,
    crystal: Crystal,
    free_cell: Sequence[bool] = (False, False, False),
    measured: Callable[[Crystal], Array] | None = None,
    tolerance: float = 1e-4,
    max_steps: int = 2000,
) -> Relaxed:
    """The crystal of least energy near this one, by L-BFGS.

    `free_cell`: which of the cell's vectors may change their length, the atoms moving with them. `measured`: what is
    added to the energy, eV, from `measurement`: the result is then the most probable crystal (MAP). `tolerance`: eV/Å,
    of the gradient.
    Raises `InputError` if the atoms move so far that bonds keep changing.
    """
    cell = crystal.cell
    free = jnp.asarray(free_cell, float)
    steps, result = 0, None
    for _ in range(10):
        topology = energy.topology(crystal)

        def placed(values, start=crystal):
            moves, stretches = values
            strained = start.stretched(start.cell * (1 + free * stretches)[:, None])
            return strained.moved(strained.atoms.positions + moves)

        def cost(values, topology=topology, placed=placed):
            candidate = placed(values)
            total = energy(candidate, topology)
            return total + measured(candidate) if measured is not None else total

        start = (jnp.zeros_like(crystal.atoms.positions), jnp.zeros(3))
        found, taken, converged = minimise(cost, start, tolerance, max_steps)
        crystal, steps = placed(found), steps + taken
        if converged and bool(topology.valid(crystal)):
            result = f"Converged after {steps} steps, gradient under {tolerance:g} eV/Å."
            break
    if result is None:
        raise InputError(
            f"The crystal did not come to rest in {steps} steps (cell {np.asarray(cell).round(2).tolist()} Å); start "
            "nearer to a minimum, or check for atoms that are not bonded."
        )
    topology = energy.topology(crystal)
    largest = float(jnp.abs(forces(energy, crystal, topology)).max())
    return Relaxed(crystal, float(energy(crystal, topology)), largest, steps, result)


def minimise(cost, start, tolerance: float, max_steps: int):
    """Where `cost` is least near `start`, the steps taken, and whether its gradient fell under `tolerance`."""
    solver = optx.LBFGS(rtol=1e-12, atol=1e-12)
    gradient = jax.jit(jax.grad(cost))
    solution = optx.minimise(lambda values, _: cost(values), solver, start, max_steps=max_steps, throw=False)
    slope = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient(solution.value)))
    return solution.value, int(solution.stats["num_steps"]), slope < tolerance


def measurement(
    positions: Float[Array, "n 3"], sigma: Float[Array, "n 3"], temperature: float
) -> Callable[[Crystal], Array]:
    """kT Σ (r - r₀)² / 2σ², eV: what a crystal costs against measured `positions` with error bars `sigma`, both (n, 3)
    in Å, when its own energy counts as that of a body at `temperature`, K.
    """
    weights = BOLTZMANN * temperature / (2 * jnp.asarray(sigma, float) ** 2)
    return lambda crystal: jnp.sum(weights * (crystal.atoms.positions - positions) ** 2)
