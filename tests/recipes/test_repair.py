"""What happens between two fits, where the right change is known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxaet.core import Grid, Images, InputError, rotation_matrix
from jaxaet.forward import Linear, count
from jaxaet.instrument import AnnularDetector, Beam, Microscope, StageVibration, Tilts
from jaxaet.inverse import Model, Poisson
from jaxaet.recipes.blocks import CalibrationFromScratch
from jaxaet.recipes.config import HeterojunctionConfig
from jaxaet.recipes.pipeline import fit
from jaxaet.recipes.repair import repaired
from jaxaet.recipes.series import seen_extent
from jaxaet.specimen import Atoms

CONFIG, EXTENT = HeterojunctionConfig(), (18.0, 18.0, 8.0)
# Molybdenum atoms and one pair of sulphur, in the units of the recipe: the weight of a molybdenum atom is 1.
SULPHUR = 0.2017
COLUMNS = np.array([[-4.0, 0, 0], [0, -4.0, 0], [4.0, 0, 0]])
PAIR = np.array([[0.0, 1.0, 1.6], [0.0, 1.0, -1.6]])


def microscope():
    angles = np.deg2rad([[0, a, b] for a, b in [(0, 0), (20, 0), (-20, 0), (0, 20), (0, -20), (14, 14), (-14, -14)]])
    return Microscope(
        Beam(60e3, 0.038, 0.7, 6e4), AnnularDetector(0.05, 0.21), Tilts(angles), Grid((56, 56), 0.32), 1.0, 2.0
    )


def model_of(positions, weights):
    return Model(Atoms(positions, np.reshape(weights, (-1, 1)), 0.0, ("Mo",)), microscope())


TRUTH = model_of(np.r_[COLUMNS, PAIR], [1.0, 1.0, 1.0, SULPHUR, SULPHUR])


@pytest.fixture(scope="module")
def images():
    return count(eqx.filter_jit(Linear())(TRUTH.atoms, TRUTH.microscope), jax.random.key(0))


def found(model, images):
    repaired_model, removed, added = repaired(model, images, Poisson(), CONFIG, EXTENT)
    return (
        np.asarray(repaired_model.atoms.positions),
        np.asarray(repaired_model.atoms.composition[:, 0]),
        removed,
        added,
    )


def test_the_truth_is_left_alone(images):
    positions, _, removed, added = found(TRUTH, images)
    assert (len(positions), removed, added) == (5, 0, 0)


def test_a_missing_atom_is_added_where_it_is(images):
    positions, _, removed, added = found(model_of(np.r_[COLUMNS[1:], PAIR], [1.0, 1.0, SULPHUR, SULPHUR]), images)
    assert (removed, added) == (0, 1)
    assert np.linalg.norm(positions[-1] - COLUMNS[0]) < 0.5


def test_an_atom_that_is_two_is_split_along_their_axis(images):
    start = model_of(np.r_[COLUMNS, [[0.0, 1.0, 0.0]]], [1.0, 1.0, 1.0, 0.33])
    config = CONFIG.model_copy(update={"calibration": CalibrationFromScratch(angles="fixed")})
    model = fit(start, images, Poisson(), config, True, 8, lambda *_, **__: None).model
    positions, weights, removed, added = found(model, images)
    assert (removed, added) == (1, 2)
    assert np.linalg.norm(positions[-2:].mean(axis=0) - [0.0, 1.0, 0.0]) < 0.2
    assert abs(positions[-1] - positions[-2])[2] > 1.5
    np.testing.assert_allclose(weights[-2:].sum(), 2 * SULPHUR, rtol=0.3)


def test_coinciding_atoms_become_one_with_their_weight(images):
    halves = COLUMNS[0] + [[0, 0.2, 0], [0, -0.2, 0]]
    model = model_of(np.r_[halves, COLUMNS[1:], PAIR], [0.5, 0.5, 1.0, 1.0, SULPHUR, SULPHUR])
    positions, weights, removed, _ = found(model, images)
    assert removed == 1
    joined = np.argmin(np.linalg.norm(positions - COLUMNS[0], axis=1))
    np.testing.assert_allclose(positions[joined], COLUMNS[0], atol=1e-4)
    np.testing.assert_allclose(weights[joined], 1.0, atol=1e-5)


def test_an_atom_outside_the_volume_is_removed(images):
    model = model_of(np.r_[COLUMNS, PAIR, [[0.0, 0.0, 300.0]]], [1.0, 1.0, 1.0, SULPHUR, SULPHUR, 1.0])
    positions, _, removed, _ = found(model, images)
    assert removed == 1
    assert np.abs(positions).max() < 10


@pytest.mark.parametrize(("z", "weight"), [(0.0, -0.1), (300.0, 1.0)])
def test_a_model_of_which_nothing_is_left_is_a_sentence(images, z, weight):
    with pytest.raises(InputError, match="No atom is left"):
        found(model_of(np.array([[0.0, 0.0, z]]), [weight]), images)


def test_a_specimen_that_ends_inside_the_images_is_not_searched_beside_them():
    tilts = jnp.deg2rad(jnp.array([[0.0, -60.0, 0.0], [0.0, 0.0, 0.0], [0.0, 60.0, 0.0]]))
    grid = Grid((20, 30), 1.0)
    inside = jnp.zeros((3, 20, 30)).at[:, 8:12, 10:20].set(1.0)
    assert seen_extent(Images(inside, tilts, grid), (30.0, 20.0, 10.0)) == (30.0, 20.0, 10.0)
    across = jnp.zeros((3, 20, 30)).at[:, 8:12].set(1.0)
    x, y, z = seen_extent(Images(across, tilts, grid), (30.0, 20.0, 10.0))
    np.testing.assert_allclose(x, (30 + 10 * np.sin(np.pi / 3)) / np.cos(np.pi / 3), rtol=1e-5)
    assert (y, z) == (20.0, 10.0)


def test_an_atom_that_moves_along_the_beam_is_not_two(images):
    angles = np.asarray(microscope().tilts.angles)
    normal = np.asarray(rotation_matrix(jnp.asarray(angles)))[:, 2, :2]
    vibration = StageVibration(np.arctan2(normal[:, 1], normal[:, 0]), 0.5 * np.linalg.norm(normal, axis=1), 0.1)
    moving = eqx.tree_at(lambda m: m.vibration, TRUTH.microscope, vibration, is_leaf=lambda leaf: leaf is None)
    seen = count(eqx.filter_jit(Linear())(TRUTH.atoms, moving), jax.random.key(1))
    config = CONFIG.model_copy(update={"calibration": CalibrationFromScratch(angles="fixed")})
    model = fit(TRUTH, seen, Poisson(), config, True, 8, lambda *_, **__: None).model
    _, _, removed, added = found(model, seen)
    assert (removed, added) == (0, 0)
