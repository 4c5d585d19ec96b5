"""Specimen × instrument → images: scattering tables, the linear model, noise."""

from jaxaet.forward.linear import Forward as Forward, Linear as Linear
from jaxaet.forward.noise import count as count
from jaxaet.forward.profile import (
    object_transfer as object_transfer,
    probe_profile as probe_profile,
    profile_error as profile_error,
)
from jaxaet.forward.splat import Dense as Dense, Tiled as Tiled
