"""Elastic electron scattering factors of neutral atoms.

Lobato & Van Dyck, Acta Cryst. A70 (2014) 636-649: five terms an element, with the right limits both at
g = 0 and at large g, where f goes to Z / (2π² a₀ g²).
"""

import json
from functools import cache
from importlib.resources import files

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxaet.core import InputError


@cache
def _parameters() -> dict[str, dict[str, list[float]]]:
    text = files("jaxaet.forward").joinpath("lobato2014.json").read_text(encoding="utf-8")
    return json.loads(text)["parameters"]


def species_table(symbols: tuple[str, ...]) -> tuple[Float[np.ndarray, "s 5"], Float[np.ndarray, "s 5"]]:
    """The parameters a (s, 5) in Å and b (s, 5) in Å² of each chemical symbol.

    Raises `InputError` for a symbol the table does not hold.
    """
    table = _parameters()
    unknown = sorted(set(symbols) - table.keys())
    if unknown:
        raise InputError(
            f"Species {unknown} have no scattering factor; use chemical symbols from H to Lr, such as 'Mo'."
        )
    a, b = (np.array([table[symbol][name] for symbol in symbols]).reshape(-1, 5) for name in ("a", "b"))
    return a, b


def electron_form_factor(symbols: tuple[str, ...], g: Float[Array, "*shape"]) -> Float[Array, "s *shape"]:
    """The scattering factor f_e(g) = Σᵢ aᵢ (2 + bᵢ g²) / (1 + bᵢ g²)² of each species, (s, *shape) in Å.

    `g`: spatial frequency, any shape, cycles per Å. For the electron's rest mass: multiply by
    `Beam.mass_ratio` for a moving one. Raises `InputError` for an unknown symbol.
    """
    a, b = (jnp.asarray(x, dtype=g.dtype).reshape(len(symbols), 5, *(1,) * g.ndim) for x in species_table(symbols))
    bg2 = b * jnp.broadcast_to(g**2, (1, 1, *g.shape))
    return jnp.sum(a * (2 + bg2) / (1 + bg2) ** 2, axis=1)
