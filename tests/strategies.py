"""What Hypothesis draws: physics of any value, in few shapes so that little is compiled."""

from itertools import product

import numpy as np
from hypothesis import strategies as st

from jaxaet.core import Grid
from jaxaet.instrument import AnnularDetector, Beam, Microscope, Tilts
from jaxaet.specimen import Atoms

SPECIES = (("C",), ("Mo", "S"), ("Mo", "S", "W", "Se"))


def arrays(shape: tuple[int, ...], low: float, high: float) -> st.SearchStrategy[np.ndarray]:
    """Arrays of one shape with any values between two bounds."""
    size = int(np.prod(shape))
    return st.lists(st.floats(low, high), min_size=size, max_size=size).map(lambda v: np.reshape(v, shape))


def angles(limit: float = 1.5) -> st.SearchStrategy[np.ndarray]:
    """Three Euler angles (Z, Y, X) in rad, short of the pole of Y."""
    return arrays((3,), -limit, limit)


def atoms(counts=(1, 5), species=SPECIES, extent=6.0) -> st.SearchStrategy[Atoms]:
    """Atoms within `extent` Å of the origin whose composition rows sum to at most 1."""
    # Compiled here: JAX names its cache files at random, which Hypothesis forbids while it draws.
    for n, symbols in product(counts, species):
        Atoms(np.zeros((n, 3)), np.zeros((n, len(symbols))), np.zeros(n), symbols)
    return _atoms(counts, species, extent)


def microscopes(shapes=((24, 29),), images=(1, 2)) -> st.SearchStrategy[Microscope]:
    """Microscopes of the paper's kind, 30 to 300 keV."""
    beam, detector = Beam(60e3, 0.03), AnnularDetector(0.05, 0.2)
    for k in images:
        Microscope(
            beam, detector, Tilts(np.zeros((k, 3)), np.zeros((k, 2))), Grid((8, 8), 0.3), np.ones(k), np.zeros(k)
        )
    return _microscopes(shapes, images)


@st.composite
def _atoms(draw, counts, species, extent) -> Atoms:
    n, symbols = draw(st.sampled_from(counts)), draw(st.sampled_from(species))
    weights = draw(arrays((n, len(symbols)), 0.0, 1.0))
    weights = weights / np.maximum(1, weights.sum(axis=1, keepdims=True))
    return Atoms(draw(arrays((n, 3), -extent, extent)), weights, draw(arrays((n,), 1e-3, 0.05)), symbols)


@st.composite
def _microscopes(draw, shapes, images) -> Microscope:
    k = draw(st.sampled_from(images))
    inner = draw(st.floats(0.04, 0.09))
    return Microscope(
        Beam(draw(st.floats(30e3, 300e3)), draw(st.floats(0.015, 0.04)), draw(st.floats(0.1, 0.6)), 1e4),
        AnnularDetector(inner, inner + draw(st.floats(0.05, 0.15))),
        Tilts(draw(arrays((k, 3), -0.5, 0.5)), draw(arrays((k, 2), -1.0, 1.0))),
        Grid(draw(st.sampled_from(shapes)), draw(st.floats(0.2, 0.5))),
        draw(arrays((k,), 0.5, 2.0)),
        draw(arrays((k,), 0.0, 2.0)),
    )
