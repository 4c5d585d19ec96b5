"""Units, grids, rotations, data on grids. Knows no physics."""

from jaxaet.core.errors import InputError as InputError
from jaxaet.core.grid import Grid as Grid
from jaxaet.core.images import Images as Images, Volume as Volume
from jaxaet.core.rotations import (
    euler_angles as euler_angles,
    project as project,
    rigid_alignment as rigid_alignment,
    rotation_matrix as rotation_matrix,
)
