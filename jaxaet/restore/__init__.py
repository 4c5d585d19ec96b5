"""Raw frames → a clean tilt series: drift."""

from jaxaet.restore.drift import Drift as Drift, find_drift as find_drift, undrifted as undrifted
