"""The Stillinger-Weber potential of dichalcogenide monolayers and their lateral heterostructures."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxaet.core import InputError
from jaxaet.phonons.energy import Energy
from jaxaet.phonons.topology import Topology, find_topology, one_species
from jaxaet.specimen import Crystal

METALS, CHALCOGENS = ("Mo", "W"), ("S", "Se", "Te")
ELEMENTS = (*METALS, *CHALCOGENS)

# J.-W. Jiang, Acta Mech. Solida Sin. 32, 17 (2019), as in the file tmd.sw.mod (2018) of LAMMPS: σ (Å), a, A (eV), B of
# each bond, and λ (eV) of the angles X-M-X and M-X-M of one kind.
BONDS = {
    ("Mo", "S"): (1.252, 2.523, 6.918, 7.223, 67.883, 62.449),
    ("Mo", "Se"): (0.913, 3.672, 5.737, 27.084, 32.526, 27.079),
    ("Mo", "Te"): (0.880, 4.097, 5.086, 40.810, 23.705, 20.029),
    ("W", "S"): (0.889, 3.558, 5.664, 24.525, 37.687, 33.553),
    ("W", "Se"): (0.706, 4.689, 5.476, 65.662, 25.607, 23.218),
    ("W", "Te"): (0.778, 4.632, 4.326, 62.148, 21.313, 17.370),
}
# λ of the angles with two kinds of ends, apex first: to three decimals the geometric mean of the two pure ones.
MIXED = {
    ("Mo", "S", "Se"): 46.989, ("Mo", "S", "Te"): 40.114, ("Mo", "Se", "Te"): 27.767,
    ("W", "S", "Se"): 31.065, ("W", "S", "Te"): 28.341, ("W", "Se", "Te"): 23.362,
    ("S", "Mo", "W"): 45.775, ("Se", "Mo", "W"): 25.074, ("Te", "Mo", "W"): 18.652,
}  # fmt: skip
POWER = 4
COS_EQUILIBRIUM = 0.143
SWITCH = (0.25, 0.35)  # |cos θ - cos θ0| between which an angle is switched off


class StillingerWeber(Energy):
    """Bonds metal-chalcogen and the angles at and between them, for Mo, W, S, Se and Te, any mixture and any vacancy.

    It gives forces, relaxed structures and dynamics; its phonon frequencies are off by 5 to 20 %. Neither metals nor
    chalcogens act on each other directly, and there are no charges, so longitudinal and transverse optical modes do
    not split. `sigma`: (6,) Å, `cutoff`: (6,) in units of σ, `strength`: (6,) eV, `repulsion`: (6,) dimensionless, of
    each bond. `stiffness`: (21,) eV of each angle.
    Source: J.-W. Jiang, Acta Mech. Solida Sin. 32, 17 (2019); LAMMPS pair style sw/mod, whose force, unlike this one,
    leaves out the derivative of the angles' switch.
    """

    sigma: Float[Array, "6"]
    cutoff: Float[Array, "6"]
    strength: Float[Array, "6"]
    repulsion: Float[Array, "6"]
    stiffness: Float[Array, "21"]

    def __init__(self):
        table = jnp.asarray(list(BONDS.values()), dtype=float)
        self.sigma, self.cutoff, self.strength, self.repulsion = table[:, :4].T
        self.stiffness = jnp.concatenate([table[:, 4], table[:, 5], jnp.asarray(list(MIXED.values()), dtype=float)])

    def topology(self, crystal: Crystal) -> Topology:
        """The bonds up to their cut-offs and 0.5 Å beyond, and all angles between two of them.

        Raises `InputError` for a species other than Mo, W, S, Se and Te, and for atoms nearer than 1 Å.
        """
        bond_kind, angle_kind = kinds_of(crystal)
        reach = np.append(np.asarray(self.sigma * self.cutoff), 0.0)
        return find_topology(crystal, reach[bond_kind], bond_kind, angle_kind)

    def bond(self, kind: Array, length: Array) -> Array:
        """A (B (σ/r)⁴ - 1) exp(σ / (r - a σ)) for r < a σ, else 0; eV."""
        sigma = self.sigma[kind]
        return self.strength[kind] * (self.repulsion[kind] * (sigma / length) ** POWER - 1) * self.fall(kind, length)

    def angle(self, kinds: Array, first: Array, second: Array, cosine: Array) -> Array:
        """λ δ² exp(σ₁ / (r₁ - a₁ σ₁)) exp(σ₂ / (r₂ - a₂ σ₂)), δ the switched cos θ - cos θ0; eV."""
        delta = switched(cosine - COS_EQUILIBRIUM)
        return self.stiffness[kinds[2]] * delta**2 * self.fall(kinds[0], first) * self.fall(kinds[1], second)

    def fall(self, kind: Array, length: Array) -> Array:
        """exp(σ / (r - a σ)) inside the cut-off, 0 with all its derivatives outside."""
        sigma = self.sigma[kind]
        inside = length < self.cutoff[kind] * sigma - 1e-3 * sigma
        gap = jnp.where(inside, length - self.cutoff[kind] * sigma, -1.0)
        return jnp.where(inside, jnp.exp(sigma / gap), 0.0)


def switched(x: Array) -> Array:
    """x up to |x| = 0.25, 0 from 0.35, and a cosine in between."""
    start, end = SWITCH
    between = (jnp.abs(x) > start) & (jnp.abs(x) < end)
    phase = jnp.pi * (jnp.where(between, jnp.abs(x), start) - start) / (end - start)
    return jnp.where(jnp.abs(x) >= end, 0.0, x * (1 + jnp.cos(phase)) / 2)


def kinds_of(crystal: Crystal) -> tuple[np.ndarray, np.ndarray]:
    """The number of each bond (s, s) and angle (s, s, s), apex first, of the crystal's species, -1 where there is none.

    Raises `InputError` for a species other than Mo, W, S, Se and Te.
    """
    present = {crystal.atoms.species[label] for label in np.unique(one_species(crystal))}
    if unknown := sorted(present - set(ELEMENTS)):
        raise InputError(
            f"Species {unknown} are not in the potential; allowed {', '.join(ELEMENTS)}; use another energy, or force "
            "constants from a calculator or a file."
        )
    species = crystal.atoms.species
    pair, mixed = list(BONDS), list(MIXED)
    bond_kind = np.full((len(species),) * 2, -1)
    angle_kind = np.full((len(species),) * 3, -1)
    for i, apex in enumerate(species):
        for j, first in enumerate(species):
            metal_first = (apex, first) if apex in METALS else (first, apex)
            if metal_first not in pair:
                continue
            bond_kind[i, j] = pair.index(metal_first)
            angle_kind[i, j, j] = bond_kind[i, j] + (0 if apex in METALS else len(pair))
            for k, second in enumerate(species):
                for ends in ((first, second), (second, first)):
                    if (apex, *ends) in mixed:
                        angle_kind[i, j, k] = 2 * len(pair) + mixed.index((apex, *ends))
    return bond_kind, angle_kind
