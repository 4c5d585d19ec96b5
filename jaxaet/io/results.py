"""The arrays of a run, each with its unit and its axes."""

import csv
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxaet.core import InputError


def load_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of a file that `save_arrays` wrote; raises `InputError` for any other file."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return {name: np.asarray(dataset) for name, dataset in file.items()}
    except OSError as error:
        raise InputError(f"{path} could not be read as HDF5 ({error}); give a file that jaxaet wrote.") from None


def save_arrays(path: str | os.PathLike, arrays: dict[str, tuple[Any, str, str]], attributes: dict[str, Any]) -> None:
    """Writes an HDF5 file of named arrays, each (values, unit, axes), and of attributes with units in their names."""
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["format_version"] = 1
        for name, value in attributes.items():
            file.attrs[name] = value
        for name, (values, unit, axes) in arrays.items():
            dataset = file.create_dataset(name, data=np.asarray(values), compression="gzip", shuffle=True)
            dataset.attrs["unit"], dataset.attrs["axes"] = unit, axes


def save_table(path: str | os.PathLike, columns: Mapping[str, np.ndarray]) -> None:
    """Writes a CSV file of columns of equal length, named with their units; numbers to six digits."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        rows.writerows([f"{value:.6g}" for value in row] for row in zip(*columns.values(), strict=True))
