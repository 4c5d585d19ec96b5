"""Randomness of the builders, which run on the host."""

import jax
import numpy as np
from jaxtyping import PRNGKeyArray


def host_generator(key: PRNGKeyArray) -> np.random.Generator:
    """A NumPy generator that draws the same numbers whenever it is made from the same `key`."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))
