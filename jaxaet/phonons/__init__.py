"""How the atoms move: interatomic energies, force constants, modes, densities of states, unfolding, localisation."""

from jaxaet.phonons.energy import Energy as Energy, forces as forces
from jaxaet.phonons.force_constants import (
    ForceConstants as ForceConstants,
    force_constants as force_constants,
    from_matrix as from_matrix,
    gauss_newton_constants as gauss_newton_constants,
    thermal_constants as thermal_constants,
)
from jaxaet.phonons.stillinger_weber import StillingerWeber as StillingerWeber
from jaxaet.phonons.topology import Topology as Topology, find_topology as find_topology
