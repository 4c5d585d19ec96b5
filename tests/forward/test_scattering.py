"""Scattering factors against closed forms: the hydrogen atom, g = 0 and the Rutherford limit."""

import ase.data
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from jax.test_util import check_grads

from jaxaet.core import InputError
from jaxaet.forward.scattering import electron_form_factor, species_table

BOHR = 0.529177210903  # Å, CODATA 2018
ELEMENTS = tuple(ase.data.chemical_symbols[1:104])
elements = st.sampled_from(ELEMENTS)


def test_forward_scattering_is_twice_the_sum_of_a():
    a, _ = species_table(ELEMENTS)
    np.testing.assert_allclose(electron_form_factor(ELEMENTS, jnp.zeros(())), 2 * a.sum(1), rtol=1e-12)


def test_hydrogen_is_the_first_born_1s_atom():
    """f_e = (1 - 1 / (1 + π² a₀² g²)²) / (2π² a₀ g²): fixes the units of f and of g at once."""
    g = np.linspace(0.05, 10, 200)
    exact = (1 - 1 / (1 + (np.pi * BOHR * g) ** 2) ** 2) / (2 * np.pi**2 * BOHR * g**2)
    np.testing.assert_allclose(electron_form_factor(("H",), jnp.asarray(g))[0], exact, rtol=1e-4)


def test_large_angles_follow_rutherford():
    """f_e → Z / (2π² a₀ g²), the Mott-Bethe limit of a bare nucleus, for every element of the table."""
    g = 1e5
    rutherford = np.arange(1, len(ELEMENTS) + 1) / (2 * np.pi**2 * BOHR * g**2)
    np.testing.assert_allclose(electron_form_factor(ELEMENTS, jnp.asarray(g)), rutherford, rtol=1e-5)


@given(symbol=elements, g=st.floats(0, 15))
def test_positive_and_falling(symbol, g):
    f = electron_form_factor((symbol,), jnp.asarray([g, g + 0.1]))[0]
    assert f[0] > f[1] > 0


@given(symbols=st.tuples(elements, elements), g=st.floats(0.1, 8))
def test_gradient(symbols, g):
    check_grads(
        lambda x: electron_form_factor(symbols, x), (jnp.asarray([[g, g + 0.3]]),), order=2, modes=("fwd", "rev")
    )


def test_gradient_vanishes_at_the_origin():
    check_grads(lambda x: electron_form_factor(("W", "S"), x), (jnp.zeros(2),), order=1, modes=("rev",))


def test_unknown_symbol_is_named():
    with pytest.raises(InputError, match=r"\['Xx'\].*chemical symbols"):
        electron_form_factor(("Mo", "Xx"), jnp.zeros(3))
