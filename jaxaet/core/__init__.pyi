from .errors import InputError as InputError, known as known
from .grid import Grid as Grid
from .images import Frames as Frames, Images as Images, Volume as Volume
from .rotations import (
    euler_angles as euler_angles,
    project as project,
    rigid_alignment as rigid_alignment,
    rotation_matrix as rotation_matrix,
)
