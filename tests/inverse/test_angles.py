"""Angle calibration on sheets with known answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxaet.core import InputError, project, rotation_matrix
from jaxaet.instrument import Tilts
from jaxaet.inverse import calibrate_angles, find_peaks, fit_peaks, match_sheet
from jaxaet.specimen import paper_heterojunction


@pytest.fixture(scope="module")
def metals():
    atoms = paper_heterojunction(jax.random.key(3))
    return np.asarray(atoms.positions, float)[np.isin(atoms.labels, (0, 2))]


def angle_error(found, true):
    """Root-mean-square angle in degrees between orientations, after one common rotation, of either hand."""
    errors = []
    for hand in (1, -1):
        found_matrix = np.asarray(rotation_matrix(jnp.asarray(found * np.array([1, hand, hand]))))
        true_matrix = np.asarray(rotation_matrix(jnp.asarray(true)))
        u, _, vt = np.linalg.svd(np.einsum("kij,klj->il", true_matrix, found_matrix))
        common = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
        relative = np.einsum("kji,jl,kln->kin", true_matrix, common, found_matrix)
        cosine = (np.trace(relative, axis1=1, axis2=2) - 1) / 2
        errors.append(np.sqrt((np.rad2deg(np.arccos(np.clip(cosine, -1, 1))) ** 2).mean()))
    return min(errors)


def test_angles_of_table_s2_are_found_from_nominal_ones_30_degrees_off(metals):
    true = np.asarray(Tilts.heterojunction().angles)
    nominal = np.asarray(Tilts.heterojunction_nominal().angles)
    peaks = np.asarray(project(jnp.asarray(metals), jnp.asarray(true)))
    noisy = peaks + 0.03 * np.random.default_rng(0).normal(size=peaks.shape)
    result = calibrate_angles(match_sheet(list(noisy)), nominal)
    assert angle_error(result.angles, true) < 0.15
    np.testing.assert_allclose(result.residual, 0.03, rtol=0.25)


def test_the_stated_gauge_holds(metals):
    true = np.asarray(Tilts.heterojunction().angles)
    tracks = np.asarray(project(jnp.asarray(metals[:200] + 3.0), jnp.asarray(true)))
    result = calibrate_angles(tracks, true)
    np.testing.assert_allclose(result.positions.mean(axis=0), 0.0, atol=1e-6)
    np.testing.assert_allclose(result.angles[0, 0], 0.0, atol=1e-6)
    spread = np.linalg.svd(result.positions, full_matrices=False)[2]
    np.testing.assert_allclose(np.abs(spread[2]), [0, 0, 1], atol=1e-5)


def test_too_few_tracks_are_refused():
    with pytest.raises(InputError, match="track at least 8 through 3"):
        calibrate_angles(np.zeros((2, 20, 2)), np.zeros((2, 3)))


def test_gaussian_fits_find_isolated_peaks_below_a_hundredth_of_a_pixel():
    y, x = np.mgrid[-20:21, -24:25] * 0.3
    true = np.array([[-3.07, 1.02], [0.55, -2.2], [4.1, 3.33]])
    image = 5 + sum(40 * np.exp(-0.5 * ((x - a) ** 2 + (y - b) ** 2) / 0.7**2) for a, b in true)
    found, _ = find_peaks(image, 0.3, 0.3, 5.0)
    fitted = fit_peaks(image[None], [found], 0.3, 0.6)[0][0]
    order = np.argsort(fitted[:, 0])
    np.testing.assert_allclose(fitted[order], true, atol=0.003)
