"""How well the layers of images with known atoms were separated."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxaet.gombnet import Columns, Prediction, Sheet, atom_scores, best_orders, decode, pixel_scores, resampled

TOLERANCE = 0.5  # Å, within which a column counts as found
MARGIN = 0.85  # Å from the edge of the image, within which columns are not counted


class ImageScore(NamedTuple):
    """One image, in the order of the layers with the best overlap.

    `accuracy`, `dice`, `iou`: fractions. Of the columns of each class (c,): numbers that were found, found and right,
    that exist, and exist and were found; `squares`: the sum of squared distances of the latter, Å².
    """

    accuracy: float
    dice: float
    iou: float
    found: Float[np.ndarray, " c"]
    right: Float[np.ndarray, " c"]
    true: Float[np.ndarray, " c"]
    hit: Float[np.ndarray, " c"]
    squares: Float[np.ndarray, " c"]


def score(
    prediction: Prediction, truth: dict, sheet: Sheet, threshold: float = 0.5, columns: list[Columns] | None = None
) -> ImageScore:
    """The score of one image.

    `truth`: labels, positions, members and pixel of a `Sample`. `columns`: of each layer, else those that are decoded.
    """
    labels, size = np.moveaxis(truth["labels"], -1, 1), float(truth["pixel"])
    if labels.shape[2:] != prediction.mean.shape[1:3]:
        labels = [[resampled(mask.astype(float), size / prediction.pixel) for mask in layer] for layer in labels]
    labels = np.moveaxis(np.asarray(labels) > 0.5, 1, -1)
    pixels = pixel_scores(prediction.mean[None] > threshold, labels[None])
    order = best_orders(np.einsum("lyxc,myxc->lm", prediction.mean, labels.astype(float))[None])[0]
    columns = decode(prediction, sheet, threshold) if columns is None else columns
    side = np.array(truth["labels"].shape[2:0:-1])
    counts = np.zeros((5, len(sheet.classes)))
    for layer, output in enumerate(order):
        points = (truth["positions"][layer] - side // 2) * size
        for c in range(len(sheet.classes)):
            found = columns[output].positions[columns[output].probabilities[:, c] > threshold]
            counts[:, c] += _counts(found, points[truth["members"][layer, :, c] > 0], side * size / 2 - MARGIN)
    accuracy, dice, iou = (float(value[0]) for value in pixels)
    found, right, true, hit, squares = counts
    return ImageScore(accuracy, dice, iou, found, right, true, hit, squares)


def _counts(found: Float[np.ndarray, "n 2"], true: Float[np.ndarray, "m 2"], edge: Float[np.ndarray, "2"]):
    inner_found, inner_true = (points[(np.abs(points) < edge).all(axis=1)] for points in (found, true))
    right, hit = atom_scores(inner_found, true, TOLERANCE), atom_scores(found, inner_true, TOLERANCE)
    return (
        right.found, len(right.distances), hit.true, len(hit.distances), float(np.sum(hit.distances**2))
    )  # fmt: skip


def summary(scores: Sequence[ImageScore], sheet: Sheet) -> dict:
    """Means over the images, and the columns of all images together by class."""
    pixels = {name: float(np.mean([getattr(s, name) for s in scores])) for name in ("accuracy", "dice", "iou")}
    sums = {n: np.sum([getattr(s, n) for s in scores], axis=0) for n in ("found", "right", "true", "hit", "squares")}
    classes = {}
    for c, name in enumerate(sheet.classes):
        found, right, true, hit, squares = (float(sums[n][c]) for n in ("found", "right", "true", "hit", "squares"))
        precision, recall = right / max(found, 1), hit / max(true, 1)
        classes[name] = {
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / max(precision + recall, 1e-9),
            "rms_pm": 100 * (squares / hit) ** 0.5 if hit else None,
            "columns": int(true),
        }
    return {**pixels, **classes}
