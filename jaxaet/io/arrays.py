"""Files of named arrays: .npz, .h5, .hdf5 and .mat.

The names read here, first match first (docs/conventions.md has the meaning of axes and angles):

    images       projections, images, data             (image, row = y, column = x)
    frames       frames                                (image, frame, row, column), for `load_frames`
    pixel size   pixel_size_A, pixel_size_a, pixel_size_nm
    angles       angles_deg, angles_rad, angles (deg)  (k, 3) in the order (Z, Y, X), or (k,) tilts about Y
                 angles_nominal_deg                    what the microscope reported; `angles_deg` is then the truth
    atoms        atoms_A (n, 3) with species (n,)      atomic numbers or symbols; `truth_kind` says whether it is exact
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from jaxaet.core import InputError
from jaxaet.io.contents import Contents
from jaxaet.specimen import Atoms

IMAGE_NAMES = ("projections", "images", "data", "frames")
PIXEL_SIZE_NAMES = {"pixel_size_A": 1.0, "pixel_size_a": 1.0, "pixel_size_nm": 10.0}
ANGLE_NAMES = {"angles_deg": np.pi / 180, "angles_rad": 1.0, "angles": np.pi / 180}


def npz_arrays(path: Path) -> dict[str, Any]:
    """The arrays of a NumPy archive."""
    arrays = {}
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        for name in file.files:
            try:
                arrays[name] = file[name]
            except ValueError:  # NumPy's answer to an array of objects, which could run any code
                raise InputError(
                    f"{path} holds Python objects under {name}, such as images of different sizes; "
                    "crop or pad images to one size and store one array (image, row, column)."
                ) from None
    return arrays


def hdf5_arrays(path: Path, nested: bool = False) -> dict[str, Any]:
    """The datasets and attributes at the root of an HDF5 file, or all datasets, by their paths, where `nested`."""
    import h5py

    with h5py.File(path, "r") as file:
        datasets = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}
        if nested:
            file.visititems(lambda name, item: datasets.update({name: item} if isinstance(item, h5py.Dataset) else {}))
        arrays = {
            name: item.asstr()[()] if h5py.check_string_dtype(item.dtype) else item[()]
            for name, item in datasets.items()
        }
        return {**dict(file.attrs), **arrays}


def mat_arrays(path: Path) -> dict[str, Any]:
    """The variables of a MATLAB file, version 5 or 7.3, with the axes as MATLAB shows them."""
    from pymatreader import read_mat as read_variables

    variables = read_variables(str(path))
    return {name: value for name, value in variables.items() if not name.startswith("__")}


def read_npz(path: Path) -> Contents:
    """The arrays of a NumPy archive."""
    return from_arrays(path, npz_arrays(path))


def read_hdf5(path: Path) -> Contents:
    """The datasets and attributes at the root of an HDF5 file."""
    return from_arrays(path, hdf5_arrays(path))


def read_mat(path: Path) -> Contents:
    """The variables of a MATLAB file, version 5 or 7.3, with the axes as MATLAB shows them."""
    return from_arrays(path, mat_arrays(path))


def from_arrays(path: Path, arrays: dict[str, Any]) -> Contents:
    """Sorts named arrays into the parts of a tilt series; raises `InputError` if none of them holds images."""
    rest = {name: _plain(value) for name, value in arrays.items()}
    names = ", ".join(sorted(rest))
    images = _take(rest, IMAGE_NAMES)
    if images is None:
        raise InputError(
            f"{path} holds {f'no images but {names}' if names else 'nothing'}; store images as {IMAGE_NAMES[0]} "
            f"(image, row, column), or raw frames as {IMAGE_NAMES[-1]} (image, frame, row, column)."
        )
    pixel_size = _scaled(rest, PIXEL_SIZE_NAMES)
    if "angles" in rest:
        _refuse_doubtful_unit(path, rest)
    nominal, angles = _scaled(rest, {"angles_nominal_deg": np.pi / 180}), _scaled(rest, ANGLE_NAMES)
    return Contents(
        images=images,
        pixel_size=pixel_size,
        angles=angles if nominal is None else nominal,
        truth_angles=None if nominal is None else angles,
        atoms=_atoms(rest),
        atoms_are_truth=_says_truth(str(rest.get("truth_kind", ""))),
        metadata=rest,
    )


def _plain(value: Any) -> Any:
    """A Python scalar in place of an array of one element without axes."""
    return value.item() if isinstance(value, np.ndarray | np.generic) and value.ndim == 0 else value


def _take(arrays: dict[str, Any], names) -> Any:
    return next((arrays.pop(name) for name in names if name in arrays), None)


def _scaled(arrays: dict[str, Any], names: dict[str, float]) -> Any:
    return next((np.asarray(arrays.pop(n), dtype=float) * unit for n, unit in names.items() if n in arrays), None)


def _refuse_doubtful_unit(path: Path, arrays: dict[str, Any]) -> None:
    largest = np.max(np.abs(np.asarray(arrays["angles"], dtype=float)), initial=0.0)
    if 0 < largest <= 2 * np.pi:
        raise InputError(
            f"{path} holds angles up to {largest:.3g}, which may be degrees or radians; "
            "rename the array to angles_deg or angles_rad."
        )


def _atoms(arrays: dict[str, Any]) -> Atoms | None:
    if not {"atoms_A", "species"} <= arrays.keys():
        return None
    from ase.data import chemical_symbols

    species = np.atleast_1d(arrays.pop("species"))
    symbols = species if species.dtype.kind in "UO" else [chemical_symbols[int(number)] for number in species]
    return Atoms.from_symbols(np.reshape(arrays.pop("atoms_A"), (-1, 3)), symbols, u2=arrays.pop("u2_A2", 0.0))


def _says_truth(kind: str) -> bool:
    """Whether a `truth_kind` claims the atoms to be exact; "final model (not ground truth)" does not."""
    words = set(re.findall(r"\w+", kind.lower()))
    return bool(words & {"exact", "truth"}) and "not" not in words
