"""Each thing that is probably wrong is named in a sentence, and a sound series in none."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxaet
from jaxaet.core import Grid, Images
from jaxaet.instrument import AnnularDetector, Beam, Microscope, Tilts
from jaxaet.inverse import Model
from jaxaet.recipes.suspicions import of_drift, of_images, of_volume
from jaxaet.restore import Drift

ANGLES = np.deg2rad([[0, a, 0] for a in (-20.0, 0.0, 20.0)])


def series(angles=ANGLES) -> np.ndarray:
    atoms = jaxaet.monolayer("MoS2", (15.0, 15.0))
    scope = Microscope(
        Beam(60e3, 0.038, 0.7, 3e4), AnnularDetector(0.05, 0.21), Tilts(angles), Grid((64, 64), 0.32), 1.0, 2.0
    )
    mean = jaxaet.Linear()(atoms, scope).data
    return np.random.default_rng(0).poisson(np.asarray(mean)).astype(float)


def found(data: np.ndarray, angles=ANGLES) -> list[str]:
    return list(of_images(Images(data, angles, Grid((64, 64), 0.32))))


def test_a_sound_series_is_not_suspected():
    assert found(series()) == []


def test_a_smooth_series_without_noise_is_not_suspected():
    """Rows of atoms are far from each other, and between them nothing changes."""
    rows = np.exp(-0.5 * ((np.arange(64) - np.arange(8, 64, 16)[:, None]) / 1.4) ** 2).sum(axis=0)
    assert found(np.stack([np.outer(rows, 1 + k + rows) for k in range(3)])) == []


@pytest.mark.parametrize(("axis", "name"), [(0, "row"), (1, "column")])
def test_a_dead_line_is_named(axis, name):
    data = series()
    np.moveaxis(data[1], axis, 0)[17] = 0
    (sentence,) = found(data)
    assert sentence.startswith(f"In image 1, {name} 17")


def test_an_image_given_twice_is_named():
    data = series()
    data[2] = data[0]
    (sentence,) = found(data)
    assert sentence.startswith("Images 0 and 2 are the same in every pixel")


def test_images_that_are_all_the_same_are_one_sentence():
    (sentence,) = found(np.broadcast_to(series()[:1], (3, 64, 64)).copy())
    assert sentence.startswith("Images 0 and 1 (and 2 more pairs) are the same in every pixel")


def test_an_angle_given_twice_is_named():
    (sentence,) = found(series(), np.where([[True], [True], [False]], ANGLES, ANGLES[1]))
    assert sentence.startswith("Images 1 and 2 are given the same angles")


def test_frames_that_were_left_out_are_counted():
    kept = np.ones((3, 5), bool)
    assert list(of_drift(Drift(jnp.zeros((3, 2)), jnp.zeros((3, 5, 2)), jnp.asarray(kept)))) == []
    kept[1, 2] = kept[2, 4] = False
    (sentence,) = of_drift(Drift(jnp.zeros((3, 2)), jnp.zeros((3, 5, 2)), jnp.asarray(kept)))
    assert sentence.startswith("2 of 15 frames")
    assert "frame 2 of image 1" in sentence


def test_a_volume_thinner_than_the_specimen_is_named():
    atoms = jaxaet.monolayer("MoS2", (15.0, 15.0))
    scope = Microscope(Beam(60e3, 0.038), AnnularDetector(0.05, 0.21), Tilts(ANGLES), Grid((64, 64), 0.32))
    assert list(of_volume(Model(atoms, scope), 11.0, 0.5)) == []
    (sentence,) = of_volume(Model(atoms, scope), 4.0, 0.5)
    assert "thinner than the specimen" in sentence
