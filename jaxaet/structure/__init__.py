"""Atoms to meaning: bonds, lattices, registry and composition of stacked layers, from the positions alone."""

from jaxaet.structure.bonds import (
    bond_lengths as bond_lengths,
    full_width as full_width,
    nearest_distances as nearest_distances,
)
from jaxaet.structure.lattice import (
    TwistFit as TwistFit,
    twist_from_atoms as twist_from_atoms,
    twist_from_image as twist_from_image,
    undistorted as undistorted,
)
