"""Counting finds the fraction that was put in, and Vegard's law turns it into a lattice constant and back."""

import numpy as np
import pytest

from jaxaet.core import InputError
from jaxaet.structure import substituted_fraction, vegard_fraction, vegard_lattice


def test_columns_of_two_atoms_are_counted_by_atoms():
    host, guest = np.array([1, 1, 1, 0], bool), np.array([0, 1, 1, 1], bool)  # S2, SSe, SSe, Se2
    assert substituted_fraction(host, guest)[0] == pytest.approx(4 / 8)
    # The published n_Se / (2 n_S + n_Se), with both classes overlapping, would be 3 / 9.


@pytest.mark.parametrize("share", [0.02, 0.12])
def test_the_error_is_that_of_counting(share):
    generator, found = np.random.default_rng(0), []
    for _ in range(400):
        guests = (generator.uniform(size=(500, 2)) < share).sum(axis=1)
        fraction, error = substituted_fraction(guests < 2, guests > 0)
        found.append((fraction - share) / error)
    assert abs(np.mean(found)) < 0.3
    assert 0.85 < np.std(found) < 1.25


def test_half_way_between_the_ends_is_half_substituted():
    ends = (3.15, 3.33)
    assert vegard_lattice(0.5, ends) == pytest.approx(3.24)  # of WSSe in Houston et al. (2025)
    assert vegard_fraction(vegard_lattice(0.12, ends), ends) == pytest.approx(0.12)


def test_columns_without_an_atom_are_refused():
    with pytest.raises(InputError, match="1 of 2 columns hold neither"):
        substituted_fraction(np.array([True, False]), np.array([False, False]))
