"""Stackings of two dichalcogenide sheets have the order parameters that their geometry gives."""

import numpy as np
import pytest
from structure_cases import honeycomb, turned

from jaxaet.core import InputError
from jaxaet.structure import moire_registry, pixel_centres

A = 3.19
D = A / np.sqrt(3)
METAL, CHALCOGEN = np.array([[1 / 3, 2 / 3]]), np.array([[2 / 3, 1 / 3]])
SHIFT = A * np.array([0.0, 1 / np.sqrt(3)])  # from a metal to a chalcogen


def sheet(angle=0.0, shift=(0.0, 0.0)):
    return tuple(honeycomb(40.0, angle, lattice=A, sites=sites, shift=shift) for sites in (METAL, CHALCOGEN))


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (sheet(), (D, D)),  # like on like
        (sheet(np.pi), (0, 0)),  # metals on chalcogens both ways
        (sheet(shift=-SHIFT), (0, D)),  # one way
        (sheet(shift=SHIFT), (D, 0)),
        (sheet(np.pi, SHIFT), (D, D)),  # like on like, and hollows
    ],
)
def test_perfect_stackings(other, expected):
    points = np.random.default_rng(0).uniform(-12, 12, (200, 2))
    found = moire_registry(points, sheet(), other)
    np.testing.assert_allclose(found.metal_on_chalcogen, expected[0], atol=1e-6)
    np.testing.assert_allclose(found.chalcogen_on_metal, expected[1], atol=1e-6)
    np.testing.assert_allclose(found.stacking, np.hypot(*expected), atol=1e-6)


def test_a_stack_turned_by_nearly_a_half_has_all_stackings():
    points, first, second = pixel_centres((60, 60), 0.4) + 0.0123, sheet(), sheet(np.pi + np.deg2rad(8))
    found = moire_registry(points, first, second)
    there = np.linalg.norm(closest(first[0], points) - closest(second[1], points), axis=1)
    np.testing.assert_allclose(found.metal_on_chalcogen, there)
    assert found.stacking.min() < 0.2 * D
    assert found.stacking.max() > np.sqrt(2) * D


def closest(atoms, points):
    return atoms[np.linalg.norm(atoms[None] - points[:, None], axis=-1).argmin(axis=1)]


def test_the_registry_does_not_depend_on_the_axes():
    points, turn = np.random.default_rng(1).uniform(-8, 8, (50, 2)), turned(0.7)
    plain = moire_registry(points, sheet(), sheet(0.2))
    other = moire_registry(points @ turn.T, *(tuple(p @ turn.T for p in layer) for layer in (sheet(), sheet(0.2))))
    np.testing.assert_allclose(plain.stacking, other.stacking, atol=1e-9)


def test_pixels_are_counted_from_the_middle_one():
    points = pixel_centres((4, 5), 0.5).reshape(4, 5, 2)
    np.testing.assert_array_equal(points[2, 2], 0)
    np.testing.assert_array_equal(points[3, 0], [-1.0, 0.5])


def test_a_layer_without_chalcogens_is_refused():
    with pytest.raises(InputError, match=r"Layer 2 has .* and 0 chalcogens"):
        moire_registry(np.zeros((1, 2)), sheet(), (sheet()[0], np.zeros((0, 2))))
