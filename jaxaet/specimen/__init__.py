"""What is there: atoms, and builders of ideal specimens with known answers."""

from jaxaet.specimen.atoms import Atoms as Atoms
from jaxaet.specimen.crystal import (
    Crystal as Crystal,
    monolayer_cell as monolayer_cell,
    rectangular_cell as rectangular_cell,
    rectangular_multiples as rectangular_multiples,
    rectangular_sites as rectangular_sites,
)
from jaxaet.specimen.crystals import monolayer as monolayer
from jaxaet.specimen.defects import (
    with_ripple as with_ripple,
    with_substitutions as with_substitutions,
    with_vacancies as with_vacancies,
)
from jaxaet.specimen.heterojunction import (
    lateral_heterojunction as lateral_heterojunction,
    paper_heterojunction as paper_heterojunction,
)
from jaxaet.specimen.nanoparticle import nanoparticle as nanoparticle
from jaxaet.specimen.stacks import twisted_stack as twisted_stack
from jaxaet.specimen.supercell import InterfaceCell as InterfaceCell, interface_cell as interface_cell
