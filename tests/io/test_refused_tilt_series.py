"""Every unusable tilt series is refused in one sentence that names the file, the finding and the remedy."""

import re
import sys

import numpy as np
import pytest
import tilt_series_files as files

from jaxaet.core import Grid, Images, InputError
from jaxaet.io import check_counts, load_tilt_series, save_tilt_series


def changed(image, value):
    data = files.series()
    data[image] = value
    return data


def write_two_sizes_tiff(path):
    import tifffile

    with tifffile.TiffWriter(path) as file:
        for shape in ((8, 8), (6, 6)):
            file.write(np.ones(shape, np.float32), photometric="minisblack")


def write_two_sizes_mat(path):
    cells = np.empty(2, dtype=object)
    cells[:] = [np.eye(8), np.eye(6)]
    files.write_mat5(path, projections=cells)


def write_model_only(path):
    np.savez(path, atoms_A=files.POSITIONS, species=[14] * 4)


NPZ = {  # what is wrong: (changes to a complete file, words of the sentence)
    "no pixel size": ({"pixel_size_A": None}, ["no pixel size", "pass pixel_size in Å"]),
    "zero pixel size": ({"pixel_size_A": 0.0}, ["0.0", "positive"]),
    "NaN pixel size": ({"pixel_size_A": np.nan}, ["nan", "positive"]),
    "oblong pixels": ({"pixel_size_A": [0.2, 0.3]}, ["0.2", "0.3", "square"]),
    "no angles": ({"angles_deg": None}, ["no tilt angles", "5 images", "pass angles"]),
    "too few angles": ({"angles_deg": np.rad2deg(files.ANGLES[:4])}, ["5 images", "(4, 3)", "(5, 3)"]),
    "too many tilts": ({"angles_deg": np.arange(6.0)}, ["5 images", "(6,)", "5 tilts"]),
    "two of three angles": ({"angles_deg": np.ones((5, 2))}, ["(5, 2)", "(Z, Y, X)"]),
    "NaN angle": ({"angles_deg": np.full(5, np.nan)}, ["NaN", "angles"]),
    "doubtful unit": ({"angles_deg": None, "angles": files.TILTS[:, 1]}, ["1.13", "angles_deg", "angles_rad"]),
    "one image": ({"projections": files.series()[0]}, ["(40, 56)", "three axes"]),
    "four axes": ({"projections": files.series()[None]}, ["(1, 5, 40, 56)", "three axes"]),
    "no images": ({"projections": files.series()[:0]}, ["(0, 40, 56)", "at least one image"]),
    "no pixels": ({"projections": np.ones((5, 0, 4))}, ["(5, 0, 4)", "at least one image"]),
    "complex": ({"projections": files.series() * 1j}, ["complex128", "real"]),
    "texts": ({"projections": np.full((5, 2, 2), "a")}, ["<U1", "real"]),
    "NaN": ({"projections": changed(3, np.nan)}, ["NaN or infinite", "image 3 "]),
    "infinite": ({"projections": changed([1, 4], np.inf)}, ["NaN or infinite", "images 1, 4 "]),
    "all NaN": ({"projections": np.full((5, 4, 4), np.nan)}, ["images 0, 1, 2 and 2 more"]),
    "beyond": ({"projections": changed((3, 0, 0), 1e20)}, ["or beyond 1e+15", "image 3 "]),
    "spike": ({"projections": changed((1, 5, 5), 1e9)}, ["a pixel of 1e+09 in image 1 ", "beside them"]),
    "constant": ({"projections": changed(2, 7.0)}, ["same value", "image 2 "]),
    "black": ({"projections": np.zeros((5, 4, 4), int)}, ["same value", "images 0, 1, 2 and 2 more"]),
}
FILES = {  # name of the file: (writer, words of the sentence)
    "nothing.npz": (lambda path: np.savez(path), ["holds nothing", "raw frames as frames"]),
    "model.npz": (write_model_only, ["no images", "atoms_A, species", "projections"]),
    "sizes.tif": (write_two_sizes_tiff, ["different sizes", "(8, 8), (6, 6)"]),
    "sizes.mat": (write_two_sizes_mat, ["different sizes", "(8, 8), (6, 6)"]),
    "one.mrc": (lambda path: files.write_mrc(path, files.series()[0]), ["(40, 56)", "three axes"]),
    "unscaled.mrc": (lambda path: files.write_mrc(path, sampling=0.0), ["no pixel size", "pass pixel_size"]),
    "oblong.mrc": (lambda path: files.write_mrc(path, sampling=(0.2, 0.3, 1.0)), ["0.2", "0.3", "square"]),
    "unscaled.tif": (files.write_tiff, ["no pixel size", "pass pixel_size"]),
    "unnamed.emd": (lambda path: files.write_emd(path, "abc"), ["axes named", "rows y"]),
    "unknown.jpg": (lambda path: path.write_bytes(b""), ["'.jpg'", ".npz, .h5", ".dm4"]),
    "unknown": (lambda path: path.write_bytes(b""), ["''", ".npz, .h5"]),
    "folder.npz": (lambda path: path.mkdir(), ["not a file"]),
    "missing.npz": (lambda path: None, ["not a file"]),
}
DAMAGED = {
    "a.npz": files.write_npz,
    "a.h5": files.write_hdf5,
    "v5.mat": files.write_mat5,
    "v73.mat": files.write_mat73,
    "a.mrc": files.write_mrc,
    "a.tif": files.write_tiff_described,
    "a.ndata": files.write_ndata,
    "a.hspy": files.write_hspy,
    "a.emd": files.write_emd,
    "a.dm4": files.write_dm,
}


def assert_refused(path, words, action, *arguments, **options):
    with pytest.raises(InputError) as error:
        action(*arguments, **options)
    sentence = str(error.value)
    for word in (str(path), *words):
        assert word in sentence
    assert re.fullmatch(r"[^\n]*[^.!?\s]\.", sentence)
    assert not re.search(r"[.!?]\s", sentence.replace(str(path), ""))


@pytest.mark.parametrize("wrong", NPZ)
def test_unusable_arrays(wrong, tmp_path):
    changes, words = NPZ[wrong]
    files.write_npz(tmp_path / "a.npz", **changes)
    assert_refused(tmp_path / "a.npz", words, load_tilt_series, tmp_path / "a.npz")


@pytest.mark.parametrize("name", FILES)
def test_unusable_files(name, tmp_path):
    writer, words = FILES[name]
    writer(tmp_path / name)
    assert_refused(tmp_path / name, words, load_tilt_series, tmp_path / name)


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.6, 0.97])
@pytest.mark.parametrize("name", DAMAGED)
def test_truncated_files(name, kept, tmp_path):
    path = tmp_path / name
    DAMAGED[name](path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    given = {"pixel_size": 0.3, "angles": np.zeros(5)}
    assert_refused(path, ["damaged"], load_tilt_series, path, **given)


@pytest.mark.parametrize("name", DAMAGED)
def test_files_of_noise(name, tmp_path):
    DAMAGED[name](tmp_path / name)
    (tmp_path / name).write_bytes(np.random.default_rng(0).bytes(5000))
    assert_refused(tmp_path / name, ["damaged"], load_tilt_series, tmp_path / name)


def test_passed_numbers_are_judged_too(tmp_path):
    files.write_npz(tmp_path / "a.npz")
    path = tmp_path / "a.npz"
    assert_refused(path, ["-0.3", "positive"], load_tilt_series, path, pixel_size=-0.3)
    assert_refused(path, ["5 images", "(7,)"], load_tilt_series, path, angles=np.zeros(7))


def test_a_missing_optional_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rsciio", None)
    monkeypatch.setitem(sys.modules, "rsciio.hspy", None)
    path = tmp_path / "a.hspy"
    path.write_bytes(b"anything")
    assert_refused(path, ["RosettaSciIO", "pip install jaxaet[em]"], load_tilt_series, path)


def test_one_atom_in_a_wide_dark_field_is_no_spike(tmp_path):
    y, x = np.indices((200, 200))
    atom = 1e4 * np.exp(-((x - 90) ** 2) - (y - 80) ** 2) + 1e-3
    files.write_npz(tmp_path / "a.npz", projections=np.stack([atom] * 5))
    assert load_tilt_series(tmp_path / "a.npz").images.data.shape == (5, 200, 200)
    atom[10, 10] = 1e9
    files.write_npz(tmp_path / "b.npz", projections=np.stack([atom] * 5))
    assert_refused(tmp_path / "b.npz", ["a pixel of 1e+09"], load_tilt_series, tmp_path / "b.npz")


def test_negative_values_are_no_counts():
    data = files.series()
    data[1, 2, 3] = -12.5
    grid = Grid(files.SHAPE, files.SAMPLING)
    assert_refused("-12.5", ["image 1 ", "gaussian"], check_counts, Images(data, files.ANGLES, grid))
    check_counts(Images(np.maximum(data, 0), files.ANGLES, grid))


@pytest.mark.parametrize(
    ("name", "metadata", "words"),
    [
        ("there.npz", {}, ["already exists"]),
        ("there.h5", {}, ["already exists"]),
        ("nowhere/a.npz", {}, ["folder"]),
        ("a.mrc", {}, ["'.mrc'", ".npz, .h5"]),
    ],
)
def test_saving_touches_nothing_that_exists(name, metadata, words, tmp_path):
    for there in ("there.npz", "there.h5"):
        (tmp_path / there).write_bytes(b"precious")
    images = Images(files.series(), files.ANGLES, Grid(files.SHAPE, files.SAMPLING))
    assert_refused(tmp_path / name, words, save_tilt_series, tmp_path / name, images, **metadata)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {
        "there.npz": b"precious",
        "there.h5": b"precious",
    }


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"axes": "mine"}, ["'axes'", "taken"]),
        ({"file": 1}, ["'file'", "taken"]),
        ({"made": object()}, ["'made'", "numbers"]),
    ],
)
def test_unfit_metadata_is_not_saved(metadata, words, tmp_path):
    images = Images(files.series(), files.ANGLES, Grid(files.SHAPE, files.SAMPLING))
    assert_refused("metadata", words, save_tilt_series, tmp_path / "a.npz", images, **metadata)
    assert not list(tmp_path.iterdir())


def test_images_of_different_sizes_in_an_archive(tmp_path):
    path = tmp_path / "a.npz"
    images = np.empty(3, object)
    images[:] = [np.ones((4, 5)), np.ones((4, 5)), np.ones((4, 6))]
    np.savez(path, projections=images, angles_deg=np.arange(3.0), pixel_size_A=0.3)
    assert_refused(path, ["projections", "different sizes"], load_tilt_series, path)
