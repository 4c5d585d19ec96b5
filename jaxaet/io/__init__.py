"""Files and other programs. The only room that knows formats, ASE and RosettaSciIO."""

from jaxaet.io.abtem import (
    from_abtem as from_abtem,
    to_abtem as to_abtem,
    to_abtem_potential as to_abtem_potential,
)
from jaxaet.io.atoms import (
    from_ase as from_ase,
    load_atoms as load_atoms,
    load_error_bars as load_error_bars,
    save_atoms as save_atoms,
    to_ase as to_ase,
)
from jaxaet.io.checks import check_counts as check_counts
from jaxaet.io.image import load_image as load_image
from jaxaet.io.phonopy import (
    calculator_forces as calculator_forces,
    displaced_constants as displaced_constants,
    fitted_constants as fitted_constants,
    from_phonopy as from_phonopy,
    load_phonons as load_phonons,
    to_phonopy as to_phonopy,
)
from jaxaet.io.results import load_arrays as load_arrays, save_arrays as save_arrays, save_table as save_table
from jaxaet.io.save import save_tilt_series as save_tilt_series
from jaxaet.io.tilt_series import (
    TiltSeries as TiltSeries,
    load_frames as load_frames,
    load_tilt_series as load_tilt_series,
)
