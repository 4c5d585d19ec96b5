"""Rotations against SciPy and against geometry."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given, strategies as st
from jax.test_util import check_grads
from scipy.spatial.transform import Rotation
from strategies import angles, arrays

from jaxaet.core import euler_angles, project, rigid_alignment, rotation_matrix


@given(angles=arrays((4, 3), -4.0, 4.0))
def test_matrices_are_products_of_turns_about_z_y_x(angles):
    about_z, about_y, about_x = (Rotation.from_rotvec(angles[:, [i]] * np.eye(3)[2 - i]).as_matrix() for i in range(3))
    np.testing.assert_allclose(rotation_matrix(jnp.asarray(angles)), about_z @ about_y @ about_x, atol=1e-12)


@given(angles=angles())
def test_angles_survive_the_matrix_and_back(angles):
    np.testing.assert_allclose(euler_angles(rotation_matrix(jnp.asarray(angles))), angles, atol=1e-9)


@given(angles=angles(), positions=arrays((5, 3), -50, 50))
def test_atoms_are_seen_by_the_inverse_rotation(angles, positions):
    expected = Rotation.from_euler("ZYX", angles).inv().apply(positions)[:, :2]
    seen = project(jnp.asarray(positions), jnp.asarray(angles)[None])
    np.testing.assert_allclose(seen[0], expected, atol=1e-10)


# Spread along all three axes, so that the best rotation is unique.
@given(scatter=arrays((6, 3), -1, 1), angles=angles(), shift=arrays((3,), -20, 20))
def test_alignment_finds_the_rigid_motion(scatter, angles, shift):
    points = scatter + 10 * np.array([[1, 0, 0], [-1, 0, 0], [0, 2, 0], [0, -2, 0], [0, 0, 3], [0, 0, -3.5]])
    rotation = Rotation.from_euler("ZYX", angles).as_matrix()
    found, translation = rigid_alignment(jnp.asarray(points), jnp.asarray(points @ rotation.T + shift))
    np.testing.assert_allclose(found, rotation, atol=1e-10)
    np.testing.assert_allclose(translation, shift, atol=1e-8)


@given(seed=st.integers(0, 1000))
def test_alignment_is_as_good_as_scipys_and_never_a_mirror(seed):
    """The mirror image of a cloud fits best by a mirror; the answer must still be a rotation, the best one."""
    fixed = np.random.default_rng(seed).normal(size=(8, 3))
    moving = fixed * [1, 1, -1]
    moving, fixed = moving - moving.mean(axis=0), fixed - fixed.mean(axis=0)
    rotation, translation = rigid_alignment(jnp.asarray(moving), jnp.asarray(fixed))
    assert np.linalg.det(rotation) > 0
    residual = np.linalg.norm(moving @ np.asarray(rotation).T + np.asarray(translation) - fixed)
    np.testing.assert_allclose(residual, Rotation.align_vectors(fixed, moving)[1], rtol=1e-8)


def test_rotation_and_projection_have_exact_gradients():
    seen = lambda point, angles: project(jnp.asarray(point), jnp.asarray(angles))  # noqa: E731
    check_grads(seen, (jnp.array([[1.0, -2.0, 3.0]]), jnp.array([[0.3, -0.4, 0.5]])), order=2)
