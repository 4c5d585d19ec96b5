"""Atoms to and from ASE, and through it to files."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from jaxaet.core import InputError
from jaxaet.io.checks import checked_new_file
from jaxaet.specimen import Atoms

FORMATS = {".extxyz": "extxyz", ".xyz": "extxyz", ".cif": "cif", ".vasp": "vasp", ".poscar": "vasp"}
FORMAT_VERSION = 1
VACUUM = 10.0  # Å on each side of the atoms, in formats that need a cell
VACANCY = "X"  # ASE's symbol of atomic number 0


def to_ase(atoms: Atoms, sigma: Float[Array, "n 3"] | Float[np.ndarray, "n 3"] | None = None) -> Any:
    """An `ase.Atoms` without a cell, with the columns composition, u2 (Å²) and, if given, sigma (Å).

    The symbol is that of the largest weight, or X where vacancy weighs more. `sigma`: error bars of the positions.
    """
    import ase

    composition = np.asarray(atoms.composition, dtype=float)
    vacant = 1 - composition.sum(axis=1) > composition.max(axis=1, initial=0.0)
    symbols = np.where(vacant, VACANCY, atoms.symbols) if len(atoms) else []
    result = ase.Atoms(list(symbols), positions=np.asarray(atoms.positions, dtype=float))
    result.new_array("composition", composition)
    result.new_array("u2", np.asarray(atoms.u2, dtype=float))
    if sigma is not None:
        result.new_array("sigma", np.asarray(sigma, dtype=float))
    result.info["format_version"] = FORMAT_VERSION
    result.info["composition_species"] = list(atoms.species)
    result.info["species_u2"] = np.asarray(atoms.species_u2, dtype=float).tolist()
    return result


def from_ase(ase_atoms: Any, species: tuple[str, ...] | None = None) -> Atoms:
    """Atoms at the positions of an `ase.Atoms`; its cell is ignored.

    Composition and u2 are taken where it carries them, as `to_ase` writes them; otherwise each atom has the one
    element of its symbol (none for X) and u2 = 0. `species`: the order of the columns, by default that of appearance.
    Raises `InputError` if an element is not among `species`.
    """
    count, info = len(ase_atoms), ase_atoms.info
    shared: Any  # an array, where the constructor of Atoms shows a number as its default
    if "composition" in ase_atoms.arrays and "composition_species" in info:
        columns = tuple(info["composition_species"])
        composition = ase_atoms.arrays["composition"].reshape(count, len(columns))
        shared = np.atleast_1d(info.get("species_u2", np.zeros(len(columns))))
    else:
        symbols = np.array(ase_atoms.get_chemical_symbols(), dtype=str)
        columns = tuple(str(symbol) for symbol in dict.fromkeys(symbols) if symbol != VACANCY)
        composition = (symbols[:, None] == np.array(columns, dtype=str)).astype(float)
        shared = np.zeros(len(columns))
    u2 = ase_atoms.arrays.get("u2", np.zeros(count))
    if species is not None:
        composition, shared = _reordered(composition, columns, species), _reordered(shared, columns, species)
    return Atoms(ase_atoms.positions, composition, u2, columns if species is None else species, shared)


def save_atoms(
    path: str | os.PathLike,
    atoms: Atoms,
    sigma: Float[Array, "n 3"] | Float[np.ndarray, "n 3"] | None = None,
    overwrite: bool = False,
) -> None:
    """Writes .extxyz (all of `atoms`, and `sigma` in Å, to 1e-8), or .cif or POSCAR (positions and elements only).

    .cif and POSCAR get a box with the object's origin in its middle and at least 10 Å of vacuum on each side of the
    atoms; they leave out vacancies, and POSCAR sorts the atoms by element.
    Raises `InputError` for another suffix, a folder that does not exist, or a file that does unless `overwrite`.
    """
    from ase.io import write

    path = checked_new_file(Path(path), overwrite)
    format = _format(path)
    result = to_ase(atoms, sigma)
    if format != "extxyz":
        result = _boxed(result[result.numbers > 0])
    unfinished = path.with_name(f"{path.name}.part")
    columns = ["symbols", "positions", "composition", "u2"] + ["sigma"] * (sigma is not None)
    options = {"extxyz": {"columns": columns}, "cif": {}, "vasp": {"sort": True}}
    write(unfinished, result, format=format, **options[format])
    unfinished.replace(path)


def load_atoms(path: str | os.PathLike, species: tuple[str, ...] | None = None) -> Atoms:
    """Reads .extxyz, .xyz, .cif, .vasp or POSCAR; of several frames the last.

    The origin is that of the file in .extxyz and .xyz, and the middle of the cell in .cif and POSCAR.
    `species`: as in `from_ase`. Raises `InputError` if the file is missing, damaged or of another format.
    """
    return from_ase(_read(Path(path)), species)


def load_error_bars(path: str | os.PathLike) -> Float[np.ndarray, "n 3"] | None:
    """The standard deviation of each coordinate, (n, 3) in Å, of a file that `save_atoms` wrote, or None without them.

    Raises `InputError` as `load_atoms` does.
    """
    sigma = _read(Path(path)).arrays.get("sigma")
    return None if sigma is None else np.asarray(sigma, dtype=float).reshape(-1, 3)


def _read(path: Path) -> Any:
    """The last frame of a file as an `ase.Atoms`, the object's origin at 0."""
    from ase.io import read

    format = _format(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file; give the path of a file of atoms.")
    try:
        result: Any = read(path, format=format)
    except Exception as error:  # ASE's readers report damage by whatever their parsing meets
        raise InputError(
            f"{path} could not be read as {format}; it is damaged or of another format, so copy or save it again."
        ) from error
    if format != "extxyz":
        result.positions -= result.cell.sum(axis=0) / 2
    return result


def _format(path: Path) -> str:
    if path.name.startswith(("POSCAR", "CONTCAR")):
        return "vasp"
    if path.suffix.lower() not in FORMATS:
        allowed = ", ".join(FORMATS)
        raise InputError(f"{path} has the suffix '{path.suffix}'; atoms are kept in {allowed} or POSCAR.")
    return FORMATS[path.suffix.lower()]


def _boxed(ase_atoms: Any) -> Any:
    half = np.abs(ase_atoms.positions).max(axis=0, initial=0.0) + VACUUM
    ase_atoms.set_cell(2 * half)
    ase_atoms.positions += half
    ase_atoms.pbc = True
    return ase_atoms


def _reordered(values: np.ndarray, columns: tuple[str, ...], species: tuple[str, ...]) -> np.ndarray:
    """`values`, whose last axis belongs to `columns`, with a last axis that belongs to `species`."""
    unknown = sorted(set(columns) - set(species))
    if unknown:
        raise InputError(f"Species {unknown} are not among {list(species)}; add them to `species`.")
    result = np.zeros((*values.shape[:-1], len(species)))
    result[..., [species.index(column) for column in columns]] = values
    return result
