"""One image from every format, with the pixel size its file says; what is no grey image is refused in a sentence."""

import json
import zipfile

import numpy as np
import pytest
import tilt_series_files as files

from jaxaet.core import InputError
from jaxaet.io import load_image

IMAGE = files.series()[0]
SAMPLING = files.SAMPLING


def write_ndata(path):
    scale = {"offset": 0.0, "scale": SAMPLING / 10, "units": "nm"}
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("data.npy", "w") as file:
            np.save(file, IMAGE)
        archive.writestr("metadata.json", json.dumps({"dimensional_calibrations": [scale, scale]}))


def write_hspy(path):
    hspy = pytest.importorskip("rsciio.hspy", reason="RosettaSciIO is not installed")
    axes = [
        {"name": name, "units": "nm", "scale": SAMPLING / 10, "offset": 0.0, "size": size, "navigate": False}
        | {"_type": "UniformDataAxis"}
        for name, size in zip("yx", files.SHAPE, strict=True)
    ]
    empty = ("original_metadata", "learning_results", "models", "tmp_parameters")
    texts = {"package": "", "package_version": "", "package_info": {}}
    signal = {"data": IMAGE, "axes": axes, "metadata": {"General": {"title": "HAADF"}, "Signal": {}}, **texts}
    hspy.file_writer(str(path), signal | {name: {} for name in empty} | {"attributes": {"_lazy": False}})


def write_hdf5(path):
    import h5py

    with h5py.File(path, "w") as file:
        file["scan/haadf"] = IMAGE
        file.attrs["pixel_size_nm"] = SAMPLING / 10


def write_dm(path):
    utilities = pytest.importorskip("nionswift_plugin.DM_IO.dm3_image_utils", reason="no program here writes .dm files")
    from nion.data import Calibration, DataAndMetadata

    scale = Calibration.Calibration(0.0, SAMPLING / 10, "nm")
    item = DataAndMetadata.new_data_and_metadata(IMAGE.astype(np.float32), dimensional_calibrations=[scale, scale])
    with open(path, "wb") as file:
        utilities.save_image(item, file, int(path.suffix[-1]))


def write_npy(path):
    np.save(path, IMAGE)


def write_png(path):
    from skimage.io import imsave

    imsave(path, np.rint(IMAGE).astype(np.uint8), check_contrast=False)


WITH_PIXEL_SIZE = {
    "a.npz": lambda path: np.savez(path, anything=IMAGE, pixel_size_A=SAMPLING),
    "metres.npz": lambda path: np.savez(path, im_array=IMAGE, pixel_size=str(SAMPLING * 1e-10)),
    "a.h5": write_hdf5,
    "v5.mat": lambda path: files.write_mat5(path, projections=None, angles_deg=None, image=IMAGE),
    "a.mrc": lambda path: files.write_mrc(path, IMAGE),
    "a.tif": lambda path: files.write_tiff(path, IMAGE, pixel_size_A=SAMPLING),
    "a.ndata": write_ndata,
    "a.hspy": write_hspy,
    "a.dm4": write_dm,
}
WITHOUT = {
    "a.npy": write_npy,
    "a.png": write_png,
    "a.tif": lambda path: files.write_tiff(path, IMAGE),
    "no_unit.npz": lambda path: np.savez(path, image=IMAGE, pixel_size=SAMPLING),
}


@pytest.mark.parametrize("name", WITH_PIXEL_SIZE)
def test_a_file_gives_its_image_and_pixel_size(name, tmp_path):
    WITH_PIXEL_SIZE[name](tmp_path / name)
    image, pixel = load_image(tmp_path / name)
    np.testing.assert_allclose(image, IMAGE, rtol=1e-6, atol=1e-6)
    assert pixel == pytest.approx(SAMPLING, rel=1e-6)
    assert load_image(tmp_path / name, pixel_size=0.5)[1] == 0.5


@pytest.mark.parametrize("name", WITHOUT)
def test_a_file_without_pixel_size_needs_one(name, tmp_path):
    WITHOUT[name](tmp_path / name)
    with pytest.raises(InputError, match=r"has no pixel size; pass pixel_size in Å"):
        load_image(tmp_path / name)
    image, pixel = load_image(tmp_path / name, pixel_size=SAMPLING)
    np.testing.assert_allclose(image, np.rint(IMAGE) if name.endswith("png") else IMAGE, rtol=1e-6, atol=1e-6)
    assert pixel == SAMPLING


def test_of_several_images_one_is_chosen(tmp_path):
    np.savez(tmp_path / "a.npz", bright=IMAGE, dark=2 * IMAGE, pixel_size_A=SAMPLING)
    np.testing.assert_array_equal(load_image(tmp_path / "a.npz", key="dark")[0], 2 * IMAGE)
    with pytest.raises(InputError, match="holds several images, bright, dark; choose one"):
        load_image(tmp_path / "a.npz")
    with pytest.raises(InputError, match="holds no grey but bright, dark; give one of these"):
        load_image(tmp_path / "a.npz", key="grey")
    np.savez(tmp_path / "b.npz", image=IMAGE, mask=IMAGE > 1, dark=0 * IMAGE, pixel_size_A=SAMPLING)
    np.testing.assert_array_equal(load_image(tmp_path / "b.npz")[0], IMAGE)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"image": np.stack([IMAGE] * 3, axis=-1)}, r"holds a colour image \(shapes found: \(40, 56, 3\)\)"),
        ({"image": files.series()}, r"holds no single image \(shapes found: \(5, 40, 56\)\)"),
        ({"pixel_size_A": SAMPLING}, r"holds no single image \(shapes found: none\)"),
        ({"image": IMAGE, "pixel_size_A": -1.0}, "has the pixel size"),
        ({"image": IMAGE, "pixel_size_A": [0.1, 0.2]}, "square pixels"),
    ],
)
def test_what_is_no_grey_image_is_refused(arrays, sentence, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=sentence):
        load_image(tmp_path / "a.npz")


@pytest.mark.parametrize("kind", [complex, bool])
def test_values_that_are_no_real_numbers_are_refused(kind, tmp_path):
    np.save(tmp_path / "a.npy", IMAGE.astype(kind))
    with pytest.raises(InputError, match="holds values of type"):
        load_image(tmp_path / "a.npy", pixel_size=0.1)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("a.gif", "has the suffix"), ("none.tif", "is not a file"), ("bad.npz", "could not be read as .npz")],
)
def test_what_is_no_file_of_an_image_is_refused(name, sentence, tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    (tmp_path / "a.gif").write_bytes(b"nothing")
    with pytest.raises(InputError, match=sentence):
        load_image(tmp_path / name)
