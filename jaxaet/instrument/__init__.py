"""What looks: beam, detectors, tilts, and the microscope that holds them."""

from jaxaet.instrument.beam import Beam as Beam
from jaxaet.instrument.detector import AnnularDetector as AnnularDetector
from jaxaet.instrument.microscope import Microscope as Microscope
from jaxaet.instrument.tilts import Tilts as Tilts
