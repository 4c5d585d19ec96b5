"""Phonopy: force constants in and out, and from any calculator by displacements."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from jaxaet.core import InputError
from jaxaet.phonons import ForceConstants
from jaxaet.specimen import Atoms, Crystal

BESIDE = ("FORCE_SETS", "FORCE_CONSTANTS", "force_constants.hdf5")  # what phonopy takes of its own accord
Forces = Callable[[Crystal], Float[Array, "n 3"] | Float[np.ndarray, "n 3"]]


def to_phonopy(
    crystal: Crystal, supercell: tuple[int, int, int] = (1, 1, 1), constants: ForceConstants | None = None
) -> Any:
    """A `phonopy.Phonopy` of the crystal as its own primitive cell, without symmetries.

    `supercell`: cells along each vector. `constants`: are put into it, those of pairs further apart than the supercell
    allows added up, as phonopy does; it then agrees at the wave vectors the supercell holds, and everywhere if no pair
    reaches over half of it.
    """
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    cell = PhonopyAtoms(
        symbols=list(crystal.atoms.symbols),
        cell=np.asarray(crystal.cell, float),
        positions=np.asarray(crystal.atoms.positions, float),
        masses=np.asarray(crystal.masses, float),
    )
    result = Phonopy(cell, np.diag(supercell), primitive_matrix="P", is_symmetry=False, log_level=0)
    if constants is not None:
        order = _order(result, crystal, supercell)
        place = np.empty(len(order), int)
        place[order] = np.arange(len(order))
        n, counts = len(crystal), np.array(supercell)
        full = np.zeros((len(order), len(order), 3, 3))
        pairs, images, blocks = map(np.asarray, (constants.pairs, constants.images, constants.blocks))
        for shift in np.ndindex(*supercell):
            first = place[_cell_number(np.array([shift]), counts) * n + pairs[:, 0]]
            second = place[_cell_number((images + np.array(shift)) % counts, counts) * n + pairs[:, 1]]
            np.add.at(full, (first, second), blocks)
        result.force_constants = full
    return result


def from_phonopy(phonopy: Any) -> tuple[Crystal, ForceConstants]:
    """The primitive cell and the force constants of a `phonopy.Phonopy`, frequencies the same at every wave vector.

    Where an atom's copies are equally near, phonopy shares its force constants among them; so do the pairs. A sheet
    comes back as a crystal that repeats along all three vectors. Born charges are left out: no non-analytical term.
    Raises `InputError` if it holds no force constants.
    """
    primitive, constants = phonopy.primitive, phonopy.force_constants
    if constants is None:
        raise InputError("The phonopy object holds no force constants; produce or load them first.")
    if constants.ndim != 4 or constants.shape[1:] != (len(phonopy.supercell), 3, 3):
        raise InputError(
            f"Force constants of shape {constants.shape} do not fit {len(phonopy.supercell)} atoms of a supercell; "
            "give (n, supercell atoms, 3, 3)."
        )
    to_primitive = primitive.p2s_map
    rows = to_primitive if len(constants) == len(phonopy.supercell) else np.arange(len(primitive))
    index = {atom: number for number, atom in enumerate(to_primitive)}
    home = np.array([index[atom] for atom in primitive.s2p_map])
    vectors, multiplicities = primitive.get_smallest_vectors()
    scaled = primitive.scaled_positions
    pairs, images, blocks = [], [], []
    for other in range(len(phonopy.supercell)):
        for atom in range(len(primitive)):
            count, start = multiplicities[other, atom]
            for vector in vectors[start : start + count]:
                shift = vector + scaled[atom] - scaled[home[other]]
                pairs.append((atom, home[other]))
                images.append(np.round(shift))
                blocks.append(constants[rows[atom], other] / count)
    atoms = Atoms.from_symbols(primitive.positions, primitive.symbols)
    crystal = Crystal(atoms, primitive.cell, primitive.masses, (True, True, True))
    return crystal, ForceConstants(np.array(pairs), np.array(images, int), np.array(blocks))


def load_phonons(
    path: str | os.PathLike,
    force_constants: str | os.PathLike | None = None,
    force_sets: str | os.PathLike | None = None,
) -> tuple[Crystal, ForceConstants]:
    """The crystal and force constants of a phonopy run.

    `path`: phonopy.yaml, phonopy_disp.yaml or phonopy_params.yaml. `force_constants`: FORCE_CONSTANTS or a .hdf5 file
    of them, `force_sets`: FORCE_SETS, where the yaml file does not hold them itself; of those not named, the ones
    beside the yaml file are taken, and never those of the folder the program runs in.
    Raises `InputError` for a file that is missing, unreadable or does not fit the others, and when no force constants
    result.
    """
    import phonopy

    yaml = Path(path).resolve()
    constants, sets = (None if file is None else Path(file).resolve() for file in (force_constants, force_sets))
    named = [file for file in (yaml, constants, sets) if file is not None]
    for file in named:
        if not file.is_file():
            found = "a folder" if file.is_dir() else "nothing"
            raise InputError(f"There is {found} at {file}; allowed a file that exists; correct the path.")
    try:
        with contextlib.chdir(yaml.parent):  # where phonopy looks for files of its own accord
            loaded = phonopy.load(
                yaml.name,
                force_constants_filename=constants,
                force_sets_filename=sets,
                is_nac=False,
                primitive_matrix=None,
                log_level=0,
            )
    except Exception as error:  # phonopy raises whatever its parsers do
        beside = [yaml.parent / name for name in BESIDE]
        names = " with ".join(file.name for file in dict.fromkeys((*named, *(f for f in beside if f.is_file()))))
        raise InputError(
            f"{names} in {yaml.parent} cannot be read by phonopy ({' '.join(str(error).split())}); give the files "
            "of one finished phonopy run."
        ) from None
    if loaded.force_constants is None:
        raise InputError(
            f"{yaml} holds no force constants; put {', '.join(BESIDE[:-1])} or {BESIDE[-1]} of the same run beside it, "
            "or name the file."
        )
    return from_phonopy(loaded)


def displaced_constants(
    crystal: Crystal, forces: Forces, supercell: tuple[int, int, int] = (1, 1, 1), distance: float = 0.01
) -> ForceConstants:
    """Force constants by moving each atom there and back and looking at the forces, through phonopy.

    `forces`: gives (n, 3) eV/Å of a crystal, `calculator_forces` makes one of any ASE calculator. `distance`: Å. Every
    atom of the cell is moved along three directions, 6 n calls. The sum rule is imposed; forces at rest cancel.
    """
    result = to_phonopy(crystal, supercell)
    result.generate_displacements(distance=distance, is_plusminus=True, is_diagonal=False)
    order = _order(result, crystal, supercell)
    larger = crystal.repeated(supercell)
    for entry in result.dataset["first_atoms"]:
        moves = np.zeros((len(larger), 3))
        moves[order[entry["number"]]] = entry["displacement"]
        entry["forces"] = _checked(forces, larger.moved(larger.atoms.positions + moves))[order]
    result.produce_force_constants(show_drift=False)
    result.symmetrize_force_constants()
    return _in_cells(result, crystal)


def fitted_constants(
    crystal: Crystal,
    forces: Forces,
    supercell: tuple[int, int, int] = (1, 1, 1),
    displacement: float = 0.03,
    snapshots: int = 40,
    cutoff: float | None = None,
    seed: int = 0,
) -> ForceConstants:
    """Force constants fitted to the forces on randomly displaced atoms, through symfc: for structures that are no
    minimum, as the AET paper fits those of its measured atoms.

    `forces`: as in `displaced_constants`. `displacement`: how far every atom is moved, Å; each snapshot is also made
    with the opposite signs, so that cubic terms cancel. `snapshots`: how many, both signs counted. `cutoff`: Å, beyond
    which atoms do not act on each other. The forces at rest are taken off first.
    """
    result = to_phonopy(crystal, supercell)
    result.generate_displacements(
        distance=displacement, number_of_snapshots=max(snapshots // 2, 1), is_plusminus=True, random_seed=seed
    )
    order = _order(result, crystal, supercell)
    larger = crystal.repeated(supercell)
    rest = _checked(forces, larger)
    found = []
    for moved in result.dataset["displacements"]:
        moves = np.zeros((len(larger), 3))
        moves[order] = moved
        found.append((_checked(forces, larger.moved(larger.atoms.positions + moves)) - rest)[order])
    result.forces = np.array(found)
    options = None if cutoff is None else f"cutoff = {cutoff}"
    result.produce_force_constants(fc_calculator="symfc", fc_calculator_options=options, show_drift=False)
    return _in_cells(result, crystal)


def calculator_forces(calculator: Any) -> Forces:
    """The forces of any ASE calculator, as `displaced_constants` and `fitted_constants` take them."""
    import ase

    def forces(crystal: Crystal) -> Float[np.ndarray, "n 3"]:
        atoms = ase.Atoms(
            list(crystal.atoms.symbols),
            positions=np.asarray(crystal.atoms.positions, float),
            cell=np.asarray(crystal.cell, float),
            pbc=crystal.periodic,
        )
        atoms.calc = calculator
        return atoms.get_forces()

    return forces


def _checked(forces: Forces, crystal: Crystal) -> Float[np.ndarray, "n 3"]:
    found = np.asarray(forces(crystal), float)
    if found.shape != (len(crystal), 3) or not np.isfinite(found).all():
        raise InputError(
            f"The forces on {len(crystal)} atoms have shape {found.shape}, or are not finite; give (n, 3) numbers in "
            "eV/Å, and check the positions."
        )
    return found


def _in_cells(phonopy: Any, crystal: Crystal) -> ForceConstants:
    """The force constants for the crystal's own positions, which phonopy may have wrapped into another cell."""
    wrapped, constants = from_phonopy(phonopy)
    moved = np.asarray((wrapped.atoms.positions - crystal.atoms.positions) @ np.linalg.inv(crystal.cell))
    shift = np.round(moved).astype(int)
    i, j = np.asarray(constants.pairs).T
    return ForceConstants(constants.pairs, np.asarray(constants.images) + shift[j] - shift[i], constants.blocks)


def _order(phonopy: Any, crystal: Crystal, supercell: tuple[int, int, int]) -> np.ndarray:
    """Which atom of `crystal.repeated(supercell)` each atom of phonopy's supercell is."""
    cell = phonopy.supercell.cell
    ours = np.asarray(crystal.repeated(supercell).atoms.positions) @ np.linalg.inv(cell)
    theirs = phonopy.supercell.scaled_positions
    gaps = theirs[:, None] - ours[None]
    distances = np.linalg.norm((gaps - np.round(gaps)) @ cell, axis=2)
    return distances.argmin(axis=1)


def _cell_number(cell: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The place of a cell, or of many, in the order of `Crystal.repeated`."""
    return (cell[..., 0] * counts[1] + cell[..., 1]) * counts[2] + cell[..., 2]
