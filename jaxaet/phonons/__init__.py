"""How the atoms move: interatomic energies, force constants, modes, densities of states, unfolding, localisation."""

from jaxaet.phonons.density import (
    density_of_states as density_of_states,
    gaussian as gaussian,
    lorentzian as lorentzian,
    projected_density as projected_density,
    total_density as total_density,
)
from jaxaet.phonons.energy import Energy as Energy, forces as forces
from jaxaet.phonons.force_constants import (
    ForceConstants as ForceConstants,
    force_constants as force_constants,
    from_matrix as from_matrix,
    gauss_newton_constants as gauss_newton_constants,
    thermal_constants as thermal_constants,
)
from jaxaet.phonons.localisation import (
    enrichment as enrichment,
    interface_participation as interface_participation,
    interface_weights as interface_weights,
    mode_participation as mode_participation,
    participation_ratio as participation_ratio,
    window_participation as window_participation,
)
from jaxaet.phonons.modes import (
    Modes as Modes,
    find_modes as find_modes,
    group_velocities as group_velocities,
    half_mesh as half_mesh,
    mean_energy as mean_energy,
    mesh as mesh,
    mode_energies as mode_energies,
    path as path,
)
from jaxaet.phonons.moments import random_signs as random_signs, sampled_density as sampled_density
from jaxaet.phonons.residual import BulkFit as BulkFit, Peak as Peak, bulk_fit as bulk_fit, peaks as peaks
from jaxaet.phonons.stillinger_weber import StillingerWeber as StillingerWeber
from jaxaet.phonons.topology import Topology as Topology, find_topology as find_topology
from jaxaet.phonons.unfold import (
    Sites as Sites,
    assign_sites as assign_sites,
    spectral_function as spectral_function,
    unfold as unfold,
)
from jaxaet.phonons.valence import (
    ValenceForceField as ValenceForceField,
    reference_frequencies as reference_frequencies,
)
