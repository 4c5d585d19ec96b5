"""Noise, background and vibration taken out of images of known specimens."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import jaxaet
from jaxaet.core import Grid, Images, InputError
from jaxaet.instrument import StageVibration
from jaxaet.restore import (
    block_matched,
    deconvolved,
    destabilised,
    hollow_background,
    kernel,
    stabilised,
)

SAMPLING = 0.32


def lattice(shape=(72, 80), width=0.75, height=30.0):
    """A honeycomb of Gaussian atoms."""
    a = 3.16
    first, second = np.meshgrid(np.arange(-12, 13), np.arange(-12, 13))
    corners = np.stack([a * (first + 0.5 * second), a * np.sqrt(0.75) * second], axis=-1).reshape(-1, 2)
    atoms = np.concatenate([corners, corners + np.array([0.0, a / np.sqrt(3)])])
    y, x = (np.asarray(axis) for axis in Grid(shape, SAMPLING).coordinates())
    peaks = [np.exp(-0.5 * ((axis[None] - atoms[:, i, None]) / width) ** 2) for i, axis in enumerate((x, y))]
    return height * np.einsum("nx,ny->yx", *peaks)


def error(found, true):
    return float(np.sqrt(np.mean((np.asarray(found) - np.asarray(true)) ** 2)))


def test_block_matching_takes_white_noise_out_and_leaves_the_lattice():
    true = lattice(height=6.0)
    noisy = true + np.random.default_rng(0).normal(size=true.shape)
    found = np.asarray(block_matched(jnp.asarray(noisy)))
    assert error(found, true) < 0.25
    left = found - noisy
    assert abs(left.mean()) < 0.05
    assert 0.85 < left.std() < 1.1
    # What was taken out is noise: it repeats nowhere in the lattice.
    assert abs(np.corrcoef(left.ravel(), true.ravel())[0, 1]) < 0.1


def test_block_matching_scales_with_its_noise():
    noisy = lattice(height=6.0) + np.random.default_rng(1).normal(size=(72, 80))
    one, ten = block_matched(jnp.asarray(noisy)), block_matched(jnp.asarray(10 * noisy), 10.0)
    np.testing.assert_allclose(ten, 10 * one, rtol=1e-9)


def test_an_image_without_noise_is_nearly_kept():
    smooth = 20 + lattice(height=50.0)
    assert error(block_matched(jnp.asarray(smooth)), smooth) < 0.3


def test_counts_are_denoised_without_bias():
    true = 2 + lattice(height=20.0)
    random = np.random.default_rng(2)
    counts = random.poisson(true) + random.normal(size=true.shape)
    found = destabilised(block_matched(stabilised(jnp.asarray(counts), 1.0)), 1.0)
    assert error(found, true) < 0.35 * error(counts, true)
    assert float(jnp.mean(found)) == pytest.approx(true.mean(), rel=0.02)


def test_hollow_sites_show_the_background_and_the_tails_of_the_atoms():
    slope = 3 + 0.05 * np.arange(80)[None] + 0.03 * np.arange(72)[:, None]
    image = lattice(width=0.45) + slope
    found = hollow_background(image, SAMPLING, smoothing=0.2)
    tails = np.percentile(lattice(width=0.45), 1)
    assert error(found[8:-8, 8:-8], slope[8:-8, 8:-8] + tails) < 0.4


@settings(max_examples=10)
@given(st.floats(0, np.pi), st.floats(0.1, 1.5), st.floats(0.05, 0.5))
def test_the_kernel_has_the_moments_of_the_vibration(direction, amplitude, width):
    shape = kernel(StageVibration(direction, amplitude, width), 0, 0.1)
    axis = 0.1 * (np.arange(len(shape)) - len(shape) // 2)
    along = axis[None] * np.cos(direction) + axis[:, None] * np.sin(direction)
    across = -axis[None] * np.sin(direction) + axis[:, None] * np.cos(direction)
    assert shape.min() >= 0
    assert shape.sum() == pytest.approx(1.0)
    assert np.sum(shape * along**2) == pytest.approx(0.5 * amplitude**2 + width**2, rel=0.1, abs=0.01)
    assert abs(np.sum(shape * across**2)) < 0.02 * (1 + amplitude**2)


def test_deconvolution_of_a_vibrating_lattice_converges_to_it():
    true = 1 + lattice()
    vibration = StageVibration([0.4, 0.4], [0.8, 0.0], [0.1, 0.1])
    grid = Grid(true.shape, SAMPLING)
    fy, fx = grid.frequencies()
    qx, qy = (jnp.stack([q, q]) for q in jnp.broadcast_arrays(fx[None], fy[:, None]))
    blurred = jnp.fft.ifft2(jnp.fft.fft2(jnp.asarray(true))[None] * vibration.transfer(qx, qy)).real
    images = Images(blurred, np.zeros((2, 3)), grid)
    inner = (slice(12, -12), slice(12, -12))
    before = error(blurred[0][inner], true[inner])
    errors = [error(deconvolved(images, vibration, n).data[0][inner], true[inner]) for n in (2, 8, 32)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.25 * before
    assert error(deconvolved(images, vibration, 8).data[1][inner], true[inner]) < 0.3 * before


def test_vibration_is_found_from_references():
    true = lattice()
    grid = Grid(true.shape, SAMPLING)
    vibration = StageVibration([0.4, 2.0, 1.0], [0.5, 0.25, 0.02], 0.1)
    fy, fx = grid.frequencies()
    qx, qy = (jnp.stack([q] * 3) for q in jnp.broadcast_arrays(fx[None], fy[:, None]))
    blurred = jnp.fft.ifft2(jnp.fft.fft2(jnp.asarray(true))[None] * vibration.transfer(qx, qy)).real
    noise = np.random.default_rng(4).normal(size=blurred.shape)
    reference = Images(np.stack([true] * 3), np.zeros((3, 3)), grid)
    found = jaxaet.find_vibration(Images(1.7 * blurred + 5 + noise, np.zeros((3, 3)), grid), reference)
    np.testing.assert_allclose(found.amplitude[:2], vibration.amplitude[:2], atol=0.03)
    assert float(found.amplitude[2]) < 0.12
    turned = np.asarray(found.direction[:2] - vibration.direction[:2])
    np.testing.assert_allclose(np.sin(turned), 0.0, atol=0.1)


def test_what_cannot_be_restored_is_refused():
    with pytest.raises(InputError, match="too small for block matching"):
        block_matched(jnp.zeros((30, 64)))
    with pytest.raises(InputError, match="local minima, too few"):
        hollow_background(np.ones((64, 64)), SAMPLING)
    grid = Grid((8, 8), SAMPLING)
    one, two = (Images(np.ones((k, 8, 8)), np.zeros((k, 3)), grid) for k in (1, 2))
    with pytest.raises(InputError, match="one reference for each image"):
        jaxaet.find_vibration(one, two)
