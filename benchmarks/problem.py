"""The specimen and the microscope that everything here is measured on."""

import jax
import numpy as np

from jaxaet.core import Grid
from jaxaet.instrument import AnnularDetector, Beam, Microscope, Tilts
from jaxaet.specimen import Atoms, paper_heterojunction

DOSE = 3.8e5 / 12  # electrons per Å² in each image, AET paper


def specimen(half_width: float) -> Atoms:
    """The paper's heterojunction, or the part of it within `half_width` (Å) of the origin along x and y."""
    atoms = paper_heterojunction(jax.random.key(0))
    return atoms.select(np.max(np.abs(np.asarray(atoms.positions[:, :2])), axis=1) <= half_width)


def microscope(pixels: int, offset: float) -> Microscope:
    """The paper's microscope on `pixels`² of 0.32 Å; `offset`: background in counts."""
    beam, detector = Beam(6e4, 0.038, 0.7, DOSE), AnnularDetector(0.05, 0.21)
    return Microscope(beam, detector, Tilts.heterojunction(), Grid((pixels, pixels), 0.32), offset=offset)
