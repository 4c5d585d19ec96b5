"""To and from abTEM, whose axes are (x, y) and whose beam travels along +z.

In a cell of side `length` (Å) the middle, pixel n // 2, is our origin; z is turned over so that the beam meets the same
atom first. abTEM is under the GPL and optional: it is imported here only, when it is asked for.
"""

from functools import singledispatch
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxaet.core import Grid, Images, InputError
from jaxaet.forward import Cell, Slabs
from jaxaet.forward.potential import species_gaussians
from jaxaet.forward.scattering import Table
from jaxaet.instrument import Aberrations, AnnularDetector, Beam
from jaxaet.io.atoms import from_ase
from jaxaet.specimen import Atoms

# Our coefficient, abTEM's magnitude and its azimuth, and the multiplicity.
_PAIRS = (
    ("c12", "C12", "phi12", 2), ("c21", "C21", "phi21", 1), ("c23", "C23", "phi23", 3), ("c32", "C32", "phi32", 2),
    ("c34", "C34", "phi34", 4),
)  # fmt: skip
_SINGLES = (("c10", "C10"), ("c30", "C30"), ("c50", "C50"))
_MRAD = 1e3
_VOLT_SQUARE_ANGSTROM = 47.87801  # h² / (2 pi m e), what a scattering factor of 1 Å is as an integrated potential


def imported() -> Any:
    """abTEM; `InputError` where it is not installed."""
    try:
        import abtem
    except ImportError:
        raise InputError("abTEM is not installed; `pip install 'jaxaet[abtem]'` adds it (GPL-3.0).") from None
    return abtem


@singledispatch
def to_abtem(ours: Any, length: float = 0.0, pixels: int = 0) -> Any:
    """The abTEM object for `Atoms` (`ase.Atoms` in a cell), a `Beam`, an `AnnularDetector` or a `Grid` of scan points.

    `length`: side of abTEM's square cell, Å; `pixels`: along it. The height of the cell is that of the atoms and 2 Å at
    each end. Raises `InputError` for atoms outside the cell, for mixed atoms, and without abTEM.
    """
    raise InputError(f"A {type(ours).__name__} has no counterpart in abTEM; give Atoms, a Beam, a detector or a Grid.")


@to_abtem.register
def _(ours: Atoms, length: float = 0.0, pixels: int = 0) -> Any:
    import ase

    positions, composition = np.asarray(ours.positions, float), np.asarray(ours.composition)
    if not np.all((composition == 0) | (composition == 1)):
        raise InputError(
            "Some atoms are shared between species, which abTEM does not know; give each atom one element."
        )
    farthest = float(np.max(np.abs(positions[:, :2]), initial=0.0))
    if farthest > 0.5 * length:
        raise InputError(
            f"An atom lies {farthest:.3g} Å from the middle of a cell of {length:g} Å; give a length of at least "
            f"{2 * farthest:.3g} Å."
        )
    real = composition.sum(axis=1) > 0
    middle = length / pixels * (pixels // 2) if pixels else 0.5 * length
    height = positions[:, 2].max(initial=0.0) + 2.0
    moved = positions * [1, 1, -1] + [middle, middle, height]
    cell = [length, length, height - positions[:, 2].min(initial=0.0) + 2.0]
    return ase.Atoms(list(ours.symbols[real]), positions=moved[real], cell=cell, pbc=True)


@to_abtem.register
def _(ours: Beam, length: float = 0.0, pixels: int = 0) -> Any:
    lens = ours.aberrations
    aberrations = {theirs: float(getattr(lens, name)) for name, theirs in _SINGLES}
    for name, theirs, azimuth, fold in _PAIRS:
        a, b = np.asarray(getattr(lens, name), float)
        aberrations |= {theirs: float(np.hypot(a, b)), azimuth: float(np.arctan2(b, a) / fold)}
    aberrations = {name: value for name, value in aberrations.items() if value}
    grid = {"extent": length, "gpts": pixels} if pixels else {}
    return imported().Probe(
        energy=float(ours.energy), semiangle_cutoff=_MRAD * float(ours.semi_angle), aberrations=aberrations, **grid
    )


@to_abtem.register
def _(ours: AnnularDetector, length: float = 0.0, pixels: int = 0) -> Any:
    return imported().AnnularDetector(inner=_MRAD * float(ours.inner), outer=_MRAD * float(ours.outer))


@to_abtem.register
def _(ours: Grid, length: float = 0.0, pixels: int = 0) -> Any:
    step, (ny, nx) = float(ours.sampling), ours.shape
    middle = length / pixels * (pixels // 2) if pixels else 0.5 * length
    start = (middle - (nx // 2) * step, middle - (ny // 2) * step)
    end = (start[0] + nx * step, start[1] + ny * step)
    return imported().GridScan(start=start, end=end, gpts=(nx, ny), endpoint=False)


def to_abtem_potential(atoms: Atoms, beam: Beam, cell: Cell, slabs: Slabs, table: Table = "lobato") -> Any:
    """abTEM's `PotentialArray` (V Å) of our own potential in `slabs`, and the height of its entrance in Å.

    `atoms`: turned as the beam sees them, with x and y from the middle of the cell.
    """
    found = species_gaussians(atoms, beam, table)
    heights = slabs.heights(found, jnp.ones(len(atoms), atoms.positions.dtype))
    volts = _VOLT_SQUARE_ANGSTROM / (beam.mass_ratio * beam.wavelength)
    phases = np.asarray(volts * slabs.phases(cell, found, heights))
    array = imported().PotentialArray(
        np.swapaxes(phases, 1, 2), slice_thickness=float(slabs.thickness), extent=float(cell.length)
    )
    return array, float(heights[0] + 0.5 * slabs.thickness)


def from_abtem(theirs: Any, length: float = 0.0, pixels: int = 0) -> Any:
    """What an abTEM object is with us: `Atoms`, `Beam`, `AnnularDetector`, `Images`, or an array (…, y, x).

    `ase.Atoms` become `Atoms` about the middle of a cell of `length` Å (their own cell's side if 0), with z turned
    over; a `Probe` a `Beam`; a measured image an `Images` of one image at angle 0 in fractions of the beam; waves,
    potentials and diffraction patterns become arrays with y before x, and diffraction patterns as they are.
    Raises `InputError` for anything else.
    """
    kind = type(theirs).__name__
    theirs = theirs.compute() if getattr(theirs, "is_lazy", False) else theirs
    if kind == "Atoms":
        side = length or float(theirs.cell[0, 0])
        middle = side / pixels * (pixels // 2) if pixels else 0.5 * side
        moved = theirs.copy()
        moved.positions = (theirs.positions - [middle, middle, 0.5 * theirs.cell[2, 2]]) * [1, 1, -1]
        return from_ase(moved)
    if kind == "Probe":
        given = theirs.aberrations.aberration_coefficients
        values = {name: given.get(symbol, 0.0) for name, symbol in _SINGLES}
        for name, symbol, azimuth, fold in _PAIRS:
            turn = fold * given.get(azimuth, 0.0)
            values[name] = given.get(symbol, 0.0) * np.array([np.cos(turn), np.sin(turn)])
        return Beam(theirs.energy, theirs.semiangle_cutoff / _MRAD, aberrations=Aberrations(**values))
    if kind == "AnnularDetector":
        return AnnularDetector(theirs.inner / _MRAD, theirs.outer / _MRAD)
    if kind == "Images":
        return Images(
            np.asarray(theirs.array).T[None], np.zeros((1, 3)), Grid(theirs.array.T.shape, theirs.sampling[0])
        )
    if kind in ("Waves", "PotentialArray", "TransmissionFunction", "DiffractionPatterns"):
        return np.swapaxes(np.asarray(theirs.array), -1, -2)
    raise InputError(f"abTEM's {kind} cannot be converted; give atoms, a Probe, a detector, waves or a measurement.")
