"""Elastic electron scattering factors of neutral atoms, and their expansion in Gaussians.

`lobato`: Lobato & Van Dyck, Acta Cryst. A70 (2014) 636-649: five terms an element, with the right limits both at g = 0
and at large g, where f goes to Z / (2π² a₀ g²). `kirkland`: Kirkland, Advanced Computing in Electron Microscopy (2010),
appendix C: three Lorentzians and three Gaussians an element.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Literal

import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jaxtyping import Array, Float

from jaxaet.core import InputError

Table = Literal["lobato", "kirkland"]

_FILES = {"lobato": "lobato2014.json", "kirkland": "kirkland2010.json"}
_LARGEST_G = 9.0  # 1/Å, to which the Gaussians hold: 440 mrad at 60 keV
_EXPONENTS = 1e-3 * 2.0 ** np.arange(19)  # Å²


@cache
def _parameters(table: Table) -> dict[str, dict[str, list[float]]]:
    text = files("jaxaet.forward").joinpath(_FILES[table]).read_text(encoding="utf-8")
    return json.loads(text)["parameters"]


def species_table(symbols: tuple[str, ...], table: Table = "lobato") -> tuple[Float[np.ndarray, "s t"], ...]:
    """The parameters of each chemical symbol, each (s, terms): a, b for Lobato and a, b, c, d for Kirkland.

    Raises `InputError` for a symbol the table does not hold.
    """
    known = _parameters(table)
    unknown = sorted(set(symbols) - known.keys())
    if unknown:
        raise InputError(
            f"Species {unknown} have no scattering factor; use chemical symbols from H to Lr, such as 'Mo'."
        )
    names = known["H"]
    return tuple(
        np.array([known[symbol][name] for symbol in symbols]).reshape(-1, len(known["H"][name])) for name in names
    )


def electron_form_factor(
    symbols: tuple[str, ...], g: Float[Array | np.ndarray, "*shape"], table: Table = "lobato"
) -> Float[Array | np.ndarray, "s *shape"]:
    """The scattering factor f_e(g) of each species, (s, *shape) in Å.

    Lobato: Σᵢ aᵢ (2 + bᵢ g²) / (1 + bᵢ g²)². Kirkland: Σᵢ aᵢ / (g² + bᵢ) + cᵢ exp(-dᵢ g²). `g`: spatial frequency, any
    shape, cycles per Å. For the electron's rest mass: multiply by `Beam.mass_ratio` for a moving one. Raises
    `InputError` for an unknown symbol.
    """
    a, b, *rest = (np.asarray(x, g.dtype).reshape(*x.shape, *(1,) * g.ndim) for x in species_table(symbols, table))
    library = np if isinstance(g, np.ndarray) else jnp
    g2 = library.broadcast_to(g**2, (1, 1, *g.shape))
    if table == "lobato":
        return library.sum(a * (2 + b * g2) / (1 + b * g2) ** 2, axis=1)
    c, d = rest
    return library.sum(a / (g2 + b) + c * library.exp(-d * g2), axis=1)


@cache
def gaussian_expansion(
    symbols: tuple[str, ...], table: Table = "lobato"
) -> tuple[Float[np.ndarray, "s t"], Float[np.ndarray, " t"]]:
    """The scattering factors as f_e(g) = Σ w exp(-v g²): weights w (s, t) in Å and exponents v (t,) in Å².

    The exponents, which all species share, are powers of two; the weights are the non-negative least-squares fit of
    the relative error over 0 < g ≤ 9 / Å, which stays below 1e-4 for the Lobato and 1e-3 for the Kirkland table of
    most elements. Raises `InputError` for an unknown symbol.
    """
    g = np.concatenate([np.linspace(0.0, 1.0, 60)[1:], np.geomspace(1.0, _LARGEST_G, 120)])
    basis = np.exp(-_EXPONENTS[None] * g[:, None] ** 2)
    factors = electron_form_factor(symbols, g, table)
    weights = [scipy.optimize.nnls(basis * (1 / f)[:, None], np.ones(len(g)))[0] for f in factors]
    return np.reshape(weights, (-1, len(_EXPONENTS))), _EXPONENTS
