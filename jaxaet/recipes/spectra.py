"""Crystals and their spectra as the phonon recipe needs them: three geometries, and bulk put through the same."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxaet.inverse import Measurement, relax
from jaxaet.phonons import (
    Energy,
    ForceConstants,
    StillingerWeber,
    ValenceForceField,
    force_constants,
    gauss_newton_constants,
    half_mesh,
    mode_energies,
    thermal_constants,
    total_density,
)
from jaxaet.recipes.config import PhononsInterfaceConfig
from jaxaet.specimen import Crystal, InterfaceCell, monolayer_cell, rectangular_cell

CORNERS = np.array([[0, 0, 0], [0.5, 0, 0], [1 / 3, 1 / 3, 0], [0, 0, 0]])  # Γ, M, K, Γ
GEOMETRIES = ("as_measured", "map", "relaxed")
DENSE = 24  # wave vectors along each axis of the primitive zone of bulk
STEP_PER_WIDTH = 4  # energies in one rms broadening
LAYERS = ("free", "strained", "matched")  # what the bulk references share with the crystal


class Side(NamedTuple):
    """Bulk on one side of an interface: its material, the mean spacing of rows, metals and chalcogen height, Å, and the
    error bars of each of its three places, (3, 3) in Å."""

    material: str
    spacing: float
    period: float
    half: float
    sigma: Float[np.ndarray, "3 3"]


def energies_of(config: PhononsInterfaceConfig) -> Float[np.ndarray, " e"]:
    """The energies of the spectra, meV."""
    options = config.spectra
    return np.arange(0, options.largest_mev, options.width_mev / STEP_PER_WIDTH)


def potential() -> Energy:
    """The energy that moves atoms."""
    return StillingerWeber()


def constants_of(config: PhononsInterfaceConfig, crystal: Crystal) -> ForceConstants:
    """The force constants the configuration names."""
    energy = {"stillinger_weber": StillingerWeber, "valence": ValenceForceField}[config.lattice.energy]()
    topology = energy.topology(crystal)
    kinds = {"full": force_constants, "gauss_newton": gauss_newton_constants}
    if config.lattice.hessian == "thermal":
        key = jax.random.key(config.seed)
        return thermal_constants(energy, crystal, topology, config.lattice.thermal_displacement_a, key)
    return kinds[config.lattice.hessian](energy, crystal, topology)


def moved(config: PhononsInterfaceConfig, geometry: str, crystal: Crystal, sigma, free_cell: bool = True) -> Crystal:
    """The crystal as measured, as is most probable, or at rest; only the last may change its cell."""
    if geometry == "as_measured":
        return crystal
    if geometry == "map":
        measured = Measurement(crystal.atoms.positions, sigma, config.lattice.temperature_k)
        return relax(potential(), crystal, measured=measured).crystal
    return relax(potential(), crystal, (free_cell, free_cell, False)).crystal


def density(config: PhononsInterfaceConfig, crystal: Crystal, counts: tuple[int, int]) -> Float[np.ndarray, " e"]:
    """Modes per meV and atom at the energies of the spectra, (e,)."""
    q, energies = jnp.asarray(half_mesh((*counts, 1))), jnp.asarray(energies_of(config))
    states = total_density(constants_of(config, crystal), crystal, q, energies, config.spectra.width_mev)
    return np.asarray(states) / len(crystal)


def sides(cell: InterfaceCell, crystal: Crystal, sigma) -> list[Side]:
    """The bulk on either side of the interface, with the mean cell it has there."""
    positions, symbols = np.asarray(crystal.atoms.positions), crystal.atoms.symbols
    found = []
    for side in (cell.distances < 0, cell.distances > 0):
        metal, chalcogen = side & (cell.basis == 0), side & (cell.basis > 0)
        names, counts = np.unique(symbols[chalcogen], return_counts=True)
        spacing = np.polyfit(cell.cells[metal, 0], positions[metal, 0], 1)[0]
        period = float(crystal.cell[1, 1]) / cell.multiples[1, 1]
        heights = [positions[side & (cell.basis == place), 2].mean() for place in (1, 2)]
        errors = np.stack([np.sqrt(np.mean(sigma[side & (cell.basis == place)] ** 2, axis=0)) for place in (0, 1, 2)])
        material = f"{symbols[metal][0]}{names[counts.argmax()]}2"
        found.append(Side(material, float(spacing), period, float(heights[0] - heights[1]) / 2, errors))
    return found


def free_bulk(material: str) -> Crystal:
    """The primitive cell of bulk at rest."""
    return relax(potential(), monolayer_cell(material), (True, True, False)).crystal


def bands(config: PhononsInterfaceConfig, material: str, q: Float[np.ndarray, "k 3"]) -> Float[np.ndarray, "k b"]:
    """The energies of free bulk, meV, at wave vectors of its primitive cell."""
    crystal = free_bulk(material)
    return np.asarray(mode_energies(constants_of(config, crystal), crystal, jnp.asarray(q)))


def reference(config: PhononsInterfaceConfig, geometry: str, layer: str, side: Side, key) -> Float[np.ndarray, " e"]:
    """The density of bulk: free, strained as its side of the crystal, or with that side's coordinate noise too and put
    through the same geometry."""
    if layer == "free":
        return density(config, free_bulk(side.material), (DENSE, DENSE))
    rows, columns = 2 * max((max(config.supercell.rows) + 1) // 2, 1), config.supercell.columns
    crystal = rectangular_cell(side.material, rows, columns, side.spacing, side.period, side.half)
    sigma = np.tile(side.sigma, (len(crystal) // 3, 1))
    if layer == "matched" and geometry != "relaxed":
        noise = sigma * np.asarray(jax.random.normal(key, sigma.shape))
        crystal = moved(config, geometry, crystal.moved(crystal.atoms.positions + noise), sigma)
    elif geometry != "as_measured":
        crystal = moved(config, "relaxed", crystal, sigma, free_cell=False)
    across = -(-config.spectra.mesh[0] * sum(config.supercell.rows) // rows)
    return density(config, crystal, (across, config.spectra.mesh[1]))


def crystal_of(cell: InterfaceCell, found: dict) -> Crystal:
    """The crystal of a stage's arrays."""
    return cell.crystal.stretched(jnp.asarray(found["cell"])).moved(jnp.asarray(found["positions"]))
