"""What the images show beside the atoms: the vibration of the sheet, and what lies under it."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jaxaet.core import Images
from jaxaet.forward import Linear
from jaxaet.instrument import Microscope, StageVibration
from jaxaet.inverse import Model, find_vibration
from jaxaet.recipes.config import RawFramesConfig
from jaxaet.restore import smooth_background


def surroundings(config: RawFramesConfig, model: Model, images: Images) -> dict:
    """Vibration and background with which the model's atoms explain the images best, as arrays."""
    options, microscope = config.surroundings, model.microscope
    found = {}
    still = without(microscope)
    dark = eqx.tree_at(lambda m: m.offset, still, jnp.zeros_like(still.offset))
    seen = np.asarray(_signal(Model(model.atoms, dark)))
    if options.vibration != "none":
        data = Images(images.data - microscope.pedestal, images.angles, images.grid)
        vibration = find_vibration(data, Images(seen, images.angles, images.grid), options.width_a)
        found |= {name: np.asarray(leaf) for name, leaf in vars(vibration).items()}
        moving = eqx.tree_at(lambda m: m.vibration, dark, vibration, is_leaf=_none)
        seen = np.asarray(_signal(Model(model.atoms, moving)))
    if options.correlation_a is not None:
        sampling = float(images.grid.sampling)
        left = np.asarray(images.data) - seen
        under = np.stack([smooth_background(image, sampling, options.correlation_a) for image in left])
        middle = np.median(under, axis=(1, 2))
        found |= {"offset": middle, "background": under - middle[:, None, None]}
    return found


def with_surroundings(microscope: Microscope, found: dict) -> Microscope:
    """The microscope that shows them."""
    if "amplitude" in found:
        vibration = StageVibration(found["direction"], found["amplitude"], found["width"])
        microscope = eqx.tree_at(lambda m: m.vibration, microscope, vibration, is_leaf=_none)
    if "background" in found:
        parts = tuple(jnp.asarray(found[name], microscope.offset.dtype) for name in ("offset", "background"))
        microscope = eqx.tree_at(lambda m: (m.offset, m.background), microscope, parts, is_leaf=_none)
    return microscope


def without(microscope: Microscope) -> Microscope:
    """The microscope over a sheet at rest with nothing under it."""
    return eqx.tree_at(lambda m: (m.vibration, m.background), microscope, (None, None), is_leaf=_none)


def _none(leaf) -> bool:
    return leaf is None


def _signal(model: Model):
    return eqx.filter_jit(Linear.plan(model.atoms, model.microscope))(model.atoms, model.microscope).data
