"""From frames to atoms on a patch of MoS2 whose answer is known."""

from pathlib import Path

import equinox as eqx
import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxaet
from jaxaet.core import Images, InputError
from jaxaet.forward import contamination, drift_path, raw_frames as recorded
from jaxaet.io import save_arrays, save_atoms
from jaxaet.recipes import raw_frames
from jaxaet.recipes.config import RawFramesConfig
from jaxaet.recipes.config_file import load_config
from jaxaet.recipes.run_folder import RunFolder
from jaxaet.restore import find_drift

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "heterojunction_raw.yaml"
SHAPE, SAMPLING, DOSE = (84, 84), 0.32, 6e5


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """A file of frames, and its truth beside it, as the simulation writes them but by the linear model."""
    folder = tmp_path_factory.mktemp("frames")
    sheet = jaxaet.monolayer("MoS2", (26.0, 26.0))
    middle = np.asarray(sheet.positions) - np.asarray(sheet.positions).mean(axis=0)
    sheet = eqx.tree_at(lambda a: a.positions, sheet, jnp.asarray(middle)).select(np.hypot(*middle[:, :2].T) < 8)
    tilts = jaxaet.Tilts.heterojunction()
    vibration = jaxaet.StageVibration(np.linspace(0, 3, 12), np.r_[np.zeros(6), np.full(6, 0.5)], 0.1)
    scope = jaxaet.Microscope(
        jaxaet.Beam(60e3, 0.038, 0.7, DOSE / 12), jaxaet.AnnularDetector(0.05, 0.21), tilts,
        jaxaet.Grid(SHAPE, SAMPLING), 1.0, 2.0, vibration,
    )  # fmt: skip
    mean = jaxaet.Linear.plan(sheet, scope)(sheet, scope)
    keys = jax.random.split(jax.random.key(0), 3)
    mean = Images(mean.data + contamination(mean.grid, 12, 2.0, 15.0, keys[0]), mean.angles, mean.grid)
    path = drift_path(keys[1], 12, 4, SHAPE[0], 0.3)
    data = recorded(mean, path, keys[2], 0.3).data
    angles = (np.rad2deg(np.asarray(tilts.angles)), "degrees", "image, (Z Y X)")
    save_arrays(
        folder / "raw.h5", {"frames": (data, "electrons", ""), "angles_deg": angles}, {"pixel_size_a": SAMPLING}
    )
    save_arrays(
        folder / "truth.h5",
        {"angles": angles, "drift": (path, "Å", "")}
        | {f"vibration_{name}": (leaf, "", "") for name, leaf in vars(vibration).items() if name != "direction"}
        | {"vibration_direction": (np.rad2deg(np.asarray(vibration.direction)), "degrees", "")},
        {},
    )
    save_atoms(folder / "atoms.extxyz", sheet)
    return folder


def config_of(frames: Path, *overrides: str) -> RawFramesConfig:
    config = load_config(CONFIG, [
        f"data.path={frames / 'raw.h5'}", f"data.truth={frames / 'truth.h5'}", "specimen.species=[Mo, S]",
        f"instrument.dose_e_per_a2={DOSE}", "calibration.angles=fixed", "reconstruction.thickness_a=10",
        "error_bars=false", *overrides,
    ])  # fmt: skip
    assert isinstance(config, RawFramesConfig)
    return config


def solved(path: Path, config: RawFramesConfig) -> dict:
    with RunFolder.create(path, config, quiet=True) as folder:
        return raw_frames.run(config, folder)


@pytest.mark.slow
def test_frames_become_atoms(frames, tmp_path):
    metrics = solved(tmp_path / "run", config_of(frames))
    assert metrics["drift_rms_error_pm"] < 4
    assert metrics["gain"] == pytest.approx(1, abs=0.1)
    assert metrics["atoms_found"]["Mo"] == metrics["atoms_true"]["Mo"]
    assert metrics["atoms_found_percent"] > 95
    assert metrics["rmsd_pm"]["Mo"] < 10
    assert metrics["vibration_rms_error_pm"] < 12
    names = {file.name for file in (tmp_path / "run" / "figures").iterdir()}
    assert {"stage_1_drift.png", "stage_2_denoise.png"} <= names
    with h5py.File(tmp_path / "run" / "results.h5") as file:
        assert file["images"].shape == (12, *SHAPE)


def test_stages_can_be_left_out_and_exchanged(frames, tmp_path):
    config = config_of(frames, "restoration.stages=[background, denoise]", "restoration.readout_counts=0.3")
    with RunFolder.create(tmp_path / "run", config, quiet=True) as folder:
        found = raw_frames.restored(config, folder, raw_frames.load(config))
    assert [name for name, *_ in found.steps] == ["background", "denoise"]
    assert found.readout == pytest.approx(0.6)
    assert float(jnp.abs(found.drift.velocity).max()) == 0
    np.testing.assert_allclose(found.counts.data, np.asarray(raw_frames.load(config).data).sum(axis=1), atol=1e-6)
    assert float(found.images.data.mean()) < float(found.counts.data.mean())


def test_no_sound_frame_is_left_out_where_the_other_three_happen_to_agree(frames):
    """Three of four frames often lie on one line to a hundredth of a pixel; that does not make the fourth wrong."""
    assert bool(find_drift(raw_frames.load(config_of(frames))).kept.all())


def test_drift_anywhere_but_first_is_refused(frames):
    with pytest.raises(InputError, match="allowed drift as the first"):
        config_of(frames, "restoration.stages=[denoise, drift]")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data, angles: (data[:1], angles[:1]), "has 1 tilt; 3D needs at least 3"),
        (lambda data, angles: (data[:, :, :9, :9], angles), "images of 9 × 9 pixels; allowed 16 and more"),
        (lambda data, angles: (data, 0 * angles), "the same angle"),
        (lambda data, angles: (data - data.max() - 1.0, angles), "count no electrons; turn the sign"),
    ],
)
def test_frames_that_show_no_atoms_are_refused_before_any_work(frames, tmp_path, change, words):
    with h5py.File(frames / "raw.h5") as file:
        data, angles = change(file["frames"][()].astype(float), file["angles_deg"][()])
    np.savez(tmp_path / "raw.npz", frames=data, angles_deg=angles, pixel_size_A=0.32)
    with pytest.raises(InputError, match=words):
        raw_frames.plan(config_of(frames, f"data.path={tmp_path / 'raw.npz'}"))


def test_a_file_that_is_no_truth_is_refused_before_any_work(frames, tmp_path):
    config = config_of(frames, f"data.truth={frames / 'raw.h5'}")
    with (
        RunFolder.create(tmp_path / "run", config, quiet=True) as folder,
        pytest.raises(InputError, match="has no angles; give the truth"),
    ):
        raw_frames.run(config, folder)
