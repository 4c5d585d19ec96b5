"""Atoms to meaning: bonds, lattices, registry and composition of stacked layers, from the positions alone."""

from jaxaet.structure.bonds import (
    bond_lengths as bond_lengths,
    full_width as full_width,
    nearest_distances as nearest_distances,
)
from jaxaet.structure.composition import (
    substituted_fraction as substituted_fraction,
    vegard_fraction as vegard_fraction,
    vegard_lattice as vegard_lattice,
)
from jaxaet.structure.lattice import (
    TwistFit as TwistFit,
    twist_from_atoms as twist_from_atoms,
    twist_from_image as twist_from_image,
    undistorted as undistorted,
)
from jaxaet.structure.moire import (
    Registry as Registry,
    moire_registry as moire_registry,
    pixel_centres as pixel_centres,
)
from jaxaet.structure.preference import (
    PreferenceTests as PreferenceTests,
    bootstrap_density as bootstrap_density,
    planted_sites as planted_sites,
    preference_tests as preference_tests,
)
