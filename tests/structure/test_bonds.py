"""Bonds are those of the honeycomb, whatever is missing from it and however the image is stretched."""

import numpy as np
import pytest
from structure_cases import BOND, honeycomb, turned

from jaxaet.core import InputError
from jaxaet.structure import bond_lengths, full_width, nearest_distances


def test_each_bond_of_a_perfect_sheet_is_found_once():
    sheet = honeycomb(20.0)
    apart = np.linalg.norm(sheet[:, None] - sheet[None], axis=-1)
    lengths = bond_lengths(sheet)
    assert len(lengths) == np.count_nonzero(np.triu(apart < 1.6, 1))
    np.testing.assert_allclose(lengths, BOND, rtol=1e-6)


def test_a_vacancy_takes_its_three_bonds_and_adds_none():
    sheet = honeycomb(20.0)
    hole = np.linalg.norm(sheet, axis=1).argmin()
    assert len(bond_lengths(np.delete(sheet, hole, axis=0))) == len(bond_lengths(sheet)) - 3


def test_two_of_three_neighbours_make_bonds_look_short():
    # The distortion of the published image: bonds of 1.455, 1.412 and 1.368 Å, two of which average 1.390 Å.
    rotation = turned(np.deg2rad(20))
    sheet = honeycomb(40.0) @ (rotation @ np.diag([0.958, 1.029]) @ rotation.T)
    inside = np.abs(sheet).max(axis=1) < 15
    three, two = bond_lengths(sheet), nearest_distances(sheet)[inside]
    assert three.mean() == pytest.approx(1.412, abs=0.003)
    assert two.mean() == pytest.approx(1.390, abs=0.003)


def test_the_width_of_a_normal_distribution_is_2_355_deviations():
    lengths = np.random.default_rng(0).normal(1.42, 0.05, 200_000)
    assert full_width(lengths) == pytest.approx(2.355 * 0.05, rel=0.05)


def test_too_few_atoms_are_refused():
    with pytest.raises(InputError, match="3 atoms were given"):
        bond_lengths(np.zeros((3, 2)))
    with pytest.raises(InputError, match="no bond lengths"):
        full_width(np.zeros(0))
