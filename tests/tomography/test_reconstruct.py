"""Volumes from images: GENFIRE against its textbook loop, both descents on known specimens, and windows."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.spatial import KDTree

from jaxaet.core import Grid, Images, InputError, Volume, project, rotation_matrix
from jaxaet.tomography import (
    Deblurring,
    Genfire,
    Resire,
    Windows,
    fourier_shell_correlation,
    keep_apart,
    reconstruct,
    scanned,
    trace,
)
from jaxaet.tomography.descent import Descent
from jaxaet.tomography.windows import misalignment, solved

WIDTH, SAMPLING = 0.6, 0.4
TILTS = np.deg2rad([[2.0 * i, tilt, 0.0] for i, tilt in enumerate(np.arange(-75, 76, 10))])
SHEET = np.deg2rad([[0.0, a, b] for a, b in ((0, 0), (25, 10), (-25, 5), (10, 25), (-5, -25), (18, -18), (-18, 20))])
TRACED = []


def spots(positions, angles=TILTS, shape=(36, 36), shifts=0.0):
    """Images of Gaussian atoms of 100 counts each."""
    grid = Grid(shape, SAMPLING)
    y, x = (np.asarray(axis) for axis in grid.coordinates())
    seen = np.asarray(project(jnp.asarray(positions), jnp.asarray(angles))) + np.reshape(shifts, (-1, 1, 1))
    peaks = [np.exp(-0.5 * ((axis - seen[..., i, None]) / WIDTH) ** 2) for i, axis in enumerate((x, y))]
    return Images(100 * SAMPLING**2 / (2 * np.pi * WIDTH**2) * np.einsum("knx,kny->kyx", *peaks), angles, grid)


def density(positions, shape, width=WIDTH):
    """The same atoms in a volume."""
    axes = [(np.arange(n) - n // 2) * SAMPLING for n in shape]
    peaks = [
        np.exp(-0.5 * ((axis[None] - np.asarray(positions)[:, i, None]) / width) ** 2) for i, axis in enumerate(axes)
    ]
    data = np.einsum("nx,ny,nz->xyz", *peaks) * 100 * SAMPLING**3 / (2 * np.pi * width**2) ** 1.5
    return Volume(data, (0.0, 0.0, 0.0), SAMPLING)


@pytest.fixture(scope="module")
def cluster():
    points = np.random.default_rng(0).uniform(-3.5, 3.5, (400, 3))
    return points[keep_apart(points, 2.2)][:16]


def test_measured_values_are_those_of_gaussians(cluster):
    """The transform of a Gaussian atom is known at every point of a plane; shifted images are read back."""
    system = Genfire(oversampling=2, radius=0.4).system(jnp.asarray(TILTS), Grid((36, 36), SAMPLING), (24, 24, 24), 0.4)
    shift = 0.13
    values = system.measured(spots(cluster, shifts=shift).data, jnp.full((len(TILTS), 2), shift))
    planes, turn = system.planes, np.asarray(rotation_matrix(jnp.asarray(TILTS)))
    # Where one image alone measures.
    count = np.zeros(values.size, int)
    np.add.at(count, np.asarray(planes.voxels)[np.asarray(planes.weight) > 0], 1)
    for view in (0, 5):
        one = (np.asarray(planes.weight[view]) > 0) & (count[np.asarray(planes.voxels[view])] == 1)
        uv = np.stack([np.asarray(planes.u[view])[one], np.asarray(planes.v[view])[one]])
        seen = cluster @ turn[view][:, :2]
        expected = (
            100 * np.exp(-2j * np.pi * seen @ uv).sum(axis=0) * np.exp(-2 * (np.pi * WIDTH) ** 2 * (uv**2).sum(0))
        )
        np.testing.assert_allclose(np.asarray(values)[np.asarray(planes.voxels[view])[one]], expected, atol=0.02)


@pytest.mark.parametrize("shape", [(12, 12, 12), (12, 10, 7)])
def test_the_convolution_is_the_replacement_of_fourier_values(shape):
    """Some steps of the published loop on the whole fine grid give the same volume."""
    method = Genfire(iterations=4, oversampling=2, radius=0.5, withheld=0.0, accelerated=False)
    images = spots([[0.3, -0.5, 0.2], [-1.0, 0.8, -0.6]], shape=(14, 14))
    system = method.system(images.angles, images.grid, shape, SAMPLING)
    state = system.start(images.data, jnp.zeros((len(TILTS), 2)))
    half = (system.side, system.side, system.side // 2 + 1)
    measured, used = np.asarray(state.values).reshape(half), np.asarray(system.used).reshape(half)
    place = tuple(np.ix_(*[(np.arange(n) - n // 2) % system.side for n in shape]))
    volume = np.zeros(shape)
    for _ in range(4):
        full = np.zeros((system.side,) * 3)
        full[place] = volume
        spectrum = np.where(used, measured, np.fft.rfftn(full))
        volume = np.maximum(np.fft.irfftn(spectrum, s=full.shape, axes=(0, 1, 2))[place], 0.0)
    found = system.advance(state)
    assert int(found.step) == 4
    np.testing.assert_allclose(found.best, volume, atol=1e-9 * volume.max())
    seen = np.fft.rfftn(full)[used]
    assert 0 < float(found.error) < np.sum(np.abs(np.abs(seen) - np.abs(measured[used]))) / np.abs(measured[used]).sum()


@pytest.mark.parametrize(
    "method", [Genfire(200, radius=0.1), Resire(200), Deblurring(WIDTH, 60)], ids=lambda m: type(m).__name__
)
def test_a_known_volume_comes_back(cluster, method):
    errors = []
    volume = reconstruct(spots(cluster), method, (9.6, 9.6, 9.6), SAMPLING, None, lambda *seen: errors.append(seen))
    assert float(volume.data.min()) >= 0
    np.testing.assert_allclose(float(volume.data.sum()), 100 * len(cluster), rtol=0.03)
    distance, index = KDTree(trace(volume, 1.6, 0.5)[0][: len(cluster)]).query(cluster)
    assert sorted(index) == list(range(len(cluster)))
    assert np.sqrt(np.mean(distance**2)) < 0.06
    q, correlation = fourier_shell_correlation(volume, density(cluster, volume.data.shape))
    assert correlation[q < 0.6].min() > 0.95
    steps, left = zip(*errors, strict=True)
    assert list(steps) == sorted(steps)
    assert left[-1] < left[0]


def test_acceleration_and_extension_end_at_the_same_volume(cluster):
    """The problem is convex: how one gets there does not matter, only how soon."""

    def error(method):
        errors = []
        reconstruct(spots(cluster), method, (9.6, 9.6, 9.6), SAMPLING, None, lambda *seen: errors.append(seen))
        return dict(errors)

    plain = error(Genfire(200, 2, 0.1, withheld=0.0, accelerated=False))
    fast = error(Genfire(100, 2, 0.1, withheld=0.0))
    extended = error(Genfire(200, 2, 0.1, extension=4, withheld=0.0))
    assert fast[50] < plain[200]
    assert extended[200] < plain[200]
    assert extended[25] < plain[25]  # of the low frequencies alone


def test_noise_is_not_fitted_beyond_what_withheld_values_confirm(cluster):
    clean = spots(cluster)
    noise = 3 * np.random.default_rng(1).normal(size=clean.data.shape)
    noisy = Images(clean.data + noise, clean.angles, clean.grid)
    steps, best = [], density(cluster, (24, 24, 24))

    def agreement(method):
        volume = reconstruct(noisy, method, (9.6, 9.6, 9.6), SAMPLING, None, lambda step, _: steps.append(step))
        return float(jnp.corrcoef(volume.data.ravel(), best.data.ravel())[0, 1])

    stopped = agreement(Genfire(1000, 2, 0.1, withheld=0.1))
    assert steps[-1] < 1000
    assert stopped > agreement(Genfire(1000, 2, 0.1, withheld=0.0))


def test_withheld_values_are_no_used_ones_and_come_in_pairs():
    system = Genfire(oversampling=2, withheld=0.2).system(
        jnp.asarray(TILTS), Grid((36, 36), SAMPLING), (24, 24, 24), 0.4
    )
    used, free = (np.asarray(part).reshape(48, 48, 25) for part in (system.used, system.free))
    assert not (used & free).any()
    assert 0.17 < free.sum() / (used | free).sum() < 0.23
    mirror = -np.arange(48) % 48
    np.testing.assert_array_equal(free[..., 0], free[mirror][:, mirror, 0])


@settings(max_examples=5)
@given(st.integers(0, 2**16))
def test_other_images_do_not_trace_again(seed):
    system = SMALL
    data = np.random.default_rng(seed).normal(size=(len(TILTS), 14, 14))
    before = len(TRACED)
    first, second = (whole(system, jnp.asarray(part), jnp.zeros((len(TILTS), 2))) for part in (data, data[::-1]))
    assert len(TRACED) <= max(before, 1)
    assert float(jnp.abs(first - second).max()) > 0


@eqx.filter_jit
def whole(system, data, shifts):
    TRACED.append(None)
    return solved(system, data, shifts).best


SMALL = Genfire(10, 2).system(jnp.asarray(TILTS), Grid((14, 14), SAMPLING), (12, 12, 12), SAMPLING)


@pytest.fixture(scope="module")
def sheet():
    x, y = np.meshgrid(np.arange(-7.5, 8, 2.5), np.arange(-5, 6, 2.5))
    flat = np.stack([x.ravel(), y.ravel(), 0.3 * np.sin(x + 2 * y).ravel()], axis=1)
    return flat + np.random.default_rng(2).normal(size=flat.shape) * 0.1


def test_windows_of_a_known_sheet_are_stitched_to_it(sheet):
    images = spots(sheet, SHEET, (48, 60))
    done = []
    method, windows = Genfire(150, 2, 0.1), Windows(24, 12)
    volume = scanned(images, method, windows, (20.0, 16.0, 4.8), SAMPLING, None, lambda *seen: done.append(seen))
    assert volume.data.shape == (50, 40, 12)
    assert [count for count, _ in done] == list(range(1, 21))
    found = trace(volume, 1.6, 0.3)[0]
    distance, index = KDTree(found[: len(sheet)]).query(sheet)
    assert sorted(index) == list(range(len(sheet)))
    assert np.sqrt(np.mean(distance**2)) < 0.15
    whole = reconstruct(images, method, (20.0, 16.0, 4.8), SAMPLING)
    q, correlation = fourier_shell_correlation(volume, whole)
    assert correlation[q < 0.6].min() > 0.95
    np.testing.assert_allclose(float(volume.data.sum()), 100 * len(sheet), rtol=0.05)


def test_windows_in_batches_are_the_windows_one_by_one(sheet):
    images = spots(sheet, SHEET, (48, 60))
    alone, together = (
        scanned(images, Resire(20), Windows(16, 12, batch=batch), (12.0, 12.0, 4.0), SAMPLING) for batch in (1, 4)
    )
    np.testing.assert_allclose(together.data, alone.data, atol=1e-9 * float(alone.data.max()))


def test_a_shifted_image_is_found_and_alignment_mends_the_volume(sheet):
    straight = spots(sheet, SHEET, (48, 60))
    off = np.zeros((len(SHEET), 2))
    off[2] = [0.12, -0.08]
    fy, fx = (np.asarray(f) for f in straight.grid.frequencies())
    phase = np.exp(-2j * np.pi * (fx[None, None] * off[:, :1, None] + fy[None, :, None] * off[:, 1:, None]))
    images = Images(np.fft.ifft2(np.fft.fft2(straight.data) * phase).real, straight.angles, straight.grid)
    method = Genfire(100, 2, 0.1)
    system = Resire(60).system(images.angles, images.grid, (50, 40, 12), SAMPLING)
    zero, left = jnp.zeros((len(SHEET), 2)), []
    true = solved(system, straight.data, zero).best
    np.testing.assert_allclose(misalignment(system, images.angles, images.data, zero, true), off, atol=0.02)
    for series, alignments in ((straight, 0), (images, 0), (images, 2)):
        errors: list = []
        windows, extent = Windows(36, 24, alignments), (20.0, 16.0, 4.8)
        scanned(series, method, windows, extent, SAMPLING, None, lambda *seen, errors=errors: errors.append(seen[1]))
        left.append(np.mean(errors))
    assert left[2] - left[0] < 0.6 * (left[1] - left[0])


@pytest.mark.parametrize("padded", [(8, 10, 12), (9, 11, 7)])
def test_convolution_with_an_even_kernel_is_the_sum_over_its_shifts(padded):
    from jaxaet.tomography.descent import convolved, transfer_function

    random, shape = np.random.default_rng(2), (4, 5, 3)
    volume, half = random.normal(size=shape), random.normal(size=padded)
    kernel = half + np.roll(np.flip(half), 1, axis=(0, 1, 2))
    whole = np.pad(volume, [(0, p - n) for p, n in zip(padded, shape, strict=True)])
    expected = sum(whole[index] * np.roll(kernel, index, axis=(0, 1, 2)) for index in np.ndindex(*shape))
    found = convolved(jnp.asarray(volume), transfer_function(jnp.asarray(kernel)), padded)
    np.testing.assert_allclose(found, expected[:4, :5, :3], rtol=1e-10, atol=1e-10)


def test_descent_from_the_solution_stays_there():
    """Where the gradient is zero, or points out of the positive volumes, nothing moves."""
    from jaxaet.tomography.descent import descended

    transfer = jnp.ones((5, 8, 8))
    target = jnp.asarray(np.random.default_rng(3).normal(size=(4, 4, 4)))
    state = Descent(jnp.maximum(target, 0), jnp.maximum(target, 0), jnp.asarray(2.0))
    for accelerated in (True, False):
        np.testing.assert_allclose(
            descended(state, transfer, target, (8, 8, 8), accelerated).volume, state.volume, atol=1e-12
        )


def test_what_cannot_be_reconstructed_is_refused():
    images = spots(np.zeros((1, 3)))
    with pytest.raises(InputError, match="reciprocal grid of"):
        reconstruct(images, Genfire(), (200.0, 9.0, 9.0), SAMPLING)
    with pytest.raises(InputError, match="0 iterations"):
        Resire(0)
    with pytest.raises(InputError, match="GENFIRE cannot work with 0 iterations"):
        Genfire(0)
    with pytest.raises(InputError, match="do not cover a field"):
        Windows(20, 30)
    with pytest.raises(InputError, match="A window of 60 voxels is 24 Å wide"):
        scanned(images, Genfire(), Windows(), (9.0, 9.0, 9.0), SAMPLING)
    with pytest.raises(InputError, match="no shells in common"):
        fourier_shell_correlation(density(np.zeros((1, 3)), (8, 8, 8)), density(np.zeros((1, 3)), (8, 8, 6)))
