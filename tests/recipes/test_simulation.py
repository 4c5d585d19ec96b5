"""The simulated experiment: what an experimenter gets, the truth apart from it, the cache, going on after a kill."""

import json
from pathlib import Path

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxaet.core import Grid, Images, InputError, rotation_matrix
from jaxaet.forward import displaced
from jaxaet.instrument import Tilts
from jaxaet.io import load_atoms, load_frames, load_tilt_series
from jaxaet.recipes import simulation
from jaxaet.recipes.cache import fingerprint, load_array, store_array, user_cache
from jaxaet.recipes.config import SimulationConfig
from jaxaet.recipes.config_file import load_config
from jaxaet.recipes.run_folder import RunFolder
from jaxaet.specimen import paper_heterojunction

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "heterojunction_multislice.yaml"
TINY = ["instrument.image_pixels=[16, 18]", "multislice.snapshots=1", "multislice.stride=2.5", "multislice.spacing_a=5"]


def tiny(*overrides: str) -> SimulationConfig:
    config = load_config(CONFIG, [*TINY, *overrides])
    assert isinstance(config, SimulationConfig)
    return config


def simulate(path: Path, config: SimulationConfig, resume: bool = False) -> dict:
    with RunFolder.create(path, config, resume=resume, quiet=True) as folder:
        metrics = simulation.run(config, folder)
        folder.finish(metrics)
    return metrics


def arrays(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        return {name: np.asarray(item) for name, item in file.items()}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache folder of these tests' own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def first(cache, tmp_path_factory) -> Path:
    """The folder of one whole run."""
    path = tmp_path_factory.mktemp("simulation") / "first"
    simulate(path, tiny())
    return path


@pytest.fixture
def no_model(monkeypatch):
    """The multislice model must not run."""

    def fail(*arguments):
        raise AssertionError("an image that is known was computed again")

    monkeypatch.setattr(simulation, "mean_image", fail)


def test_raw_holds_what_an_experimenter_has_and_nothing_of_the_truth(first):
    raw = arrays(first / "raw.h5")
    with h5py.File(first / "raw.h5") as file:
        assert set(file.attrs) == {"format_version", "pixel_size_a", "dose_e_per_a2"}
        assert (file.attrs["pixel_size_a"], file.attrs["dose_e_per_a2"]) == (0.32, 3.8e5)
    assert raw.keys() == {"frames", "angles_deg"}
    assert raw["frames"].shape == (12, 10, 16, 18)
    assert raw["frames"].dtype == np.float32
    nominal, calibrated = (np.rad2deg(tilts().angles) for tilts in (Tilts.heterojunction_nominal, Tilts.heterojunction))
    np.testing.assert_allclose(raw["angles_deg"], nominal)
    assert np.abs(raw["angles_deg"] - calibrated).max() > 20


def test_raw_is_read_back_as_frames(first):
    frames = load_frames(first / "raw.h5")
    np.testing.assert_array_equal(frames.data, arrays(first / "raw.h5")["frames"])
    np.testing.assert_allclose(frames.angles, Tilts.heterojunction_nominal().angles, atol=1e-6)
    assert float(frames.grid.sampling) == pytest.approx(0.32)
    with pytest.raises(InputError, match="by load_frames"):
        load_tilt_series(first / "raw.h5")


def test_the_truth_is_apart_and_explains_the_frames(first):
    """Each frame is its share of the image at the true drift: what is left is white and of the right size."""
    raw, truth = arrays(first / "raw.h5")["frames"], arrays(first / "truth" / "truth.h5")
    assert len(load_atoms(first / "truth" / "atoms.extxyz")) == 1886
    np.testing.assert_allclose(truth["angles"], np.rad2deg(Tilts.heterojunction().angles))
    images = Images(truth["images"] + truth["background"], np.zeros((12, 3)), Grid((16, 18), 0.32))
    mean = np.asarray(displaced(images, jnp.asarray(truth["drift"])))
    scaled = (raw - mean) / np.sqrt(np.maximum(mean, 0) + 0.3**2)
    assert abs(scaled.mean()) < 5 / np.sqrt(scaled.size)
    assert scaled.var() == pytest.approx(1, abs=0.05)
    assert abs((scaled[..., 1:] * scaled[..., :-1]).mean()) < 5 / np.sqrt(scaled.size)
    still = (raw - images.data[:, None] / 10) / np.sqrt(images.data[:, None] / 10 + 0.3**2)
    assert still.var() > 1.1


def test_drift_and_background_are_as_configured(first):
    truth = arrays(first / "truth" / "truth.h5")
    middle = truth["drift"].mean(axis=2)
    assert np.linalg.norm(np.diff(middle, axis=1), axis=2).mean() == pytest.approx(0.2, rel=0.05)
    assert truth["background"].min() > 2
    assert 3 < truth["background"].mean() < 8
    assert truth["images"].mean() > 5


def test_figures_report_and_metrics_are_written(first):
    metrics = json.loads((first / "metrics.json").read_text())
    raw = arrays(first / "raw.h5")["frames"]
    assert metrics["counts_of_a_frame"]["mean"] == pytest.approx(raw.sum(axis=(2, 3)).mean(), rel=1e-4)
    assert metrics["dose_of_a_frame_e_per_a2"] == pytest.approx(3.8e5 / 120)
    assert metrics["drift_from_first_to_last_frame_a"] == pytest.approx(1.8, rel=0.05)
    page = (first / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png") == 2 == len(list((first / "figures").glob("*.png")))


def test_another_noise_takes_the_images_from_the_cache(first, no_model, tmp_path):
    other = tiny("frames.readout_counts=0", "frames.frames=3", "instrument.dose_e_per_a2=7.6e5", "background=null")
    metrics = simulate(tmp_path / "other", other)
    assert metrics["images_from_cache"] == 12
    raw = arrays(tmp_path / "other" / "raw.h5")["frames"]
    assert raw.dtype == np.uint16
    assert raw.shape == (12, 3, 16, 18)
    images, doubled = (arrays(path / "truth" / "truth.h5")["images"] for path in (first, tmp_path / "other"))
    np.testing.assert_allclose(doubled, 2 * images, rtol=1e-6)


def test_other_physics_is_another_cache(cache):
    known = simulation.image_cache(tiny())
    for change in ("seed=1", "vibration.amplitude_a=0.4", "multislice.snapshots=2", "instrument.energy_kev=80"):
        assert simulation.image_cache(tiny(change)) != known
    for change in ("frames.frames=9", "background.correlation_a=9", "instrument.background_counts=1"):
        assert simulation.image_cache(tiny(change)) == known
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 1, "b": 3})


def test_a_killed_run_goes_on_where_it_was(first, tmp_path, monkeypatch):
    """The third image breaks off; resumed, the first two are not made again and all ends as in an undisturbed run."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    images = arrays(first / "truth" / "truth.h5")["images"] / (3.8e5 / 12)
    made = []

    def image(model, atoms, seen):
        index = int(np.argmin(np.abs(Tilts.heterojunction().angles - seen.tilts.angles).sum(axis=1)))
        made.append(index)
        if made == [0, 1, 2]:
            raise KeyboardInterrupt
        return images[index]

    monkeypatch.setattr(simulation, "mean_image", image)
    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "killed", tiny())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    simulate(tmp_path / "killed", tiny(), resume=True)
    assert made == [0, 1, 2, *range(2, 12)]
    again, undisturbed = (arrays(path / "raw.h5")["frames"] for path in (tmp_path / "killed", first))
    np.testing.assert_allclose(again, undisturbed, atol=1e-4)


def test_the_sheet_vibrates_along_its_normal():
    """An atom that moves along z by A moves in image k by A times the projected normal."""
    config = tiny("vibration.amplitude_a=0.5", "vibration.width_a=0.2")
    vibration, angles = simulation.sheet_vibration(config), Tilts.heterojunction().angles
    seen = np.einsum("kab,a->kb", np.asarray(rotation_matrix(angles)), [0, 0, 0.5])[:, :2]
    line = np.stack([np.cos(vibration.direction), np.sin(vibration.direction)], axis=1)
    np.testing.assert_allclose(np.asarray(vibration.amplitude)[:, None] * line, seen, atol=1e-12)
    assert np.ptp(vibration.amplitude) > 0.2
    np.testing.assert_allclose(vibration.width, np.full(12, 0.2))


def test_snapshots_have_the_thermal_motion_of_the_atoms():
    config = tiny("multislice.snapshots=4")
    seen = simulation.microscope(config)
    atoms = paper_heterojunction(jax.random.key(0))
    models = simulation.multislice(config, atoms, seen, jax.random.key(1))
    moves = np.stack([model.thermal.directions[0] for model in models])
    np.testing.assert_allclose(moves.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(
        np.einsum("cni,cnj->nij", moves, moves) / 4, np.broadcast_to(np.eye(3), (1886, 3, 3)), atol=1e-12
    )
    assert len(simulation.multislice(tiny("multislice.snapshots=0"), atoms, seen, jax.random.key(1))) == 1


def test_the_plan_counts_what_the_cache_holds(first):
    assert simulation.plan(tiny())["images_in_cache"] == 12
    fresh, more = (simulation.plan(tiny("seed=5", f"multislice.snapshots={n}")) for n in (1, 4))
    assert fresh["images_in_cache"] == 0
    assert more["estimated_time_s"] > fresh["estimated_time_s"]


def test_the_cache_gives_whole_arrays_or_none(cache, tmp_path):
    assert user_cache() == cache / "jaxaet"
    path = tmp_path / "a" / "b.npy"
    assert load_array(path) is None
    store_array(path, np.arange(5.0))
    np.testing.assert_array_equal(load_array(path), np.arange(5.0))
    assert [file.name for file in path.parent.iterdir()] == ["b.npy"]
    path.write_bytes(path.read_bytes()[:-9])
    assert load_array(path) is None
    store_array(path / "below.npy", np.arange(5.0))
    assert path.is_file()
