"""A valence force field for dichalcogenide monolayers, fitted to first-principles phonons."""

import json
from importlib.resources import files

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxaet.core import InputError
from jaxaet.phonons.energy import Energy
from jaxaet.phonons.topology import Topology, find_topology, one_species
from jaxaet.specimen import Crystal
from jaxaet.specimen.crystals import DICHALCOGENIDES

# MoS2 and WSe2 are fitted; a bond of neither has the mean of their constants.
BONDS = {("Mo", "S"): "MoS2", ("Mo", "Se"): "MoSe2", ("W", "S"): "WS2", ("W", "Se"): "WSe2"}
FITTED = ("MoS2", "WSe2")
REACH = 3.2  # Å: between the first and the second shell of chalcogens around a metal
SAME_SIDE, ACROSS, AT_CHALCOGEN = 0, 1, 2  # X-M-X within a layer of chalcogens, from layer to layer, M-X-M


class ValenceForceField(Energy):
    """Springs on the bonds and angles of Mo, W, S and Se monolayers that reproduce first-principles phonon frequencies.

    E = Σ K Δr²/2 over bonds + Σ (k Δc²/2 + s Δr₁Δr₂ + t (Δr₁ + Δr₂) Δc) over angles, c their cosines, Δ from the
    geometry of the 2H crystals. It quotes frequencies: 0.6 meV rms of those it was fitted to (MoS2, WSe2; the
    sources are in `valence.json`). It moves no atoms far: a spring never breaks (`StillingerWeber` does).
    With `gauss_newton_constants` the reference does not matter and no mode is imaginary at any geometry.
    `constants`: (4, 8), of each bond K in eV/Å², k in eV of the three kinds of angles, s in eV/Å² across and at the
    chalcogen, t in eV/Å at the metal and at the chalcogen. `lengths`: (4,) Å; `cosines`: (4, 3), ratios.
    """

    constants: Float[Array, "4 8"]
    lengths: Float[Array, "4"]
    cosines: Float[Array, "4 3"]

    def __init__(self, constants: Float[Array, "4 8"] | Float[np.ndarray, "4 8"] | None = None):
        self.constants = _fitted_constants() if constants is None else jnp.asarray(constants, dtype=float)
        side, half = jnp.array([DICHALCOGENIDES[material][2:] for material in BONDS.values()], dtype=float).T
        square = side**2 / 3 + half**2
        beside, across = 1 - side**2 / (2 * square), 1 - (2 * half) ** 2 / (2 * square)
        self.lengths = jnp.sqrt(square)
        self.cosines = jnp.stack([beside, across, beside], axis=1)

    def topology(self, crystal: Crystal) -> Topology:
        """The bonds to the nearest shell and the angles between neighbouring ones, for a sheet along x and y.

        Raises `InputError` for a species other than Mo, W, S and Se, and for atoms nearer than 1 Å.
        """
        species = crystal.atoms.species
        present = {species[label] for label in np.unique(one_species(crystal))}
        if unknown := sorted(present - {name for bond in BONDS for name in bond}):
            raise InputError(
                f"Species {unknown} are not in the force field; allowed Mo, W, S, Se; use another energy, or force "
                "constants from a calculator or a file."
            )
        numbers = {bond: number for number, bond in enumerate(BONDS)}
        bond_kind = np.array([[numbers.get((a, b), numbers.get((b, a), -1)) for b in species] for a in species])
        bonded = bond_kind >= 0
        metal = np.isin(species, [bond[0] for bond in BONDS])
        angle_kind = np.where(metal, SAME_SIDE, AT_CHALCOGEN)[:, None, None]
        angle_kind = np.where(bonded[:, :, None] & bonded[:, None, :], angle_kind, -1)
        return find_topology(crystal, REACH * bonded, bond_kind, angle_kind, skin=0.4, sort_angles=_sorted)

    def bond(self, kind: Array, length: Array) -> Array:
        """K Δr² / 2, eV."""
        return self.constants[kind, 0] * (length - self.lengths[kind]) ** 2 / 2

    def angle(self, kinds: Array, first: Array, second: Array, cosine: Array) -> Array:
        """k Δc² / 2 + s Δr₁ Δr₂ + t (Δr₁ + Δr₂) Δc, eV."""
        reference = (self.cosines[kinds[0], kinds[2]] + self.cosines[kinds[1], kinds[2]]) / 2
        moved = jnp.stack([first - self.lengths[kinds[0]], second - self.lengths[kinds[1]], cosine - reference])
        return moved @ self.angle_curvature(kinds, moved) @ moved / 2

    def bond_curvature(self, kind: Array, length: Array) -> Array:
        """K, eV/Å²."""
        return self.constants[kind, 0]

    def angle_curvature(self, kinds: Array, coordinates: Float[Array, "3"]) -> Float[Array, "3 3"]:
        """The constant second derivatives in both lengths and the cosine, means of those of the two bonds."""
        mean = (self.constants[kinds[0]] + self.constants[kinds[1]]) / 2
        bend = jnp.stack([mean[1], mean[2], mean[3]])[kinds[2]]
        stretch = jnp.stack([jnp.zeros_like(mean[4]), mean[4], mean[5]])[kinds[2]]
        both = jnp.stack([mean[6], mean[6], mean[7]])[kinds[2]]
        zero = jnp.zeros_like(bend)
        return jnp.stack(
            [jnp.stack([zero, stretch, both]), jnp.stack([stretch, zero, both]), jnp.stack([both, both, bend])]
        )


def reference_frequencies(material: str) -> list[tuple[list[float], np.ndarray]]:
    """The first-principles modes the force field was fitted to: wave vectors and energies in meV, rising.

    Where fewer than nine are listed, the acoustic ones are left out. Raises `InputError` for another material.
    """
    if material not in FITTED:
        raise InputError(f"There are no reference frequencies of {material!r}; choose one of {', '.join(FITTED)}.")
    per_mev = 8.065544
    return [
        ([float(x) for x in point["q"]], np.sort(point["frequencies"]) / per_mev)
        for point in _table()[material]["fitted"]
    ]


def _fitted_constants() -> Float[Array, "4 8"]:
    """The constants of the four bonds, (4, 8), in the order of `BONDS`."""
    known = {material: np.array(_table()[material]["constants"]) for material in FITTED}
    mean = np.mean(list(known.values()), axis=0)
    return jnp.asarray(np.array([known.get(material, mean) for material in BONDS.values()]))


def _table() -> dict:
    return json.loads(files("jaxaet.phonons").joinpath("valence.json").read_text(encoding="utf-8"))


def _sorted(kinds: np.ndarray, vectors: Float[np.ndarray, "t 2 3"]) -> np.ndarray:
    """The kind of each angle by its shape: X-M-X on one side of the sheet, above each other, or neither (-1)."""
    apart = vectors[:, 0] - vectors[:, 1]
    level = np.abs(apart[:, 2]) < np.hypot(apart[:, 0], apart[:, 1]) / 2
    upright = np.hypot(apart[:, 0], apart[:, 1]) < np.abs(apart[:, 2]) / 2
    at_metal = np.where(level, SAME_SIDE, np.where(upright, ACROSS, -1))
    return np.where(kinds == SAME_SIDE, at_metal, kinds)
