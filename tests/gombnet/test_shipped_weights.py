"""The weights that come with the package find the atoms of each layer in images they have not seen."""

import jax
import numpy as np
import pytest

from jaxaet.gombnet import (
    Variation,
    atom_scores,
    best_orders,
    decode,
    draw,
    graphene_sheet,
    load_weights,
    predict,
    tungsten_sheet,
)

PIXEL, PIXELS, MARGIN = 0.106, 256, 8
USUAL = Variation(pixel=(PIXEL, PIXEL), counts=(2.5, 3.5), hole=0.0)


@pytest.mark.parametrize(
    ("name", "sheet"),
    [("graphene", graphene_sheet()), pytest.param("ws2", tungsten_sheet(), marks=pytest.mark.slow)],
)
def test_atoms_of_each_layer_are_found(name, sheet):
    network, about = load_weights(name)
    sample = jax.jit(lambda key: draw(key, sheet, 2, USUAL, PIXELS))(jax.random.key(11))
    prediction = predict(network, np.asarray(sample.image), PIXEL, about["pixel"], copies=1)
    overlap = np.einsum("lyxc,myxc->lm", prediction.mean, np.asarray(sample.labels))
    columns = decode(prediction, sheet, error_factor=about["error_factor"])
    f1, distances, errors = [], [], []
    for layer, output in enumerate(best_orders(overlap[None])[0]):
        there = np.asarray(sample.members[layer]).any(axis=1)
        true = np.asarray(sample.positions[layer])[there]
        found = columns[output].positions / PIXEL + PIXELS // 2
        inside, asked = ((np.abs(points - 127.5) < 127.5 - MARGIN).all(axis=1) for points in (found, true))
        scores = atom_scores(found[inside], true[asked], tolerance=0.5 / PIXEL)
        f1.append(scores.f1)
        distances.extend(scores.distances * PIXEL)
        errors.extend(columns[output].errors[inside][scores.pairs[:, 0]])
    assert min(f1) > 0.94
    assert np.sqrt(np.mean(np.square(distances))) < 0.1
    distances, errors = np.array(distances), np.array(errors)
    assert 0.7 < np.median(distances / errors) < 1.4  # 1.18 if errors were normal and the bars their deviation
    sure = errors < np.median(errors)
    assert np.mean(distances[sure] ** 2) < 0.8 * np.mean(distances[~sure] ** 2)  # the errors tell columns apart
