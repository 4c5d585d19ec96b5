"""Atoms at rest: the minimum of an interatomic energy, alone or against what was measured."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, ArrayLike, Float

from jaxaet.core import InputError
from jaxaet.phonons import Energy, Topology, forces
from jaxaet.specimen import Crystal

BOLTZMANN = 8.617333262e-5  # eV/K
_ROUNDS = 10  # of finding the bonds anew


class Measurement(eqx.Module):
    """What a crystal costs against measured atoms, kT Σ (r - r₀)² / 2σ² in eV.

    `positions`: (n, 3) measured, Å. `sigma`: (n, 3), their standard deviations, Å. `temperature`: K, at which the
    crystal's own energy counts: the sum with it is -kT log of the posterior probability.
    """

    positions: Float[Array, "n 3"]
    sigma: Float[Array, "n 3"]
    temperature: Float[Array, ""]

    def __init__(self, positions, sigma, temperature: ArrayLike = 300.0):
        self.positions, self.sigma = jnp.asarray(positions, dtype=float), jnp.asarray(sigma, dtype=float)
        self.temperature = jnp.asarray(temperature, dtype=float)

    def __check_init__(self):
        if self.positions.shape != self.sigma.shape:
            raise InputError(
                f"Positions of shape {self.positions.shape} with error bars of shape {self.sigma.shape} do not fit; "
                "give both (n, 3)."
            )

    def __call__(self, crystal: Crystal) -> Float[Array, ""]:
        """The cost of a crystal, eV."""
        misfit = (crystal.atoms.positions - self.positions) / self.sigma
        return BOLTZMANN * self.temperature * jnp.sum(misfit**2) / 2


class Relaxed(NamedTuple):
    """What `relax` found.

    `crystal`: at the minimum. `energy`: of it, eV, without what a measurement adds. `largest_force`: the largest
    component of the energy's own forces, eV/Å: 0 at its minimum, else what the measurement holds against it.
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
    measured: Measurement | None = None,
    tolerance: float = 1e-4,
    max_steps: int = 3000,
) -> Relaxed:
    """The crystal of least energy near this one, by L-BFGS.

    `free_cell`: which of the cell's vectors may change their length, the atoms moving with them. `measured`: what was
    measured of the atoms; the result is then the most probable crystal (MAP). `tolerance`: of the gradient, eV/Å.
    `max_steps`: between two searches for bonds.
    Raises `InputError` if it does not come to rest.
    """
    free, steps, slope = jnp.asarray(free_cell, float), 0, jnp.inf
    for _ in range(_ROUNDS):
        topology = energy.topology(crystal)
        crystal, taken, slope = _minimised(energy, crystal, topology, measured, free, max_steps)
        steps += int(taken)
        if float(slope) < tolerance and bool(topology.valid(crystal)):
            largest = float(jnp.abs(forces(energy, crystal, topology)).max())
            result = f"Converged after {steps} steps, gradient under {tolerance:g} eV/Å."
            return Relaxed(crystal, float(energy(crystal, topology)), largest, steps, result)
    raise InputError(
        f"The crystal did not come to rest in {steps} steps, the gradient is {float(slope):.3g} eV/Å; allowed "
        f"{tolerance:g}; start nearer to a minimum, or check for atoms that are not bonded."
    )


@eqx.filter_jit
def _minimised(energy: Energy, crystal: Crystal, topology: Topology, measured, free, max_steps: int):
    def placed(values):
        moves, stretches = values
        strained = crystal.stretched(crystal.cell * (1 + free * stretches)[:, None])
        return strained.moved(strained.atoms.positions + moves)

    def cost(values, _):
        candidate = placed(values)
        total = energy(candidate, topology)
        return total if measured is None else total + measured(candidate)

    start = (jnp.zeros_like(crystal.atoms.positions), jnp.zeros(3))
    solver = optx.LBFGS(rtol=1e-10, atol=1e-10)
    solution = optx.minimise(cost, solver, start, max_steps=max_steps, throw=False)
    gradient = jax.grad(cost)(solution.value, None)
    slope = jnp.max(jnp.stack([jnp.abs(leaf).max() for leaf in jax.tree.leaves(gradient)]))
    return placed(solution.value), solution.stats["num_steps"], slope
