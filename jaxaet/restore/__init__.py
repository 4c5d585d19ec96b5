"""Raw frames → a clean tilt series: drift, noise, background, vibration."""

from jaxaet.restore.alignment import centre_of_mass as centre_of_mass, common_line as common_line
from jaxaet.restore.background import (
    hollow_background as hollow_background,
)
from jaxaet.restore.block_matching import block_matched as block_matched
from jaxaet.restore.deconvolve import deconvolved as deconvolved, kernel as kernel
from jaxaet.restore.denoise import denoised as denoised
from jaxaet.restore.drift import Drift as Drift, find_drift as find_drift, undrifted as undrifted
from jaxaet.restore.stabilise import (
    destabilised as destabilised,
    frame_noise as frame_noise,
    stabilised as stabilised,
)
