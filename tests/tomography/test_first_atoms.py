"""From a volume to atoms, on specimens with known answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import KDTree

from jaxaet.core import Grid, Images, Volume, project
from jaxaet.tomography import (
    Deblurring,
    back_project,
    classify,
    elongation,
    keep_apart,
    merge_close,
    missing_atoms,
    reconstruct,
    species_weights,
    trace,
)

WIDTH, SAMPLING = 0.6, 0.4
ANGLES = np.deg2rad([[0.0, tilt, 0.0] for tilt in np.arange(-75, 76, 10)])
EXTENT = (16.0, 16.0, 16.0)


def spots(positions, angles=ANGLES, shape=(48, 48)):
    """Images of Gaussian atoms of 100 counts each."""
    grid = Grid(shape, SAMPLING)
    y, x = grid.coordinates()
    seen = np.asarray(project(jnp.asarray(positions), jnp.asarray(angles)))
    distance = (np.asarray(x)[None, None, None] - seen[..., 0, None, None]) ** 2
    distance = distance + (np.asarray(y)[None, None, :, None] - seen[..., 1, None, None]) ** 2
    peak = 100 * SAMPLING**2 / (2 * np.pi * WIDTH**2)
    return Images(peak * np.exp(-0.5 * distance / WIDTH**2).sum(axis=1), angles, grid)


@pytest.fixture(scope="module")
def cluster():
    points = np.random.default_rng(0).uniform(-5, 5, (400, 3))
    return points[keep_apart(points, 2.2)][:40]


def test_every_atom_of_a_cluster_is_traced(cluster):
    volume = reconstruct(spots(cluster), Deblurring(WIDTH, 60), EXTENT, 0.4)
    found, heights = trace(volume, 1.6, 0.3)
    strongest = found[: len(cluster)]
    distance, index = KDTree(strongest).query(cluster)
    assert sorted(index) == list(range(len(cluster)))
    assert np.sqrt(np.mean(distance**2)) < 0.15
    assert np.all(np.diff(heights) <= 1e-9)


def test_the_volume_explains_the_images(cluster):
    volume = reconstruct(spots(cluster), Deblurring(WIDTH, 60), EXTENT, 0.4)
    assert float(volume.data.min()) >= 0
    np.testing.assert_allclose(float(volume.data.sum()), 100 * len(cluster), rtol=0.03)


def test_back_projection_is_the_adjoint_of_projection():
    # <A v, b> = <v, A^T b> for A the sum of unit Gaussians at projected voxels.
    random = np.random.default_rng(1)
    images = spots(np.zeros((1, 3)))
    images = Images(random.normal(size=images.data.shape), images.angles, images.grid)
    point = np.array([[1.2, -0.4, 0.8]])
    shape = (8, 8, 8)
    volume = np.asarray(back_project(images, WIDTH, shape, 0.4, jnp.zeros((len(ANGLES), 2))))
    index = tuple(np.rint(point[0] / 0.4).astype(int) + 4)
    drawn = np.asarray(spots(point).data) / 100
    smooth = np.sum(drawn * np.asarray(images.data))
    assert abs(volume[index] - smooth) < 0.05 * np.linalg.norm(drawn)


def test_peak_position_of_a_parabola_is_exact():
    axis = np.arange(-4.0, 5.0)
    centre = np.array([0.3, -0.2, 0.4])
    grids = np.meshgrid(axis, axis, axis, indexing="ij")
    bowl = 60 - sum((grid - shift) ** 2 for grid, shift in zip(grids, centre, strict=True))
    found, heights = trace(Volume(np.maximum(bowl, 0), (-2.0, -2.0, -2.0), 0.5), 1.0, 1e-6)
    np.testing.assert_allclose(found[0], 0.5 * centre, atol=1e-5)
    np.testing.assert_allclose(heights[0], 60.0, rtol=1e-5)


def test_an_empty_volume_has_no_atoms():
    found, heights = trace(Volume(np.zeros((6, 6, 6)), np.zeros(3), 0.5), 1.0, 0.3)
    assert found.shape == (0, 3)
    assert heights.shape == (0,)


def test_keep_apart_keeps_the_first_of_close_points():
    points = np.array([[0.0, 0, 0], [0.5, 0, 0], [2.0, 0, 0]])
    assert list(keep_apart(points, 1.0)) == [0, 2]
    assert list(keep_apart(points[[1, 0, 2]], 1.0)) == [0, 2]


def test_a_missing_atom_is_found_with_its_strength(cluster):
    images, rest = spots(cluster), cluster[1:]
    residual = Images(images.data - spots(rest).data, images.angles, images.grid)
    found, strength = missing_atoms(
        residual, jnp.ones_like(images.data), WIDTH, EXTENT, 0.4, jnp.zeros((len(ANGLES), 2)), rest, 1.0
    )
    assert np.linalg.norm(found[0] - cluster[0]) < 0.2
    np.testing.assert_allclose(strength[0], 100, rtol=0.1)


def test_an_unresolved_pair_is_told_from_an_atom_and_the_score_has_unit_variance():
    arm, shifts = jnp.asarray([0.0, 0.0, 1.0]), jnp.zeros((len(ANGLES), 2))
    centre = np.zeros((1, 3))
    mean = spots(centre)
    score = jax.jit(lambda data: elongation(
        Images(data - mean.data, mean.angles, mean.grid), 1 / (mean.data + 2), WIDTH, shifts, jnp.asarray(centre), arm
    )[0][0])  # fmt: skip
    pair = 0.5 * (spots(centre + np.asarray(arm)).data + spots(centre - np.asarray(arm)).data)
    assert float(score(pair)) > 10
    random = np.random.default_rng(2)
    noise = [
        float(score(mean.data + jnp.asarray(random.normal(size=mean.data.shape)) * jnp.sqrt(mean.data + 2)))
        for _ in range(60)
    ]
    assert 0.6 < np.std(noise) < 1.5
    assert abs(np.mean(noise)) < 0.6


def test_close_points_are_joined_where_their_weight_is():
    points = np.array([[0.0, 0, 0], [0.5, 0, 0], [3.0, 0, 0]])
    joined, weights, count = merge_close(points, np.array([1.0, 3.0, 2.0]), 1.0)
    np.testing.assert_allclose(joined, [[0.375, 0, 0], [3.0, 0, 0]])
    np.testing.assert_allclose(weights, [4.0, 2.0])
    assert list(count) == [2, 1]


def test_classes_by_table_and_by_clusters():
    random = np.random.default_rng(3)
    true = random.integers(0, 2, 300)
    weights = np.array([1.0, 2.6])[true] * np.exp(0.05 * random.normal(size=300))
    by_clusters = species_weights(7 * weights, np.array([1.0, 5.0]))
    assert np.array_equal(classify(7 * weights, by_clusters), true)
    by_table = species_weights(weights, np.array([1.0, 2.6]), doubt=0.0)
    assert np.array_equal(classify(weights, by_table), true)


def test_four_elements_are_told_apart_at_another_contrast_and_among_wrong_atoms():
    random = np.random.default_rng(5)
    expected = np.array([1.0, 0.202, 2.42, 0.685])  # Mo, S, W, Se
    true = random.choice(4, 1500, p=[0.25, 0.5, 0.1, 0.15])
    weights = 0.8 * expected[true] ** 0.75 * np.exp(0.1 * random.normal(size=true.size))
    wrong = random.uniform(0.02, 1.5, 150)
    typical = species_weights(np.r_[weights, wrong], expected)
    np.testing.assert_allclose(typical, 0.8 * expected**0.75, rtol=0.04)
    assert np.mean(classify(weights, typical) == true) > 0.95


def test_many_faint_peaks_of_noise_do_not_change_what_an_atom_weighs():
    random = np.random.default_rng(4)
    atoms, noise = random.normal(1.0, 0.05, 200), random.uniform(0.01, 0.15, 400)
    np.testing.assert_allclose(species_weights(np.r_[noise, atoms], np.ones(1)), 1.0, atol=0.03)
