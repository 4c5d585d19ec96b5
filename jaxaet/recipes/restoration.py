"""Raw frames → images, stage by stage in the order of the configuration."""

from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxaet.core import Frames, Images
from jaxaet.recipes.config import RawFramesConfig
from jaxaet.recipes.run_folder import RunFolder
from jaxaet.restore import Drift, denoised, find_drift, frame_noise, hollow_background, undrifted
from jaxaet.viz import before_after_figure


class Restored(NamedTuple):
    """What became of the frames.

    `counts`: their sum in electrons, as counted but for the drift, for fits. `images`: after all stages, for peaks and
    volumes. `drift`: that was taken out. `gain`: detector units for an electron. `readout`: rms read-out noise of a
    pixel of the sum, electrons. `steps`: name of each stage with the images before and after it.
    """

    counts: Images
    images: Images
    drift: Drift
    gain: float
    readout: float
    steps: list[tuple[str, np.ndarray, np.ndarray]]

    def figures(self) -> list[tuple[str, str, Any]]:
        """Title, caption and figure of each stage."""
        sampling = float(self.images.grid.sampling)
        return [
            (
                f"Stage {number}, {name}",
                "Before, after, and the difference, in the middle of the first and the last image.",
                before_after_figure(before, after, sampling),
            )
            for number, (name, before, after) in enumerate(self.steps, 1)
        ]


def restored(config: RawFramesConfig, folder: RunFolder, frames: Frames) -> Restored:
    """All stages of the configuration, each kept in the folder."""
    stages = config.restoration.stages
    still = drift = Drift.none(frames)
    if "drift" in stages:
        kept = folder.stage("drift", lambda: vars(find_drift(frames)))
        drift = Drift(**{name: jnp.asarray(value) for name, value in kept.items()})
    gain, readout = 1.0, config.restoration.readout_counts
    if readout is None:
        names = ("gain", "readout")
        noise = folder.stage("noise", lambda: dict(zip(names, frame_noise(frames, drift), strict=True)))
        gain, readout = noise["gain"], noise["readout"]
    readout = float(np.sqrt(frames.data.shape[1]) * readout / gain)
    counts = undrifted(frames, drift).data / gain
    steps = []
    if "drift" in stages:
        steps.append(("drift", np.asarray(undrifted(frames, still).data) / gain, np.asarray(counts)))
    images = np.asarray(counts)
    for stage in stages:
        if stage == "drift":
            continue
        change = partial(changed, config, stage, images, readout, float(frames.grid.sampling))
        after = folder.stage(stage, change)["images"]
        steps.append((stage, images, after))
        images = after
    each = (frames.angles, frames.grid)
    return Restored(Images(counts, *each), Images(images, *each), drift, gain, readout, steps)


def changed(
    config: RawFramesConfig, stage: str, images: Float[np.ndarray, "k ny nx"], readout: float, sampling: float
) -> dict:
    """The images after one stage; `readout`: rms noise of a pixel, electrons; `sampling`: pixel, Å."""
    options = config.restoration
    if stage == "denoise":
        return {"images": np.stack([denoised(image, readout, options.denoise) for image in images])}
    return {"images": np.stack([i - hollow_background(i, sampling, options.hollow_distance_a) for i in images])}
