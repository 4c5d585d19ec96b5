from .core import (
    Grid as Grid,
    Images as Images,
    InputError as InputError,
    Volume as Volume,
    euler_angles as euler_angles,
    rigid_alignment as rigid_alignment,
    rotation_matrix as rotation_matrix,
)
from .forward import (
    Blurred as Blurred,
    Dense as Dense,
    FrozenPhonons as FrozenPhonons,
    Linear as Linear,
    Multislice as Multislice,
    Snapshots as Snapshots,
    Tiled as Tiled,
    count as count,
)
from .instrument import (
    Aberrations as Aberrations,
    AnnularDetector as AnnularDetector,
    Beam as Beam,
    Microscope as Microscope,
    SegmentedDetector as SegmentedDetector,
    StageVibration as StageVibration,
    Tilts as Tilts,
)
from .inverse import (
    DefectCorrection as DefectCorrection,
    DenseGaussNewton as DenseGaussNewton,
    FirstOrder as FirstOrder,
    Gaussian as Gaussian,
    GaussNewton as GaussNewton,
    GridScan as GridScan,
    JointGradients as JointGradients,
    Model as Model,
    Poisson as Poisson,
    Problem as Problem,
    Solution as Solution,
    TrueGradients as TrueGradients,
    calibrate_angles as calibrate_angles,
    find_peaks as find_peaks,
    find_vibration as find_vibration,
    fisher as fisher,
    fit_peaks as fit_peaks,
    match_sheet as match_sheet,
    r1_factor as r1_factor,
    r_factor as r_factor,
    refine as refine,
    solve as solve,
)
from .io import (
    from_ase as from_ase,
    load_atoms as load_atoms,
    load_frames as load_frames,
    load_tilt_series as load_tilt_series,
    save_atoms as save_atoms,
    save_tilt_series as save_tilt_series,
    to_ase as to_ase,
)
from .specimen import (
    Atoms as Atoms,
    lateral_heterojunction as lateral_heterojunction,
    monolayer as monolayer,
    nanoparticle as nanoparticle,
    paper_heterojunction as paper_heterojunction,
    twisted_stack as twisted_stack,
    with_ripple as with_ripple,
    with_substitutions as with_substitutions,
    with_vacancies as with_vacancies,
)
from .tomography import (
    Deblurring as Deblurring,
    Genfire as Genfire,
    Resire as Resire,
    Windows as Windows,
    fourier_shell_correlation as fourier_shell_correlation,
    reconstruct as reconstruct,
    scanned as scanned,
    trace as trace,
)

__version__: str
