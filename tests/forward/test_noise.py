"""Noise: mean, variance and correlation of the counts and of contamination; where drift and distortion put things."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxaet.core import Grid, Images, InputError
from jaxaet.core.images import Frames
from jaxaet.forward import contamination, count, displaced, dose, drift_path, raw_frames

DRAWS = 4000
MEAN = np.array([-2.0, 0.0, 0.3, 2.0, 9.0, 300.0])
LIT = MEAN > 0


@jax.jit
def draw(keys, readout) -> jax.Array:
    images = Images(MEAN.reshape(1, 2, 3), jnp.zeros((1, 3)), Grid((2, 3), 0.3))
    return jax.vmap(lambda key: count(images, key, readout).data.ravel())(keys)


@pytest.fixture(scope="module", params=[0.0, 1.5])
def drawn(request) -> tuple[float, np.ndarray]:
    return request.param, np.asarray(draw(jax.random.split(jax.random.key(0), DRAWS), request.param))


def test_the_mean_is_that_of_the_images(drawn):
    readout, counts = drawn
    expected = np.maximum(MEAN, 0.0)
    error = np.sqrt((expected + readout**2) / DRAWS)
    assert (np.abs(counts.mean(axis=0) - expected) <= 5 * error).all()


def test_the_variance_is_the_mean_and_the_read_out(drawn):
    """A Poisson variance estimated from n draws has variance (mu + 2 (mu + r²)²) / n and nearly that with read-out."""
    readout, counts = drawn
    shot = np.maximum(MEAN, 0.0)
    expected = shot + readout**2
    error = np.sqrt((shot + 2 * expected**2) / DRAWS)
    assert (np.abs(counts.var(axis=0) - expected) <= 5 * error).all()


def test_pixels_are_not_correlated(drawn):
    _, counts = drawn
    correlation = np.corrcoef(counts[:, LIT].T)[np.triu_indices(LIT.sum(), 1)]
    assert np.abs(correlation).max() < 5 / np.sqrt(DRAWS)


def test_draws_are_not_correlated(drawn):
    _, counts = drawn
    scaled = (counts[:, LIT] - counts[:, LIT].mean(axis=0)) / counts[:, LIT].std(axis=0)
    assert np.abs((scaled[1:] * scaled[:-1]).mean(axis=0)).max() < 5 / np.sqrt(DRAWS)


def test_only_the_read_out_makes_counts_fractions_and_darkness_bright(drawn):
    readout, counts = drawn
    assert (counts == np.round(counts)).all() == (readout == 0)
    assert (counts[:, ~LIT] == 0).all() == (readout == 0)


def test_a_key_decides_the_draw(drawn):
    readout, counts = drawn
    again, other = (draw(jax.random.split(jax.random.key(seed), DRAWS), readout) for seed in (0, 1))
    assert (again == counts).all()
    assert (other != counts).any()


def test_angles_and_grid_are_kept():
    images = Images(jnp.ones((2, 3, 4)), jnp.ones((2, 3)), Grid((3, 4), 0.7))
    noisy = count(images, jax.random.key(0))
    assert eqx.tree_equal(noisy, eqx.tree_at(lambda i: i.data, images, noisy.data))


def smooth(shape, sampling=0.4, centre=(0.3, -0.5)) -> Images:
    """One image of a Gaussian at `centre` (x, y) Å, 0.8 Å wide, on 3 counts."""
    grid = Grid(shape, sampling)
    y, x = (np.asarray(axis) for axis in grid.coordinates())
    square = (x[None] - centre[0]) ** 2 + (y[:, None] - centre[1]) ** 2
    return Images((3 + 100 * np.exp(-square / 1.28))[None], np.zeros((1, 3)), grid)


def path_of(rows, displacement, frames=2) -> jax.Array:
    """The path of a specimen that has moved by (x, y) Å before the first frame and then rests."""
    return jnp.broadcast_to(jnp.asarray(displacement), (1, frames, rows, 2))


def test_the_dose_is_that_of_the_papers_scan():
    """17 pA for 4 µs are 424.4 electrons, in a pixel of 0.1024 Å²."""
    assert dose(17e-12, 4e-6, 0.32) == pytest.approx(424.4 / 0.1024, rel=1e-4)


@pytest.mark.parametrize("shape", [(8, 10), (9, 7)])
def test_drift_by_whole_pixels_rolls_the_image(shape):
    data = np.random.default_rng(0).normal(size=(1, *shape))
    images = Images(data, np.zeros((1, 3)), Grid(shape, 0.4))
    frames = displaced(images, path_of(shape[0], (0.4 * 2, 0.4 * -3)))
    rolled = np.roll(data, (-3, 2), axis=(1, 2))[:, None] / 2
    np.testing.assert_allclose(frames, np.broadcast_to(rolled, frames.shape), atol=1e-12)


@pytest.mark.parametrize("shape", [(24, 26), (25, 23)])
def test_an_atom_that_drifts_by_d_is_seen_displaced_by_d(shape):
    """Against the same atom at the other place: a Gaussian of 0.8 Å is band-limited to 1e-4 of its height."""
    images = smooth(shape)
    moved = smooth(shape, centre=(0.3 + 0.57, -0.5 + 0.91))
    frames = displaced(images, path_of(shape[0], (0.57, 0.91)))
    np.testing.assert_allclose(2 * frames[:, 1], moved.data, atol=2e-2)
    assert np.abs(2 * frames[:, 1] - images.data).max() > 30


def test_drift_within_a_frame_shears_and_stretches_it():
    """Row r sees the specimen as it lies then: at y_r - d_y(r), and in x shifted by d_x(r)."""
    images, rows = smooth((24, 24)), np.arange(24)
    path = np.stack([0.05 * rows, -0.03 * rows], axis=1)
    frame = np.asarray(displaced(images, jnp.asarray(path)[None, None]))[0, 0]
    y, x = (np.asarray(axis) for axis in images.grid.coordinates())
    square = (x[None] - path[:, :1] - 0.3) ** 2 + (y[:, None] - path[:, 1:] + 0.5) ** 2
    np.testing.assert_allclose(frame, 3 + 100 * np.exp(-square / 1.28), atol=2e-2)


def test_frames_that_do_not_drift_share_the_image():
    images = smooth((12, 10))
    frames = displaced(images, path_of(12, (0.0, 0.0), frames=5))
    np.testing.assert_allclose(frames, np.broadcast_to(images.data[:, None] / 5, frames.shape), rtol=1e-12)


def test_the_mean_frames_have_exact_gradients():
    images = smooth((6, 7))
    path = 0.3 * jax.random.normal(jax.random.key(1), (1, 2, 6, 2))

    def frames(data, sampling, path):
        return displaced(Images(data, images.angles, Grid((6, 7), sampling)), jnp.asarray(path))

    leaves = (images.data, images.grid.sampling, path)
    check_grads(frames, leaves, order=1, modes=["fwd", "rev"], atol=1e-6, rtol=1e-6)


@pytest.fixture(scope="module", params=[0.0, 1.5])
def recorded(request) -> tuple[float, np.ndarray, np.ndarray]:
    """Read-out, the mean of a frame, and many frames, each (pixels,)."""
    images = Images(
        DRAWS * np.array([4.0, 9.0, 30.0, 100.0, 1.0, 50.0]).reshape(1, 2, 3), np.zeros((1, 3)), Grid((2, 3), 0.3)
    )
    frames = raw_frames(images, path_of(2, (0.0, 0.0), DRAWS), jax.random.key(3), request.param)
    return request.param, np.asarray(images.data).ravel() / DRAWS, np.asarray(frames.data).reshape(DRAWS, -1)


def test_frames_are_counted_with_their_share_of_the_image(recorded):
    readout, mean, frames = recorded
    expected = mean + readout**2
    assert (np.abs(frames.mean(axis=0) - mean) <= 5 * np.sqrt(expected / DRAWS)).all()
    assert (np.abs(frames.var(axis=0) - expected) <= 5 * np.sqrt((mean + 2 * expected**2) / DRAWS)).all()


def test_the_noise_of_frames_and_pixels_is_not_correlated(recorded):
    _, _, frames = recorded
    scaled = (frames - frames.mean(axis=0)) / frames.std(axis=0)
    assert np.abs(np.corrcoef(frames.T)[np.triu_indices(6, 1)]).max() < 5 / np.sqrt(DRAWS)
    assert np.abs((scaled[1:] * scaled[:-1]).mean(axis=0)).max() < 5 / np.sqrt(DRAWS)


def test_images_have_noise_of_their_own_and_a_key_decides_it():
    images = Images(jnp.full((2, 8, 8), 90.0), jnp.ones((2, 3)), Grid((8, 8), 0.3))
    path = jnp.zeros((2, 3, 8, 2))
    first, again, other = (raw_frames(images, path, jax.random.key(seed)) for seed in (0, 0, 1))
    assert eqx.tree_equal(first, again)
    assert (first.data != other.data).any()
    assert (first.data[0] != first.data[1]).any()
    assert eqx.tree_equal((first.angles, first.grid), (images.angles, images.grid))


def test_other_values_do_not_retrace():
    traces = []

    @jax.jit
    def frames(images, path, key, readout):
        traces.append(None)
        return raw_frames(images, path, key, readout).data

    for seed in (0, 1):
        path = drift_path(jax.random.key(seed), 1, 2, 6, 0.1 * seed, 0.02)
        images = smooth((6, 7), centre=(0.1 * seed, 0.0))
        frames(images, path, jax.random.key(seed), jnp.asarray(0.1 * seed))
    assert len(traces) == 1


def test_drift_goes_on_steadily_through_rows_and_frames():
    path = np.asarray(drift_path(jax.random.key(0), 6, 4, 16, 0.25))
    steps = np.diff(path.reshape(6, 64, 2), axis=1)
    np.testing.assert_allclose(np.hypot(*steps.T), 0.25 / 16, rtol=1e-9)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[:, :1], steps.shape), atol=1e-12)
    assert (path[:, 0, 0] == 0).all()
    azimuths = np.arctan2(steps[:, 0, 1], steps[:, 0, 0])
    assert np.ptp(azimuths) > 1


def test_the_jitter_of_each_line_is_its_own():
    path, straight = (np.asarray(drift_path(jax.random.key(0), 3, 20, 50, 0.25, jitter)) for jitter in (0.04, 0.0))
    jitter = (path - straight).reshape(-1, 2)
    assert jitter.std(axis=0) == pytest.approx(0.04, rel=5 / np.sqrt(2 * len(jitter)))
    scaled = jitter / 0.04
    for product in (scaled[1:] * scaled[:-1], scaled[:, 0] * scaled[:, 1]):
        assert np.abs(product.mean(axis=0)).max() < 5 / np.sqrt(len(jitter))


@pytest.fixture(scope="module")
def backgrounds() -> np.ndarray:
    """Images of 64 × 48 pixels of 0.5 Å with a correlation length of 2 Å: 4 pixels."""
    return np.asarray(contamination(Grid((64, 48), 0.5), 60, 7.0, 2.0, jax.random.key(5)))


def test_contamination_is_positive_and_has_the_mean_asked_for(backgrounds):
    """60 images of about 30 patches each; their relative rms is sqrt(exp(1/4) - 1)."""
    relative = np.sqrt(np.exp(0.25) - 1)
    assert backgrounds.min() > 0
    assert backgrounds.mean() == pytest.approx(7.0, rel=5 * relative / np.sqrt(60 * 30))
    assert backgrounds.std() / 7.0 == pytest.approx(relative, rel=0.1)


@pytest.mark.parametrize(("lag", "expected"), [(2, np.exp(-1 / 8)), (4, np.exp(-1 / 2)), (8, np.exp(-2)), (40, 0.0)])
def test_contamination_is_correlated_over_its_length(backgrounds, lag, expected):
    field = (np.log(backgrounds / 7) + 1 / 8) / 0.5
    for axis in (1, 2):
        first, second = (np.take(field, range(a, field.shape[axis] - lag + a), axis) for a in (0, lag))
        assert (first * second).mean() == pytest.approx(expected, abs=0.12)


def test_contamination_of_each_image_is_its_own(backgrounds):
    field = np.log(backgrounds / 7).reshape(60, -1)
    other = np.corrcoef(field)[np.triu_indices(60, 1)]
    assert np.abs(other).max() < 0.7
    assert abs(other.mean()) < 0.05


def test_frames_of_another_shape_are_refused():
    with pytest.raises(InputError, match="rows and columns"):
        Frames(jnp.ones((2, 4, 5)), jnp.zeros((2, 3)), Grid((4, 5), 0.3))
    with pytest.raises(InputError, match="one row"):
        Frames(jnp.ones((2, 3, 4, 5)), jnp.zeros((3, 3)), Grid((4, 5), 0.3))
