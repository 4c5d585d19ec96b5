"""What looks: beam, detectors, tilts, stage vibration, and the microscope that holds them."""

from jaxaet.instrument.aberrations import Aberrations as Aberrations
from jaxaet.instrument.beam import Beam as Beam
from jaxaet.instrument.detector import AnnularDetector as AnnularDetector, SegmentedDetector as SegmentedDetector
from jaxaet.instrument.microscope import Microscope as Microscope, each_image as each_image
from jaxaet.instrument.tilts import Tilts as Tilts
from jaxaet.instrument.vibration import StageVibration as StageVibration
