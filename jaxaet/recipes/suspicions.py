"""What in the data is probably wrong, though a fit would run: a sentence each."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float
from scipy.ndimage import median_filter

from jaxaet.core import Images
from jaxaet.gombnet import Columns, Sheet, apparent_lattice
from jaxaet.inverse import Model
from jaxaet.restore import Drift
from jaxaet.structure import bond_lengths

_SAME = 1e-4  # rad
_STAND_OUT = 8.0  # times what nine lines of ten differ from those beside them, a dead one differs
_AT_THE_EDGE = 0.02  # of all atoms
_DRAWS = 8  # whose spread is known to a quarter
_ANOTHER = 1.1  # times too long or too short a bond is no distortion of the scan
_GLARE = 5.0  # times what nearly all pixels span, a defect of the detector
_NO_LATTICE = 0.15  # relative scatter of bonds; 0.05 to 0.1 in drawn sheets, 0.2 to 0.4 in noise
_FAR_OFF = 2.5  # times too large or too small a lattice is no strain and no stronger second ring


def of_images(images: Images) -> Iterator[str]:
    """Two images alike, two of one angle, and lines of dead pixels. Images are counted from 0."""
    data, angles = np.asarray(images.data), np.asarray(images.angles)
    alike, together = [], []
    for first, second in combinations(range(len(data)), 2):
        if np.array_equal(data[first], data[second]):
            alike.append((first, second))
        elif np.all(np.abs(angles[first] - angles[second]) < _SAME):
            together.append((first, second))
    for pairs, sentence in (
        (alike, "are the same in every pixel; leave one of them out."),
        (together, "are given the same angles; leave one out if it was recorded once, or correct the angles."),
    ):
        if pairs:
            yield f"Images {pairs[0][0]} and {pairs[0][1]}{and_more(pairs, 'pair')} {sentence}"
    for axis, name in ((1, "row"), (0, "column")):
        found = [(index, dead_lines(image.mean(axis=axis))) for index, image in enumerate(data)]
        found = [(index, dead[0]) for index, dead in found if len(dead)]
        if found:
            yield (
                f"In image {found[0][0]}, {name} {found[0][1]} (both counted from 0){and_more(found, 'image')} is "
                "unlike those beside it, as dead pixels are; crop the images, or replace it by their mean."
            )


def and_more(found: list, name: str) -> str:
    """What follows the first of what was found."""
    more = len(found) - 1
    return f" (and {more} more {name}{'s' * (more > 1)})" if more else ""


def dead_lines(means: Float[np.ndarray, " n"]) -> np.ndarray:
    """The indices of lines whose mean stands out from both neighbours, more than the means curve elsewhere."""
    away = np.abs(means - median_filter(means, 3, mode="nearest"))
    curved = np.abs(np.diff(np.pad(means, 1, mode="edge"), 2)) / 2
    return np.flatnonzero(away > max(_STAND_OUT * np.percentile(curved, 90), 1e-3 * np.abs(means).max()))


def of_drift(drift: Drift) -> Iterator[str]:
    """Frames that were left out."""
    out = ~np.asarray(drift.kept)
    if out.any():
        image, frame = np.argwhere(out)[0]
        yield (
            f"{out.sum()} of {out.size} frames do not follow the drift of the others and are left out, "
            f"the first of them frame {frame} of image {image} (counted from 0); look at them."
        )


def of_volume(model: Model, thickness: float, voxel: float) -> Iterator[str]:
    """Atoms that lie at the top or the bottom of a volume of `thickness` Å."""
    height = np.abs(np.asarray(model.atoms.positions)[:, 2])
    share = float(np.mean(height > 0.5 * thickness - 2 * voxel))
    if share > _AT_THE_EDGE:
        yield (
            f"{100 * share:.0f} % of the traced atoms lie at the top or the bottom of a volume of {thickness:.3g} Å, "
            "which is thinner than the specimen; give a larger reconstruction.thickness_a."
        )


def of_draws(count: int) -> Iterator[str]:
    """Too few draws for error bars."""
    if count < _DRAWS:
        yield f"Error bars of spectra from {count} draws are rough; give {_DRAWS} draws or more (spectra.samples)."


def of_layers(image: Float[np.ndarray, "ny nx"], pixel: float, sheet: Sheet) -> Iterator[str]:
    """A pixel brighter than atoms are, and a lattice far from the sheet's, as a wrong pixel size makes it.

    `pixel`: Å.
    """
    image = np.asarray(image, float)
    if image.ndim != 2 or not np.isfinite(image).all():
        return
    excess = image - median_filter(image, 3)
    row, column = np.unravel_index(excess.argmax(), image.shape)
    if excess.max() > _GLARE * np.ptp(np.quantile(image, (0.01, 0.99))) > 0:
        yield (
            f"The pixel in row {row}, column {column} (from 0) has {image[row, column]:.3g}, far more than those "
            "beside it, and the network sees little else; give such pixels the mean of those beside them."
        )
    found, known = apparent_lattice(image, pixel), float(sheet.lattice)
    if found is not None and not 1 / _FAR_OFF < found / known < _FAR_OFF:
        near, expected = (constant / np.sqrt(3) for constant in (found, known))
        yield (
            f"With pixels of {pixel:.3g} Å the nearest neighbours in the image are {near:.3f} Å apart, and "
            f"{expected:.2f} Å in the sheet that the network knows; the pixel size (data.pixel_size_a) may be "
            f"{pixel * known / found:.3g} Å."
        )


def of_columns(layers: Sequence[Columns], pixel: float, sheet: Sheet) -> Iterator[str]:
    """Layers without columns, columns that form no lattice, as the network sees them in noise, and another lattice.

    `pixel`: Å.
    """
    expected = float(sheet.lattice) / np.sqrt(3)
    for number, layer in enumerate(layers, 1):
        if not len(layer.positions):
            yield (
                f"No column was found in layer {number}; look at the probabilities in results.h5 and at the pixel size."
            )
        bonds = bond_lengths(layer.positions) if len(layer.positions) > 3 else np.zeros(0)
        if len(bonds) < 2:
            continue
        if (scatter := bonds.std() / bonds.mean()) > _NO_LATTICE:
            yield (
                f"The bonds of layer {number} scatter by {100 * scatter:.0f} %, and by less than 10 % in sheets; its "
                "columns may be noise that the network takes for atoms, or the pixel size or the contrast is wrong."
            )
        elif not 1 / _ANOTHER < (ratio := np.median(bonds) / expected) < _ANOTHER:
            yield (
                f"The bonds of layer {number} have {np.median(bonds):.2f} Å and {expected:.2f} Å in the sheet that the "
                f"network knows; the pixel size (data.pixel_size_a) may be {pixel / ratio:.3g} Å, or the sheet another."
            )
