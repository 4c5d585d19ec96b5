"""A specimen that repeats: atoms and the cell they are repeated by."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxaet.core import InputError
from jaxaet.core.errors import known
from jaxaet.specimen.atoms import Atoms
from jaxaet.specimen.crystals import DICHALCOGENIDES, THERMAL_U2
from jaxaet.specimen.elements import masses_of


class Crystal(eqx.Module):
    """Atoms repeated along two or three directions.

    `atoms`: the n atoms of one cell. `cell`: (3, 3), its vectors as rows, in Å. `masses`: (n,) in amu, by default the
    mean of each atom's composition. `periodic`: along which of the three vectors the atoms repeat; a sheet repeats
    along the first two, and its third only makes the cell a volume.
    Raises `InputError` for a cell without volume.
    """

    atoms: Atoms
    cell: Float[Array, "3 3"]
    masses: Float[Array, " n"]
    periodic: tuple[bool, bool, bool] = eqx.field(static=True)

    def __init__(self, atoms, cell, masses=None, periodic: Sequence[bool] = (True, True, False)):
        self.atoms = atoms
        self.cell = jnp.asarray(cell, dtype=float)
        if masses is None:
            content = jnp.sum(atoms.composition, axis=1)
            masses = atoms.composition @ masses_of(atoms.species) / jnp.where(content > 0, content, 1.0)
        self.masses = jnp.asarray(masses, dtype=float)
        first, second, third = periodic
        self.periodic = (bool(first), bool(second), bool(third))

    def __check_init__(self):
        if self.cell.shape != (3, 3) or self.masses.shape != (len(self.atoms),):
            raise InputError(
                f"A cell of shape {self.cell.shape} with masses of shape {self.masses.shape} does not hold "
                f"{len(self.atoms)} atoms; give (3, 3) and ({len(self.atoms)},)."
            )
        if known(~jnp.isfinite(self.cell).all()):
            raise InputError("The cell has entries that are not finite; give three vectors of numbers, in Å.")
        if known(jnp.abs(jnp.linalg.det(self.cell)) < 1e-6):
            raise InputError(
                "The cell has no volume; give three independent vectors, for a sheet a third one out of its plane."
            )

    def __len__(self) -> int:
        return len(self.atoms)

    def moved(self, positions: Float[Array, "n 3"]) -> "Crystal":
        """The same crystal with its atoms at other `positions`, (n, 3) in Å."""
        return eqx.tree_at(lambda c: c.atoms.positions, self, positions)

    def stretched(self, cell: Float[Array, "3 3"]) -> "Crystal":
        """The crystal strained into another `cell`, (3, 3) in Å, its atoms moving with it."""
        cell = jnp.asarray(cell, dtype=float)
        positions = self.atoms.positions @ jnp.linalg.inv(self.cell) @ cell
        return eqx.tree_at(lambda c: (c.atoms.positions, c.cell), self, (positions, cell))

    def repeated(self, counts: tuple[int, int, int]) -> "Crystal":
        """A supercell of `counts` cells along each vector; the atoms of one cell stay together, in their order.

        Raises `InputError` for a count below 1 and for copies along a direction that does not repeat.
        """
        if min(counts) < 1 or any(count > 1 and not p for count, p in zip(counts, self.periodic, strict=True)):
            raise InputError(f"{counts} cells are not possible; give at least 1, and 1 where the crystal ends.")
        shifts = np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), axis=-1).reshape(-1, 3)
        atoms, cells = self.atoms, len(shifts)
        positions = (atoms.positions[None] + (jnp.asarray(shifts, float) @ self.cell)[:, None]).reshape(-1, 3)
        repeated = Atoms(
            positions,
            jnp.tile(atoms.composition, (cells, 1)),
            jnp.tile(atoms.u2, cells),
            atoms.species,
            atoms.species_u2,
        )
        return Crystal(
            repeated, self.cell * jnp.asarray(counts, float)[:, None], jnp.tile(self.masses, cells), self.periodic
        )


def monolayer_cell(material: str, constant: float | None = None, half: float | None = None) -> Crystal:
    """The primitive cell of a monolayer: a metal at the origin and two chalcogens, vectors 120° apart, the second along
    y as the zigzag rows of `monolayer`, the third 20 Å high.

    `material`: MoS2, MoSe2, WS2 or WSe2. `constant`, `half`: lattice constant and height of the chalcogens above the
    metal in Å, by default those measured in the 2H crystal.
    Raises `InputError` for another material.
    """
    if material not in DICHALCOGENIDES:
        raise InputError(f"The material {material!r} is not known; choose one of {', '.join(DICHALCOGENIDES)}.")
    metal, chalcogen, measured, measured_half = DICHALCOGENIDES[material]
    a, z = constant or measured, half or measured_half
    cell = np.array([[np.sqrt(3) / 2 * a, -a / 2, 0], [0, a, 0], [0, 0, 20.0]])
    site = a * np.array([-np.sqrt(1 / 12), 0.5])
    positions = [[0, 0, 0], [*site, z], [*site, -z]]
    symbols = [metal, chalcogen, chalcogen]
    return Crystal(Atoms.from_symbols(positions, symbols, [THERMAL_U2[s] for s in symbols]), cell)


def rectangular_cell(
    material: str,
    rows: int,
    columns: int,
    spacing: float | None = None,
    period: float | None = None,
    half: float | None = None,
) -> Crystal:
    """A rectangular supercell of a monolayer: `rows` zigzag rows along y, each of `columns` metals.

    `spacing`: of the rows along x; `period`: of the metals along y; `half`: height of the chalcogens, Å; by default
    those of the 2H crystal. The order of the atoms is that of `rectangular_sites`.
    Raises `InputError` for another material, and for an odd number of rows, which does not repeat.
    """
    if rows < 2 or rows % 2 or columns < 1:
        raise InputError(f"{rows} rows of {columns} do not repeat; give an even number of rows and at least 1 column.")
    unit = monolayer_cell(material, half=half)
    a = float(unit.cell[1, 1])
    cells, basis = rectangular_sites(rows, columns)
    positions = np.asarray(unit.atoms.positions)[basis] + cells @ np.asarray(unit.cell)
    atoms = eqx.tree_at(lambda atoms: atoms.positions, unit.atoms.select(basis), jnp.asarray(positions))
    crystal = Crystal(atoms, np.diag([np.sqrt(3) / 2 * a * rows, a * columns, 20.0]))
    wanted = np.diag([(spacing or np.sqrt(3) / 2 * a) * rows, (period or a) * columns, 20.0])
    return crystal.stretched(jnp.asarray(wanted))


def rectangular_sites(rows: int, columns: int) -> tuple[Int[np.ndarray, "n 3"], Int[np.ndarray, " n"]]:
    """The primitive cell (n, 3) and the place in it (n,) of each atom of a `rectangular_cell`."""
    row, column, basis = (index.reshape(-1) for index in np.indices((rows, columns, 3)))
    return np.stack([row, column + row // 2, np.zeros_like(row)], axis=1), basis


def rectangular_multiples(rows: int, columns: int) -> Int[np.ndarray, "3 3"]:
    """The vectors of a `rectangular_cell` in those of `monolayer_cell`, as rows."""
    return np.array([[rows, rows // 2, 0], [0, columns, 0], [0, 0, 1]])
