"""Spherical nanoparticles, crystalline and amorphous."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, PRNGKeyArray
from scipy.spatial import KDTree

from jaxaet.core import InputError
from jaxaet.specimen.atoms import Atoms
from jaxaet.specimen.generator import host_generator

# Sites of the conventional cubic cell in lattice constants.
CELLS = {
    "fcc": ((0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0)),
    "bcc": ((0.0, 0.0, 0.0), (0.5, 0.5, 0.5)),
}


def nanoparticle(
    species: str | Mapping[str, float],
    radius: float,
    structure: str = "fcc",
    *,
    lattice_constant: float | None = None,
    density: float | None = None,
    min_distance: float | None = None,
    u2: float = 0.0,
    key: PRNGKeyArray,
) -> Atoms:
    """A ball of atoms centred at the origin.

    `species`: one symbol, or the fraction of each; which atom gets which is drawn with `key`. `radius`: Å.
    `structure`: "fcc" or "bcc" with `lattice_constant` in Å and an atom at the origin; or "amorphous" with `density` in
    atoms per Å³ and `min_distance` in Å, which no two atoms are closer than. `u2`: Å².
    Raises `InputError` for another structure, a missing argument, and a density that cannot be packed.
    """
    generator = host_generator(key)
    if structure in CELLS:
        positions = _crystal(CELLS[structure], radius, _given("lattice_constant", lattice_constant, structure))
    elif structure == "amorphous":
        distance = _given("min_distance", min_distance, structure)
        positions = _packing(radius, _given("density", density, structure), distance, generator)
    else:
        raise InputError(f"The structure {structure!r} is not known; choose one of {', '.join(CELLS)}, amorphous.")
    fractions = {species: 1.0} if isinstance(species, str) else dict(species)
    return Atoms.from_symbols(
        positions, _mixture(fractions, len(positions), generator), np.asarray(u2), tuple(fractions)
    )


def _given(name: str, value: float | None, structure: str) -> float:
    if value is None or value <= 0:
        raise InputError(f"An {structure} particle came with {name} = {value}; give a positive number.")
    return value


def _crystal(cell, radius: float, constant: float) -> Float[np.ndarray, "n 3"]:
    cells = np.arange(-np.ceil(radius / constant) - 1, np.ceil(radius / constant) + 2)
    corners = np.stack(np.meshgrid(cells, cells, cells, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    sites = constant * (corners + np.array(cell)).reshape(-1, 3)
    return sites[np.linalg.norm(sites, axis=1) <= radius + 1e-9]


def _packing(radius: float, density: float, distance: float, generator, rounds: int = 2000) -> Float[np.ndarray, "n 3"]:
    """Points in a ball, pushed apart pair by pair until none are closer than `distance`."""
    count = max(1, round(density * 4 / 3 * np.pi * radius**3))
    points = generator.normal(size=(count, 3))
    points *= radius * generator.uniform(size=(count, 1)) ** (1 / 3) / np.linalg.norm(points, axis=1, keepdims=True)
    for _ in range(rounds):
        pairs = KDTree(points).query_pairs(distance, output_type="ndarray")
        if not len(pairs):
            return points
        apart = points[pairs[:, 0]] - points[pairs[:, 1]]
        length = np.linalg.norm(apart, axis=1, keepdims=True)
        # A little further than needed, so that the rounds end.
        push = (1.01 * distance - length) / 2 * apart / np.maximum(length, 1e-9)
        np.add.at(points, pairs[:, 0], push)
        np.add.at(points, pairs[:, 1], -push)
        points *= np.minimum(1, radius / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-9))
    raise InputError(
        f"A density of {density:g} atoms/Å³ cannot be packed at random with {distance:g} Å between atoms; "
        "lower the density or the distance."
    )


def _mixture(fractions: dict[str, float], count: int, generator) -> np.ndarray:
    edges = np.round(np.cumsum(list(fractions.values())) / sum(fractions.values()) * count).astype(int)
    return generator.permutation(np.repeat(list(fractions), np.diff(edges, prepend=0)))
