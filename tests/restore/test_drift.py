"""Drift is found to a few thousandths of an Å, wrong frames are left out, and undoing it keeps counts and noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxaet
from jaxaet.core import Frames, Images
from jaxaet.forward import displaced, drift_path, raw_frames
from jaxaet.restore import Drift, find_drift, undrifted

ATOMS = jaxaet.lateral_heterojunction(
    size=18.0, offset=0.0, vacancies=0, vacancies_at_interface=0, key=jax.random.key(0)
)
GRID = jaxaet.Grid((96, 96), 0.32)
MICROSCOPE = jaxaet.Microscope(
    jaxaet.Beam(60e3, 0.038, 0.6, 1e5), jaxaet.AnnularDetector(0.05, 0.2), jaxaet.Tilts([[0, 0, 0], [0, 0.3, 0.1]]),
    GRID, 1.0, 2.0,
)  # fmt: skip
MEAN = jaxaet.Linear()(ATOMS, MICROSCOPE)
FRAMES = 8


@pytest.fixture(scope="module")
def path():
    return drift_path(jax.random.key(1), 2, FRAMES, GRID.shape[0], 0.3)


@pytest.fixture(scope="module")
def frames(path):
    return raw_frames(MEAN, path, jax.random.key(2))


def true_velocity(path):
    return np.asarray(path[:, 1, 0] - path[:, 0, 0])


def known(path):
    """The drift that made the frames."""
    return Drift(jnp.asarray(true_velocity(path)), jnp.zeros((2, FRAMES, 2)), jnp.ones((2, FRAMES), bool))


def test_the_velocity_is_found(frames, path):
    drift = find_drift(frames)
    assert np.abs(np.asarray(drift.velocity) - true_velocity(path)).max() < 0.006
    assert drift.kept.all()
    assert np.abs(np.asarray(drift.path(GRID.shape[0]) - path)).max() < 0.05


@pytest.mark.parametrize("wrong", [0, 3])
def test_a_wrong_frame_is_left_out(frames, path, wrong):
    data = np.array(frames.data)
    data[0, wrong] = np.roll(data[0, wrong], (9, -14), axis=(0, 1))
    data[1, wrong] = np.random.default_rng(0).poisson(3.0, GRID.shape)
    drift = find_drift(Frames(data, frames.angles, GRID))
    assert np.flatnonzero(~np.asarray(drift.kept[0])).tolist() == [wrong]
    assert np.flatnonzero(~np.asarray(drift.kept[1])).tolist() == [wrong]
    assert np.abs(np.asarray(drift.velocity) - true_velocity(path)).max() < 0.008


INNER = (slice(None), slice(14, -14), slice(14, -14))  # drift carries what leaves at one border in at the other


def test_without_noise_the_image_comes_back(path):
    frames = Frames(displaced(MEAN, path), MEAN.angles, GRID)
    denser = 1 / (1 - true_velocity(path)[:, 1] / (GRID.shape[0] * float(GRID.sampling)))
    expected = np.asarray(MEAN.data) * denser[:, None, None]
    left = np.asarray(undrifted(frames, known(path)).data) - expected
    smeared = np.asarray(frames.data.sum(axis=1)) - expected
    assert np.abs(left[INNER]).max() < 0.005 * expected.max()
    assert np.abs(smeared[INNER]).max() > 0.1 * expected.max()


def test_counts_are_kept_and_noise_stays_independent(path):
    flat = Images(jnp.full_like(MEAN.data, 400.0), MEAN.angles, GRID)
    frames = raw_frames(flat, path, jax.random.key(3))
    data = np.asarray(undrifted(frames, known(path)).data, float)
    assert data.sum() == pytest.approx(float(frames.data.sum()), rel=2e-3)
    noise = data[INNER] - data[INNER].mean(axis=(1, 2), keepdims=True)
    assert noise.var() == pytest.approx(400.0, rel=0.05)
    for axis in (1, 2):
        assert abs(np.mean(noise * np.roll(noise, 1, axis=axis))) < 0.04 * noise.var()


@pytest.mark.parametrize("wrong", range(4))
def test_a_frame_half_a_field_away_is_left_out_of_four(frames, wrong):
    data = np.array(frames.data[:, :4])
    data[0, wrong] = np.roll(data[0, wrong], (48, 48), axis=(0, 1))
    drift = find_drift(Frames(data, frames.angles, GRID))
    assert np.argwhere(~np.asarray(drift.kept)).tolist() == [[0, wrong]]


def test_too_few_frames_that_agree_are_refused():
    noise = np.random.default_rng(1).poisson(3.0, (2, 5, *GRID.shape)).astype(float)
    noise[:, 1:] = np.stack([np.roll(noise[:, 1:][:, i], 11 * i, axis=-1) for i in range(4)], axis=1)
    with pytest.raises(jaxaet.InputError, match="follow one drift; at least 3 must"):
        find_drift(Frames(noise, MEAN.angles, GRID))


def test_a_single_frame_has_no_drift():
    frames = Frames(MEAN.data[:, None], MEAN.angles, GRID)
    drift = find_drift(frames)
    np.testing.assert_allclose(undrifted(frames, drift).data, MEAN.data, rtol=1e-4, atol=1e-3)
