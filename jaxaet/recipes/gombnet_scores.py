"""How well the layers of images with known atoms were separated."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxaet.gombnet import Columns, Prediction, Sheet, atom_scores, best_orders, pixel_scores, resampled

TOLERANCE = 0.5  # Å, within which a column counts as found
MARGIN = 0.85  # Å from the edge of the image, within which columns are not counted


class ImageScore(NamedTuple):
    """One image, in the order of the layers with the best overlap.

    `accuracy`, `dice`, `iou`: fractions. Of the columns of each class (c,): numbers that were found, found and right,
    that exist, and exist and were found; `squares`: the sum of squared distances of the latter, Å², and what the
    errors of the columns let expect of it, `expected`.
    """

    accuracy: float
    dice: float
    iou: float
    found: Float[np.ndarray, " c"]
    right: Float[np.ndarray, " c"]
    true: Float[np.ndarray, " c"]
    hit: Float[np.ndarray, " c"]
    squares: Float[np.ndarray, " c"]
    expected: Float[np.ndarray, " c"]


def score(
    prediction: Prediction, columns: list[Columns], truth: dict, sheet: Sheet, threshold: float = 0.5
) -> ImageScore:
    """The score of one image.

    `columns`: of each layer, decoded. `truth`: labels, positions, members and pixel of a `Sample`.
    """
    labels, size = np.moveaxis(truth["labels"], -1, 1), float(truth["pixel"])
    if labels.shape[2:] != prediction.mean.shape[1:3]:
        labels = [[resampled(mask.astype(float), size / prediction.pixel) for mask in layer] for layer in labels]
    labels = np.moveaxis(np.asarray(labels) > 0.5, 1, -1)
    pixels = pixel_scores(prediction.mean[None] > threshold, labels[None])
    order = best_orders(np.einsum("lyxc,myxc->lm", prediction.mean, labels.astype(float))[None])[0]
    side = np.array(truth["labels"].shape[2:0:-1])
    counts = np.zeros((6, len(sheet.classes)))
    for layer, output in enumerate(order):
        points = (truth["positions"][layer] - side // 2) * size
        for c in range(len(sheet.classes)):
            of_class = columns[output].probabilities[:, c] > threshold
            found, errors = columns[output].positions[of_class], columns[output].errors[of_class]
            true = points[truth["members"][layer, :, c] > 0]
            counts[:, c] += _counts(found, errors, true, side * size / 2 - MARGIN)
    accuracy, dice, iou = (float(value[0]) for value in pixels)
    return ImageScore(accuracy, dice, iou, *counts)


def _counts(found, errors, true, edge: Float[np.ndarray, "2"]):
    """The counts of an `ImageScore` for one class, from (n, 2) found columns with (n,) errors and (m, 2) true ones."""
    inner_found, inner_true = (points[(np.abs(points) < edge).all(axis=1)] for points in (found, true))
    right, hit = atom_scores(inner_found, true, TOLERANCE), atom_scores(found, inner_true, TOLERANCE)
    expected = 2 * np.sum(errors[hit.pairs[:, 0]] ** 2)  # of both axes
    return (
        right.found, len(right.distances), hit.true, len(hit.distances), np.sum(hit.distances**2), expected
    )  # fmt: skip


def error_factor(scores: Sequence[ImageScore]) -> float:
    """True errors over those of columns that were decoded with a factor of 1, rms; 2 where none was found."""
    squares, expected = (sum(np.sum(getattr(one, name)) for one in scores) for name in ("squares", "expected"))
    return float(np.sqrt(squares / expected)) if expected > 0 else 2.0


def summary(scores: Sequence[ImageScore], sheet: Sheet) -> dict:
    """Means over the images, and the columns of all images together by class."""
    pixels = {name: float(np.mean([getattr(s, name) for s in scores])) for name in ("accuracy", "dice", "iou")}
    sums = {name: np.sum([getattr(s, name) for s in scores], axis=0) for name in ImageScore._fields[3:]}
    classes = {}
    for c, name in enumerate(sheet.classes):
        found, right, true, hit, squares, expected = (float(sums[name][c]) for name in ImageScore._fields[3:])
        precision, recall = right / max(found, 1), hit / max(true, 1)
        classes[name] = {
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / max(precision + recall, 1e-9),
            "rms_pm": 100 * (squares / hit) ** 0.5 if hit else None,
            "rms_by_error_bars_pm": 100 * (expected / hit) ** 0.5 if hit else None,
            "columns": int(true),
        }
    return {**pixels, **classes}
