from .core import (
    Grid as Grid,
    Images as Images,
    InputError as InputError,
    Volume as Volume,
    euler_angles as euler_angles,
    rigid_alignment as rigid_alignment,
    rotation_matrix as rotation_matrix,
)
from .forward import Linear as Linear, count as count
from .instrument import AnnularDetector as AnnularDetector, Beam as Beam, Microscope as Microscope, Tilts as Tilts
from .specimen import Atoms as Atoms

__version__: str
