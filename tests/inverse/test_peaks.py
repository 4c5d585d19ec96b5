"""Gaussian fits of peaks say how good they are."""

import numpy as np

from jaxaet.inverse import fit_peaks

SAMPLING, WIDTH, SIDE = 0.25, 0.7, 41


def image_of(place: np.ndarray) -> np.ndarray:
    axis = (np.arange(SIDE) - SIDE // 2) * SAMPLING
    return 5 + 40 * np.exp(-0.5 * ((axis[None] - place[0]) ** 2 + (axis[:, None] - place[1]) ** 2) / WIDTH**2)


def test_covariances_are_the_scatter_of_repeated_images():
    place, noise = np.array([0.13, -0.31]), np.random.default_rng(0).normal(size=(300, SIDE, SIDE))
    points, covariances = fit_peaks(image_of(place) + noise, [place[None]] * 300, SAMPLING, WIDTH)
    away, covariances = np.concatenate(points) - place, np.concatenate(covariances)
    np.testing.assert_allclose(np.cov(away.T), covariances.mean(axis=0), rtol=0.25, atol=2e-6)
    chi2 = np.einsum("ni,nij,nj->n", away, np.linalg.inv(covariances), away)
    assert abs(chi2.mean() / 2 - 1) < 0.2  # the variance is itself estimated, from the few pixels of a window


def test_in_a_wide_window_it_is_the_closed_form():
    """Far more pixels than a peak covers: var x = 2 s² / (pi h²) in pixels², for white noise s and height h."""
    place, wide = np.zeros(2), 9 * SAMPLING
    axis = (np.arange(SIDE) - SIDE // 2) * SAMPLING
    narrow = 40 * np.exp(-0.5 * (axis[None] ** 2 + axis[:, None] ** 2) / (2.2 * SAMPLING) ** 2)
    noisy = narrow + np.random.default_rng(1).normal(size=(40, SIDE, SIDE))
    _, covariances = fit_peaks(noisy, [place[None]] * 40, SAMPLING, wide)
    variance = np.diagonal(np.concatenate(covariances), axis1=1, axis2=2).mean() / SAMPLING**2
    np.testing.assert_allclose(variance, 2 / (np.pi * 40**2), rtol=0.06)


def test_a_fit_that_runs_away_keeps_its_start_and_has_no_error():
    flat = np.random.default_rng(2).normal(size=(1, SIDE, SIDE)) * 1e-3
    flat[0] += 0.5 * np.arange(SIDE)  # a slope and no peak
    (points,), (covariances,) = fit_peaks(flat, [np.array([[0.0, 0.0]])], SAMPLING, WIDTH)
    np.testing.assert_allclose(points, 0, atol=1e-12)
    assert np.isnan(covariances).all()
