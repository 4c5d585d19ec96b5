"""Detectors."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float


class AnnularDetector(eqx.Module):
    """An annular detector that counts every electron scattered into its ring.

    `inner`, `outer`: collection semi-angles, rad. `response`: counts per electron relative to the
    tabulated cross-section, one number for all species, shape (), or one for each species, (s,).
    """

    inner: Float[Array, ""]
    outer: Float[Array, ""]
    response: Float[Array, "*s"]

    def __init__(self, inner, outer, response: ArrayLike | Sequence = 1.0):
        self.inner = jnp.asarray(inner, dtype=float)
        self.outer = jnp.asarray(outer, dtype=float)
        self.response = jnp.asarray(response, dtype=float)
