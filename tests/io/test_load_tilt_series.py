"""Every format brings the same pixels, pixel size and angles, in the axes of the house."""

import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
import tilt_series_files as files
from hypothesis import given, strategies as st

from jaxaet.core import Grid, Images, project
from jaxaet.io import load_tilt_series, save_tilt_series
from jaxaet.specimen import Atoms

ONE_AXIS = np.deg2rad([[0, -60, 0], [0, -30, 0], [0, 0, 0]])
COMPLETE = {  # name of the file: (writer, angles it says)
    "a.npz": (files.write_npz, files.ANGLES),
    "a.h5": (files.write_hdf5, files.ANGLES),
    "a.hdf5": (files.write_hdf5_attributes, files.ANGLES),
    "v5.mat": (files.write_mat5, files.ANGLES),
    "v73.mat": (files.write_mat73, files.ANGLES),
    "described.tiff": (files.write_tiff_described, files.ANGLES),
    "a.ndata": (files.write_ndata, ONE_AXIS),
    "exported.ndata": (lambda path: files.write_ndata(path, "spatial_calibrations"), ONE_AXIS),
    "a.hspy": (files.write_hspy, files.TILTS),
    "a.emd": (files.write_emd, ONE_AXIS),
}
WITHOUT_ANGLES = {
    "a.mrc": files.write_mrc,
    "imagej.tif": files.write_tiff_imagej,
    "a.dm3": files.write_dm,
    "a.dm4": files.write_dm,
}


def assert_same(images, angles):
    np.testing.assert_allclose(images.data, files.series(angles), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(images.angles, angles, atol=1e-12)
    np.testing.assert_allclose(images.grid.sampling, files.SAMPLING, rtol=1e-6)
    assert images.grid.shape == files.SHAPE


@pytest.mark.parametrize("name", COMPLETE)
def test_a_complete_file_needs_nothing_more(name, tmp_path):
    writer, angles = COMPLETE[name]
    writer(tmp_path / name)
    assert_same(load_tilt_series(tmp_path / name).images, angles)


@pytest.mark.parametrize("name", WITHOUT_ANGLES)
def test_angles_are_passed_where_the_format_has_none(name, tmp_path):
    WITHOUT_ANGLES[name](tmp_path / name)
    assert_same(load_tilt_series(tmp_path / name, angles=files.ANGLES).images, files.ANGLES)


@pytest.mark.parametrize("name", ["a.npz", "a.ndata", "a.hspy", "a.emd", "v73.mat"])
def test_the_heaviest_atom_is_brightest_where_core_projects_it(name, tmp_path):
    COMPLETE[name][0](tmp_path / name)
    images = load_tilt_series(tmp_path / name).images
    seen = project(jnp.asarray(files.POSITIONS), images.angles)[:, 0] / files.SAMPLING + jnp.array([[28, 20]])
    rows, columns = np.unravel_index(np.argmax(images.data.reshape(len(images.data), -1), axis=1), files.SHAPE)
    np.testing.assert_allclose(np.stack([columns, rows], axis=1), seen, atol=0.8)


def test_arguments_override_the_file(tmp_path):
    files.write_npz(tmp_path / "a.npz")
    images = load_tilt_series(tmp_path / "a.npz", pixel_size=0.5, angles=files.TILTS[:, 1]).images
    np.testing.assert_allclose(images.angles, files.TILTS)
    assert images.grid.sampling == 0.5


def test_nominal_angles_are_the_data_and_calibrated_ones_the_truth(tmp_path):
    files.write_npz(tmp_path / "a.npz", angles_nominal_deg=np.rad2deg(files.TILTS))
    found = load_tilt_series(tmp_path / "a.npz")
    np.testing.assert_allclose(found.images.angles, files.TILTS, atol=1e-12)
    np.testing.assert_allclose(found.truth_angles, files.ANGLES, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "exact"),
    [
        ("exact", True),
        ("simulation input (exact)", True),
        ("ground truth", True),
        ("final model (not ground truth)", False),
        ("", False),
    ],
)
def test_a_model_is_truth_only_if_the_file_says_so(kind, exact, tmp_path):
    species = np.array([42, 74, 34, 16])
    files.write_npz(tmp_path / "a.npz", atoms_A=files.POSITIONS, species=species, truth_kind=kind)
    found = load_tilt_series(tmp_path / "a.npz")
    atoms, other = (found.truth, found.reference) if exact else (found.reference, found.truth)
    assert other is None
    assert list(atoms.symbols) == ["Mo", "W", "Se", "S"]
    np.testing.assert_allclose(atoms.positions, files.POSITIONS)


def test_what_is_not_understood_is_kept_as_metadata(tmp_path):
    files.write_hdf5(tmp_path / "a.h5", dose=1.6e5, source="a microscope")
    assert load_tilt_series(tmp_path / "a.h5").metadata == {"dose": 1.6e5, "source": "a microscope"}


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
@given(seed=st.integers(0, 2**16), shape=st.sampled_from([(1, 3, 4), (4, 5, 3), (3, 3, 3)]), size=st.floats(0.01, 5))
def test_saving_and_loading_is_the_identity(suffix, seed, shape, size, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / f"a{suffix}"
    draw = np.random.default_rng(seed)
    images = Images(draw.normal(size=shape), draw.uniform(-np.pi, np.pi, (shape[0], 3)), Grid(shape[1:], size))
    truth = Atoms.from_symbols(draw.normal(size=(3, 3)), ["W", "Mo", "W"], u2=draw.uniform(0, 0.1, 3))
    save_tilt_series(path, images, truth, truth_angles=draw.uniform(-1, 1, (shape[0], 3)), dose=3.5, of="MoS₂")
    found = load_tilt_series(path)
    np.testing.assert_array_equal(found.images.data, images.data)
    np.testing.assert_allclose(found.images.angles, images.angles, rtol=1e-14)
    np.testing.assert_array_equal(found.images.grid.sampling, images.grid.sampling)
    np.testing.assert_array_equal(found.truth.positions, truth.positions)
    np.testing.assert_array_equal(found.truth.u2, truth.u2)
    assert list(found.truth.symbols) == ["W", "Mo", "W"]
    assert np.abs(found.truth_angles).max() <= 1
    assert (found.metadata["dose"], found.metadata["of"]) == (3.5, "MoS₂")


def test_a_saved_file_explains_itself(tmp_path):
    import h5py

    grid = Grid(files.SHAPE, files.SAMPLING)
    save_tilt_series(tmp_path / "a.h5", Images(files.series(), files.ANGLES, grid))
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["format_version"][()] == 1
        assert file["pixel_size_A"].attrs["unit"] == "Å"
        assert "row = y" in file["projections"].attrs["axes"]


def test_the_room_opens_without_the_libraries_of_its_formats():
    program = "import jaxaet.io, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout.split()
    assert {"ase", "h5py", "mrcfile", "pymatreader", "rsciio", "tifffile"}.isdisjoint(loaded)
