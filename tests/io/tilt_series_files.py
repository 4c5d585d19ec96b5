"""One tilt series of four atoms, written by other programs in every format that the readers know."""

import json
import zipfile

import numpy as np
import pytest

SAMPLING = 0.25  # Å
SHAPE = (40, 56)
ANGLES = np.deg2rad([[0.0, -60.0, 0.0], [5.0, -20.0, 3.0], [0.0, 10.0, -7.0], [-4.0, 30.0, 0.0], [2.0, 65.0, 1.0]])
TILTS = ANGLES * [0, 1, 0]
POSITIONS = np.array([[3.0, 1.0, 2.0], [-2.0, 2.5, 1.0], [0.5, -3.0, -2.0], [-4.0, -1.0, 3.5]])
WEIGHTS = np.array([4.0, 3.0, 2.0, 1.0])


def rotation(angles):
    """R_z R_y R_x, written out here once more so that the package is not compared with itself."""
    (cz, cy, cx), (sz, sy, sx) = np.cos(angles), np.sin(angles)
    z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    return z @ y @ x


def spots(seen, weights, shape, sampling, width):
    """Images (k, ny, nx) of Gaussian spots of the given width in Å at the points `seen`, (k, n, 2) in Å."""
    y, x = ((np.arange(n) - n // 2) * sampling for n in shape)
    gy, gx = (np.exp(-((axis[:, None] - seen[:, None, :, i]) ** 2) / (2 * width**2)) for axis, i in ((y, 1), (x, 0)))
    return np.einsum("kyn,kxn->kyx", gy * weights, gx, optimize=True)


def series(angles=ANGLES):
    seen = np.stack([POSITIONS @ rotation(view) for view in angles])
    return spots(seen, WEIGHTS, SHAPE, SAMPLING, 0.4)


def arrays(**changes):
    """What a complete .npz, .h5 or .mat file holds; a change to None takes an array out."""
    complete = {"projections": series(), "angles_deg": np.rad2deg(ANGLES), "pixel_size_A": SAMPLING}
    return {name: value for name, value in {**complete, **changes}.items() if value is not None}


def write_npz(path, **changes):
    np.savez(path, **arrays(**changes))


def write_hdf5(path, **changes):
    import h5py

    with h5py.File(path, "w") as file:
        for name, value in arrays(**changes).items():
            file[name] = value


def write_hdf5_attributes(path):
    import h5py

    with h5py.File(path, "w") as file:
        file["data"] = series().astype(np.float32)
        file["angles_rad"] = ANGLES
        file.attrs["pixel_size_nm"] = SAMPLING / 10


def write_mat5(path, **changes):
    from scipy.io import savemat

    savemat(path, arrays(**changes))


def write_mat73(path):
    import h5py

    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in arrays().items():
            item = file.create_dataset(name, data=np.transpose(np.atleast_2d(value)))
            item.attrs["MATLAB_class"] = np.bytes_("double")
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def write_mrc(path, data=None, sampling=SAMPLING):
    import mrcfile

    with mrcfile.new(path) as file:
        file.set_data((series() if data is None else data).astype(np.float32))
        file.voxel_size = sampling


def write_tiff(path, data=None, **description):
    import tifffile

    data = (series() if data is None else data).astype(np.float32)
    tifffile.imwrite(path, data, metadata=description, photometric="minisblack")


def write_tiff_described(path):
    write_tiff(path, pixel_size_A=SAMPLING, angles_deg=np.rad2deg(ANGLES).tolist())


def write_tiff_imagej(path):
    import tifffile

    per_nm = 10 / SAMPLING
    data = series().astype(np.float32)
    tifffile.imwrite(path, data, imagej=True, resolution=(per_nm, per_nm), metadata={"unit": "nm", "axes": "ZYX"})


def write_ndata(path, calibrations="dimensional_calibrations"):
    scale = {"offset": -3.0, "scale": SAMPLING / 10, "units": "nm"}
    metadata = {calibrations: [{"offset": -60.0, "scale": 30.0, "units": "deg"}, scale, scale]}
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("data.npy", "w") as file:
            np.save(file, series(np.deg2rad([[0, -60, 0], [0, -30, 0], [0, 0, 0]])))
        archive.writestr("metadata.json", json.dumps(metadata))


def write_hspy(path):
    hspy = pytest.importorskip("rsciio.hspy", reason="RosettaSciIO is not installed")
    tilt = {"name": "tilt", "units": "deg", "axis": np.rad2deg(TILTS[:, 1]), "size": len(TILTS), "_type": "DataAxis"}
    axes = [tilt | {"navigate": True}] + [
        {"name": name, "units": "nm", "scale": SAMPLING / 10, "offset": 0.0, "size": size, "navigate": False}
        | {"_type": "UniformDataAxis"}
        for name, size in zip("yx", SHAPE, strict=True)
    ]
    empty = ("original_metadata", "learning_results", "models", "tmp_parameters")
    texts = {"package": "", "package_version": "", "package_info": {}}
    signal = {"data": series(TILTS), "axes": axes, "metadata": {"General": {"title": ""}, "Signal": {}}, **texts}
    hspy.file_writer(str(path), signal | {name: {} for name in empty} | {"attributes": {"_lazy": False}})


def write_emd(path, names=("tilt", "y", "x")):
    pytest.importorskip("rsciio.emd", reason="RosettaSciIO is not installed")
    import h5py

    axes = [np.array([-60.0, -30.0, 0.0]), *(np.arange(n) * SAMPLING / 10 for n in SHAPE)]
    with h5py.File(path, "w") as file:
        file.attrs["version_major"], file.attrs["version_minor"] = 0, 2
        group = file.create_group("data/series")
        group.attrs["emd_group_type"] = 1
        group["data"] = series(np.deg2rad([[0, -60, 0], [0, -30, 0], [0, 0, 0]]))
        for number, (name, unit, axis) in enumerate(zip(names, ("[deg]", "[n_m]", "[n_m]"), axes, strict=True), 1):
            item = group.create_dataset(f"dim{number}", data=axis)
            item.attrs["name"], item.attrs["units"] = name, unit


def write_dm(path):
    pytest.importorskip("rsciio.digitalmicrograph", reason="RosettaSciIO is not installed")
    utilities = pytest.importorskip("nionswift_plugin.DM_IO.dm3_image_utils", reason="no program here writes .dm files")
    from nion.data import Calibration, DataAndMetadata

    scale = Calibration.Calibration(0.0, SAMPLING / 10, "nm")
    item = DataAndMetadata.new_data_and_metadata(
        series().astype(np.float32),
        dimensional_calibrations=[Calibration.Calibration(), scale, scale],
        data_descriptor=DataAndMetadata.DataDescriptor(True, 0, 2),
    )
    with open(path, "wb") as file:
        utilities.save_image(item, file, int(path.suffix[-1]))
