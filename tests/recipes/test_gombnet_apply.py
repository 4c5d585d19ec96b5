"""The recipe that finds the atoms of each layer in one image."""

import json

import jax
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from jaxaet.core import InputError
from jaxaet.gombnet import Variation, apparent_lattice, draw, graphene_sheet, load_weights, save_weights, tungsten_sheet
from jaxaet.io import load_arrays, load_atoms
from jaxaet.recipes import gombnet_apply
from jaxaet.recipes.config import GombNetApplyConfig
from jaxaet.recipes.run_folder import RunFolder
from jaxaet.recipes.suspicions import of_layers
from jaxaet.structure import twist_from_atoms

PIXEL = 0.106
FAST = {"copies": 1, "tile": 128}
UNFITTED = {"max_steps": 0}


@pytest.fixture(scope="module")
def image():
    variation = Variation(pixel=(PIXEL, PIXEL), counts=(2.5, 2.5), hole=0.0)
    return np.asarray(jax.jit(lambda key: draw(key, graphene_sheet(), 2, variation, 256))(jax.random.key(9)).image)


def run(path, config, resume=False):
    with RunFolder.create(path, config, resume=resume, quiet=True) as folder:
        folder.finish(gombnet_apply.run(config, folder))
    return json.loads((path / "metrics.json").read_text())


def test_without_an_image_one_is_drawn_and_scored(tmp_path):
    config = GombNetApplyConfig(seed=1, drawn={"pixels": 128}, network=FAST, fit=UNFITTED)
    metrics = run(tmp_path / "a", config)
    found = metrics["against_the_truth"]["C"]
    assert min(found["precision"], found["recall"]) > 0.95
    assert found["rms_pm"] < 12
    table = np.genfromtxt(tmp_path / "a" / "columns.csv", delimiter=",", names=True)
    for number in (1, 2):
        atoms = load_atoms(tmp_path / "a" / f"atoms_layer_{number}.extxyz")
        rows = table[table["layer"] == number]
        assert len(atoms) == len(rows) == metrics[f"layer_{number}"]["columns"]
        np.testing.assert_allclose(rows["x_a"], np.asarray(atoms.positions)[:, 0], atol=1e-4)
        np.testing.assert_allclose(rows["row_pixel"], np.asarray(atoms.positions)[:, 1] / PIXEL + 64, atol=1e-3)
        assert metrics[f"layer_{number}"]["bond_mean_a"] == pytest.approx(1.42, rel=0.05)
        assert 0.02 < metrics[f"layer_{number}"]["bond_fwhm_a"] < 0.5
        assert metrics[f"layer_{number}"]["columns_per_nm2"] == pytest.approx(38.2, rel=0.12)  # 2 in a cell of 5.24 Å²
    arrays = load_arrays(tmp_path / "a" / "results.h5")
    assert arrays["probabilities"].shape == (2, 128, 128, 1)
    assert (tmp_path / "a" / "report.html").stat().st_size > 1e5
    assert run(tmp_path / "a", config, resume=True) == metrics
    assert gombnet_apply.plan(config)["tiles"].startswith("1,")


def test_the_twist_of_a_drawn_image_is_found(tmp_path):
    config = GombNetApplyConfig(seed=1, drawn={"pixels": 192, "electrons": 1000}, network=FAST, fit=UNFITTED)
    layer = run(tmp_path / "a", config)["layer_2"]
    truth = np.load(next((tmp_path / "a" / "checkpoints").glob("*_drawing.npz")))
    true = twist_from_atoms(
        [(p[m[:, 0] > 0] - 96) * PIXEL for p, m in zip(truth["positions"], truth["members"], strict=True)], 2.46
    )
    assert abs(abs(layer["twist_deg"]) - abs(np.rad2deg(true.twists[1]))) < 3 * layer["twist_error_deg"] < 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda image: np.where(np.arange(image.size).reshape(image.shape) == 9999, 500.0, image), "row 39, column 15"),
        (lambda image: -image, "or the contrast is wrong"),
    ],
)
def test_images_that_deceive_the_network_are_warned_of(image, tmp_path, change, sentence):
    np.savez(tmp_path / "a.npz", image=change(image), pixel_size_A=PIXEL)
    config = GombNetApplyConfig(data={"path": tmp_path / "a.npz"}, network=FAST, fit=UNFITTED)
    assert sentence in " ".join(run(tmp_path / "run", config)["warnings"])


def test_a_pixel_size_a_third_too_large_is_warned_of(image, tmp_path):
    np.savez(tmp_path / "a.npz", image=image, pixel_size_A=1.3 * PIXEL)
    config = GombNetApplyConfig(data={"path": tmp_path / "a.npz"}, network=FAST, fit=UNFITTED)
    (warning, *_) = run(tmp_path / "run", config)["warnings"]
    assert "may be 0.10" in warning


@pytest.mark.slow
def test_the_fit_brings_the_columns_closer_to_the_truth(tmp_path):
    metrics = run(tmp_path / "a", GombNetApplyConfig(seed=1, drawn={"pixels": 128, "electrons": 1000}, network=FAST))
    seen, fitted = (metrics[name]["C"] for name in ("against_the_truth", "against_the_truth_after_the_fit"))
    assert fitted["rms_pm"] < 0.9 * seen["rms_pm"]
    assert metrics["fit"]["residual_over_noise"] < 2
    table = np.genfromtxt(tmp_path / "a" / "columns.csv", delimiter=",", names=True)
    inside = (np.abs(np.stack([table["x_a"], table["y_a"]])) < 64 * PIXEL - 1.6).all(axis=0)
    # Near the edges nothing is fitted, and the errors are the network's.
    assert np.median(table["error_x_a"][inside]) < 0.9 * np.median(table["error_x_a"][~inside])
    assert 0.5 < fitted["rms_pm"] / fitted["rms_by_error_bars_pm"] < 2
    arrays = load_arrays(tmp_path / "a" / "results.h5")
    residual = arrays["model"] - arrays["image"]
    assert np.nanstd(residual) < 0.5 * np.nanstd(arrays["image"])
    assert (tmp_path / "a" / "figures" / "model.png").is_file()


def test_a_fit_that_leaves_too_much_is_not_believed(tmp_path, monkeypatch):
    def poor(image, pixel, layers, *_):
        count = sum(len(layer.positions) for layer in layers)
        return {
            "positions": np.zeros((count, 2)),
            "covariance": np.zeros((count, 2, 2)),
            "model": image,
            "left": 3.0,
            "allowed": 0.01,
        }

    monkeypatch.setattr(gombnet_apply, "fit_columns", poor)
    metrics = run(tmp_path / "a", GombNetApplyConfig(seed=1, drawn={"pixels": 128}, network=FAST))
    assert "3 times the noise" in metrics["warnings"][0]
    assert "fit" not in metrics
    assert metrics["layer_1"]["bond_mean_a"] > 1


def test_noise_that_is_taken_for_atoms_is_warned_of(tmp_path):
    noise = gaussian_filter(np.random.default_rng(1).normal(size=(128, 128)), 4)
    np.savez(tmp_path / "a.npz", image=noise, pixel_size_A=PIXEL)
    config = GombNetApplyConfig(data={"path": tmp_path / "a.npz"}, network=FAST, fit=UNFITTED)
    warnings = " ".join(run(tmp_path / "run", config)["warnings"])
    assert "The bonds of layer 1 scatter by" in warnings
    assert "The bonds of layer 2 scatter by" in warnings


@pytest.mark.slow
def test_an_image_with_much_noise_is_not_fitted_further(tmp_path):
    config = GombNetApplyConfig(seed=1, drawn={"pixels": 128, "electrons": 3}, network=FAST)
    metrics = run(tmp_path / "a", config)
    assert "lets a column be fixed" in " ".join(metrics["warnings"])
    seen, fitted = (metrics[name]["C"] for name in ("against_the_truth", "against_the_truth_after_the_fit"))
    assert fitted == seen


def test_a_pixel_size_that_is_far_off_is_warned_of(image, tmp_path):
    np.savez(tmp_path / "a.npz", image=image, pixel_size_A=0.03)
    config = GombNetApplyConfig(data={"path": tmp_path / "a.npz"}, network=FAST, fit=UNFITTED)
    (warning, *_) = run(tmp_path / "run", config)["warnings"]
    assert "0.4" in warning
    assert "1.42 Å in the sheet" in warning
    assert warning in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize("factor", [0.1, 1.0, 10.0])
def test_the_lattice_is_found_at_any_pixel_size(image, factor):
    assert apparent_lattice(image, factor * PIXEL) == pytest.approx(factor * 2.46, rel=0.1)
    warnings = list(of_layers(image, factor * PIXEL, graphene_sheet()))
    assert len(warnings) == (factor != 1.0)
    assert all(f"{PIXEL:.1g}" in text.split("may be")[1] for text in warnings)


def test_noise_shows_no_lattice():
    noise = np.random.default_rng(0).normal(size=(128, 160))
    assert apparent_lattice(noise, PIXEL) is None
    assert not list(of_layers(noise, PIXEL, tungsten_sheet()))


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"image": np.ones((128, 128))}, "it shows no atoms"),
        ({"image": np.where(np.eye(128) > 0, np.nan, 1.0)}, "128 pixels of the image are not finite"),
        ({"image": np.ones((128, 128, 3))}, "colour image"),
        ({"image": np.eye(40)}, "at least 64 × 64"),
        ({"image": np.eye(128), "pixel_size_A": 1.06}, "0.005 to 1 Å"),
        ({"image": np.eye(128), "pixel_size_A": None}, "has no pixel size; pass"),
        ({"a": np.eye(128), "b": np.eye(128)}, r"several images, a, b; choose one by its key \(data.key\)"),
    ],
)
def test_bad_images_end_in_a_sentence_and_leave_nothing(arrays, sentence, tmp_path):
    stored = {name: value for name, value in ({"pixel_size_A": PIXEL} | arrays).items() if value is not None}
    np.savez(tmp_path / "a.npz", **stored)
    with pytest.raises(InputError, match=sentence):
        run(tmp_path / "run", GombNetApplyConfig(data={"path": tmp_path / "a.npz"}, network=FAST, fit=UNFITTED))
    assert not (tmp_path / "run").exists()


def test_weights_of_an_unknown_sheet_are_refused(tmp_path):
    network, about = load_weights("graphene")
    save_weights(tmp_path / "mine.npz", network, about | {"classes": ["B"]})
    config = GombNetApplyConfig(network={"weights": str(tmp_path / "mine.npz")})
    with pytest.raises(InputError, match="for the classes B; allowed C or S, Se, W; take other weights"):
        run(tmp_path / "run", config)
    with pytest.raises(ValueError, match="found no file at"):
        GombNetApplyConfig(network={"weights": str(tmp_path / "absent.npz")})


def test_weights_that_were_trained_for_different_things_are_not_averaged():
    config = GombNetApplyConfig(network={"weights": ["graphene", "ws2"]})
    with pytest.raises(InputError, match=r"trained for different classes .* and .*; take such as"):
        gombnet_apply.plan(config)


def test_several_weights_are_averaged(tmp_path):
    network, about = load_weights("graphene")
    save_weights(tmp_path / "mine.npz", network, about | {"error_factor": 2.0})
    drawn = {"seed": 1, "drawn": {"pixels": 96}, "fit": UNFITTED}
    one, two = (
        run(tmp_path / str(len(names)), GombNetApplyConfig(network=FAST | {"weights": names}, **drawn))
        for names in (["graphene"], ["graphene", str(tmp_path / "mine.npz")])
    )
    assert one["layer_1"] == two["layer_1"]
    errors = [metrics["against_the_truth"]["C"]["rms_by_error_bars_pm"] for metrics in (one, two)]
    assert errors[1] / errors[0] == pytest.approx((1.48 + 2.0) / 2 / 1.48, rel=1e-3)
