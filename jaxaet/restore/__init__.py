"""Raw frames → a clean tilt series: drift, noise."""

from jaxaet.restore.drift import Drift as Drift, find_drift as find_drift, undrifted as undrifted
from jaxaet.restore.stabilise import (
    destabilised as destabilised,
    frame_noise as frame_noise,
    stabilised as stabilised,
)
