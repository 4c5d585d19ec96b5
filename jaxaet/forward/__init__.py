"""Specimen × instrument → images: scattering tables, the linear and the multislice model, noise."""

from jaxaet.forward.aberrated import Aberrated as Aberrated
from jaxaet.forward.cell import Cell as Cell
from jaxaet.forward.linear import Forward as Forward, Linear as Linear
from jaxaet.forward.methods import Direct as Direct, Prism as Prism
from jaxaet.forward.multislice import Multislice as Multislice
from jaxaet.forward.noise import (
    contamination as contamination,
    count as count,
    displaced as displaced,
    dose as dose,
    drift_path as drift_path,
    raw_frames as raw_frames,
)
from jaxaet.forward.plan_multislice import largest_stride as largest_stride
from jaxaet.forward.potential import AtomPlanes as AtomPlanes, Slabs as Slabs
from jaxaet.forward.probe import Lens as Lens
from jaxaet.forward.profile import (
    object_transfer as object_transfer,
    probe_profile as probe_profile,
    profile_error as profile_error,
)
from jaxaet.forward.splat import Dense as Dense, Tiled as Tiled
from jaxaet.forward.thermal import Blurred as Blurred, FrozenPhonons as FrozenPhonons, Snapshots as Snapshots
from jaxaet.forward.waves import diffraction_patterns as diffraction_patterns, exit_waves as exit_waves
