"""Stabilised noise has unit variance, the inverse is unbiased, and frames tell gain and read-out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxaet
from jaxaet.core import Frames, Images
from jaxaet.forward import displaced, drift_path
from jaxaet.forward.noise import counted
from jaxaet.restore import Drift, destabilised, frame_noise, stabilised

KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("mean", "readout", "gain"), [(8.0, 0.0, 1.0), (6.0, 1.0, 1.0), (60.0, 2.0, 1.0), (8.0, 3.0, 5.0)]
)
def test_noise_is_the_same_everywhere_and_the_inverse_unbiased(mean, readout, gain):
    data = gain * counted(jnp.full(200_000, mean), KEY) + readout * jax.random.normal(jax.random.key(1), (200_000,))
    values = stabilised(data, readout, gain)
    assert float(values.var()) == pytest.approx(1.0, abs=0.06)
    back = destabilised(values.mean()[None], readout, gain)
    assert float(back[0]) == pytest.approx(gain * mean, abs=4 * gain * np.sqrt(mean / 200_000) + 1e-3)


def test_the_inverse_is_smooth_where_its_table_ends():
    values = jnp.linspace(19.0, 21.5, 200)
    means = np.asarray(destabilised(values))
    assert np.all(np.diff(means) > 0)
    assert np.abs(np.diff(means, 2)).max() < 2e-3
    assert np.asarray(destabilised(jnp.array([0.0, 1.0]))) == pytest.approx(0.0)


def scanned(gain: float, readout: float) -> tuple[Frames, Drift]:
    grid = jaxaet.Grid((64, 64), 0.4)
    y, x = grid.coordinates()
    mean = 60 + 50 * jnp.cos(2 * jnp.pi * x / 8)[None] * jnp.cos(2 * jnp.pi * y / 6.4)[:, None]
    images = Images(jnp.stack([mean, 2 * mean]), jnp.zeros((2, 3)), grid)
    path = drift_path(KEY, 2, 10, 64, 0.3)
    frames = gain * counted(displaced(images, path), jax.random.key(5))
    frames = frames + readout * jax.random.normal(jax.random.key(6), frames.shape)
    velocity = path[:, 1, 0] - path[:, 0, 0]
    return Frames(frames, images.angles, grid), Drift(velocity, jnp.zeros((2, 10, 2)), jnp.ones((2, 10), bool))


@pytest.mark.parametrize(("gain", "readout"), [(1.0, 0.0), (1.0, 1.5), (7.0, 6.0)])
def test_frames_tell_gain_and_readout(gain, readout):
    found = frame_noise(*scanned(gain, readout))
    assert found[0] == pytest.approx(gain, rel=0.05)
    assert found[1] ** 2 == pytest.approx(readout**2, abs=0.06 * gain**2 * 6 + 0.05 * readout**2)


def test_frames_that_show_no_line_are_refused():
    frames, drift = scanned(1.0, 0.0)
    few = Frames(frames.data[:, :2], frames.angles, frames.grid)
    with pytest.raises(jaxaet.InputError, match="between at least 3"):
        frame_noise(few, Drift(drift.velocity, drift.residual[:, :2], drift.kept[:, :2]))
    flat = Frames(counted(jnp.full((2, 10, 64, 64), 9.0), KEY), frames.angles, frames.grid)
    with pytest.raises(jaxaet.InputError, match="of one brightness"):
        frame_noise(flat, Drift(jnp.zeros((2, 2)), drift.residual, drift.kept))
    copies = Frames(jnp.broadcast_to(frames.data[:, :1], frames.data.shape), frames.angles, frames.grid)
    with pytest.raises(jaxaet.InputError, match="do not differ more where they are brighter"):
        frame_noise(copies, Drift(jnp.zeros_like(drift.velocity), drift.residual, drift.kept))
