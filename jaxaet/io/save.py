"""A tilt series to a file that `load_tilt_series` reads back."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from jaxaet.core import Images, InputError
from jaxaet.io.checks import checked_new_file
from jaxaet.specimen import Atoms

FORMAT_VERSION = 1
AXES = "image, row = y, column = x; row 0 at the smallest y; origin at pixel n // 2"
CONVENTION = "angles (Z, Y, X); R = Rz Ry Rx, right-handed, active; an atom at r is seen at R^T r; beam along -z"
UNITS = {
    "projections": "counts",
    "pixel_size_A": "Å",
    "angles_deg": "°",
    "angles_nominal_deg": "°",
    "atoms_A": "Å",
    "u2_A2": "Å²",
}


def save_tilt_series(
    path: str | os.PathLike,
    images: Images,
    truth: Atoms | None = None,
    truth_angles: Float[np.ndarray, "k 3"] | Float[Array, "k 3"] | None = None,
    **metadata: Any,
) -> None:
    """Writes a .npz or .h5 file with its axes and units.

    `truth`: the exact atoms, of which the file keeps position, element and u2. `truth_angles`: rad, if those of
    `images` are only nominal. `metadata`: numbers, texts or arrays under names of your own.
    Raises `InputError` if the file exists, the folder does not, the suffix is another one, or a name is taken.
    """
    path = Path(path)
    writers = {".npz": _write_npz, ".h5": _write_hdf5}
    if path.suffix not in writers:
        raise InputError(f"{path} has the suffix '{path.suffix}'; tilt series are written to {', '.join(writers)}.")
    arrays = _arrays(images, truth, truth_angles)
    taken = sorted((arrays.keys() | {"file", "allow_pickle"}) & metadata.keys())  # the last two are numpy's own
    if taken:
        raise InputError(f"The metadata names {taken} are taken by the tilt series itself; choose others.")
    extra = {name: np.asarray(value) for name, value in metadata.items()}
    unfit = sorted(name for name, value in extra.items() if value.dtype.kind not in "biufcU")
    if unfit:
        raise InputError(f"The metadata {unfit} are neither numbers, texts nor arrays of them; leave them out.")
    writers[path.suffix](checked_new_file(path), {**arrays, **extra})


def _arrays(images: Images, truth: Atoms | None, truth_angles) -> dict[str, np.ndarray]:
    reported = np.rad2deg(np.asarray(images.angles))
    if truth_angles is None:
        angles = {"angles_deg": reported}
    else:
        angles = {"angles_deg": np.rad2deg(np.asarray(truth_angles)), "angles_nominal_deg": reported}
    arrays = {
        "format_version": np.asarray(FORMAT_VERSION),
        "axes": np.asarray(AXES),
        "convention": np.asarray(CONVENTION),
        "projections": np.asarray(images.data),
        "pixel_size_A": np.asarray(images.grid.sampling),
        **angles,
    }
    return arrays if truth is None else {**arrays, **_truth_arrays(truth)}


def _truth_arrays(truth: Atoms) -> dict[str, np.ndarray]:
    from ase.data import atomic_numbers

    shared = np.asarray(truth.species_u2)[truth.labels] if len(truth) else 0.0
    return {
        "truth_kind": np.asarray("exact"),
        "atoms_A": np.asarray(truth.positions),
        "species": np.array([atomic_numbers[symbol] for symbol in truth.symbols], dtype=int),
        "u2_A2": np.asarray(truth.u2) + shared,
    }


def _write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("xb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _write_hdf5(path: Path, arrays: dict[str, np.ndarray]) -> None:
    import h5py

    with h5py.File(path, "x") as file:
        for name, array in arrays.items():
            text = array.dtype.kind == "U"
            item = file.create_dataset(name, data=array.astype(object) if text else array)
            if name in UNITS:
                item.attrs["unit"] = UNITS[name]
        file["projections"].attrs["axes"] = AXES
