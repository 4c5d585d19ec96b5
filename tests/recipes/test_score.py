"""The score finds known errors, whatever the frame."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jaxaet.core import Grid
from jaxaet.instrument import AnnularDetector, Beam, Microscope, Tilts
from jaxaet.inverse import Model
from jaxaet.recipes.score import score
from jaxaet.specimen import Atoms, nanoparticle


@pytest.fixture(scope="module")
def truth():
    import jax

    return nanoparticle("Si", 9.0, "amorphous", density=0.045, min_distance=2.2, key=jax.random.key(0))


def model_of(positions, angles):
    microscope = Microscope(Beam(6e4, 0.03), AnnularDetector(0.05, 0.2), Tilts(angles), Grid((8, 8), 0.3))
    return Model(Atoms.from_symbols(positions, ["Si"] * len(positions)), microscope)


def matrices(angles):
    return Rotation.from_euler("ZYX", angles).as_matrix()


@pytest.mark.parametrize("hand", [1, -1])
def test_frame_and_hand_are_undone(truth, hand):
    random = np.random.default_rng(0)
    true_angles = random.uniform(-0.5, 0.5, (4, 3))
    turn = Rotation.from_rotvec([0.01, -0.02, 0.03])
    noise = 0.05 * random.normal(size=np.shape(truth.positions))
    positions = np.asarray(truth.positions) + noise
    moved = turn.apply(positions) * [1, 1, hand] + [0.2, 0.1, -0.1]
    angles = Rotation.from_matrix(turn.as_matrix() @ matrices(true_angles)).as_euler("ZYX") * [1, hand, hand]
    metrics, errors, compared = score(model_of(moved, angles), truth, true_angles)
    assert metrics["mirrored_along_beam"] is (hand == -1)
    np.testing.assert_allclose(metrics["rmsd_pm"]["Si"], 100 * np.sqrt((noise**2).sum(axis=1).mean()), rtol=0.03)
    assert metrics["angle_rms_error_deg"] < 0.1
    turned, true = compared
    np.testing.assert_array_equal(true, true_angles)
    assert np.rad2deg(np.abs(turned - true).max()) < 0.2
    assert metrics["atoms_found_percent"] == 100
    assert metrics["atoms_spurious"] == 0
    assert errors["Si"].shape == (len(truth), 3)


def test_missing_and_spurious_atoms_are_counted(truth):
    positions = np.concatenate([np.asarray(truth.positions)[2:], [[30.0, 0, 0]]])
    metrics, *_ = score(model_of(positions, np.zeros((3, 3))), truth, None)
    assert metrics["atoms_found"]["Si"] == len(truth) - 2
    assert metrics["atoms_spurious"] == 1
