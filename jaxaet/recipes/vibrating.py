"""The vibration of the sheet, found between two fits."""

import equinox as eqx
import jax.numpy as jnp

from jaxaet.core import Images
from jaxaet.forward import Linear
from jaxaet.instrument import StageVibration
from jaxaet.inverse import Model, find_vibration
from jaxaet.recipes.config import RawFramesConfig
from jaxaet.recipes.pipeline import explained


def vibration_of(model: Model, images: Images, config: RawFramesConfig) -> StageVibration:
    """That with which the model's atoms explain the images best."""
    still = vibrating(model, None)
    dark = eqx.tree_at(
        lambda m: (m.offset, m.background), still.microscope, (jnp.zeros_like(still.microscope.offset), None),
        is_leaf=_none,
    )  # fmt: skip
    signal = eqx.filter_jit(Linear.plan(model.atoms, dark))(model.atoms, dark)
    under = explained(still, images, config) - signal.data
    return find_vibration(Images(images.data - under, images.angles, images.grid), signal, config.vibration.width_a)


def vibrating(model: Model, vibration: StageVibration | None) -> Model:
    """The model with this vibration of the sheet."""
    return eqx.tree_at(lambda m: m.microscope.vibration, model, vibration, is_leaf=_none)


def _none(leaf) -> bool:
    return leaf is None
