"""Flat monolayers of known crystals."""

import numpy as np
from jaxtyping import Float

from jaxaet.core import InputError
from jaxaet.specimen.atoms import Atoms

# Metal, chalcogen, lattice constant a and height (3/4 - z) c of the chalcogen above the metal, Å, in the 2H crystal at
# room temperature. Mo: Bronsema, de Boer & Jellinek, Z. Anorg. Allg. Chem. 540, 15 (1986). W: Schutte, de Boer &
# Jellinek, J. Solid State Chem. 70, 207 (1987).
DICHALCOGENIDES = {
    "MoS2": ("Mo", "S", 3.160, 1.586),
    "MoSe2": ("Mo", "Se", 3.289, 1.668),
    "WS2": ("W", "S", 3.153, 1.571),
    "WSe2": ("W", "Se", 3.282, 1.671),
}
GRAPHENE = 2.461  # Å, graphite at room temperature: Trucano & Chen, Nature 258, 136 (1975)

# Mean-square displacement along one axis at room temperature, Å², a third of the trace of the refined tensor. Mo, S:
# MoS2, Schönfeld, Huang & Moss, Acta Cryst. B 39, 404 (1983). None is deposited for WSe2, so W and Se take those of Ta
# and S in 2H-TaS2, Meetsma et al., Acta Cryst. C 46, 1598 (1990): at room temperature the displacement depends on the
# stiffness of the bonds more than on mass. C: within the plane of graphite, Trucano & Chen (1975).
THERMAL_U2 = {"Mo": 0.0057, "S": 0.0042, "W": 0.0044, "Se": 0.0055, "C": 0.0031}


def honeycomb(radius: float) -> tuple[Float[np.ndarray, "m 2"], Float[np.ndarray, "m 2"]]:
    """The two sublattices of a honeycomb with lattice constant 1 and zigzag rows along y.

    Both (m, 2), over at least a disc of `radius` lattice constants around the origin, which is a site of the first.
    A site of the second has two neighbours of the first in the row to its right and one in the row to its left.
    """
    n = int(np.ceil(2 * radius)) + 2
    i, j = np.meshgrid(np.arange(-n, n + 1), np.arange(-n, n + 1), indexing="ij")
    first = np.stack([np.sqrt(3) / 2 * i, j + i % 2 / 2], axis=-1).reshape(-1, 2)
    first = first[np.hypot(*first.T) <= radius + 2]
    return first, first + np.array([-np.sqrt(1 / 12), 0.5])


def monolayer(
    material: str, size: float | tuple[float, float], u2: float | Float[np.ndarray, " n"] | None = None
) -> Atoms:
    """A flat rectangular patch of a monolayer centred at the origin, zigzag rows along y, the metal or carbon at z = 0.

    `material`: MoS2, MoSe2, WS2, WSe2 (each one layer of the 2H crystal) or graphene. `size`: edge length or (x, y)
    edge lengths in Å. `u2`: mean-square displacement along one axis in Å²; by default that of each element at room
    temperature (`THERMAL_U2`).
    Raises `InputError` for another material and for a size that holds no atom.
    """
    width, height = np.broadcast_to(size, 2)
    reach = np.hypot(width, height) / 2
    if material == "graphene":
        first, second = honeycomb(reach / GRAPHENE)
        # The middle of a hexagon lies one bond to the left of a site of the first sublattice.
        points = GRAPHENE * (np.concatenate([first, second]) + np.array([np.sqrt(1 / 3), 0]))
        positions, symbols = np.pad(points, ((0, 0), (0, 1))), np.full(len(points), "C")
    elif material in DICHALCOGENIDES:
        metal, chalcogen, constant, half = DICHALCOGENIDES[material]
        first, second = honeycomb(reach / constant)
        layers = [(first, 0.0), (second, half), (second, -half)]
        positions = np.concatenate([np.pad(constant * xy, ((0, 0), (0, 1)), constant_values=z) for xy, z in layers])
        symbols = np.repeat([metal, chalcogen, chalcogen], len(first))
    else:
        known = ", ".join([*DICHALCOGENIDES, "graphene"])
        raise InputError(f"The material {material!r} is not known; choose one of {known}.")
    inside = np.all(np.abs(positions[:, :2]) <= np.array([width, height]) / 2 + 1e-9, axis=1)
    if not inside.any():
        raise InputError(f"A patch of {width:g} × {height:g} Å holds no atom; give at least 5 × 5 Å.")
    species = tuple(dict.fromkeys(symbols.tolist()))
    symbols = symbols[inside]
    return Atoms.from_symbols(
        positions[inside], symbols, [THERMAL_U2[s] for s in symbols] if u2 is None else np.asarray(u2), species
    )
