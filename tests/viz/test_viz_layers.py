"""Figures of separated layers show what they were given where it is."""

import numpy as np
import pytest

from jaxaet.viz import labels_figure, layers_figure, search_figure, training_figure


def spot(row, column, shape=(40, 60)):
    image = np.zeros(shape)
    image[row, column] = 1.0
    return image


def test_columns_lie_on_the_image_and_on_the_probabilities():
    """A column at (+2, -1) Å of the middle pixel, in an image of 0.5 Å and probabilities of 0.25 Å a pixel."""
    image = spot(20 - 2, 30 + 4)
    chance = np.stack([spot(40 - 4, 60 + 8, (80, 120)), np.zeros((80, 120))])[..., None]
    columns = [[np.array([[2.0, -1.0]])], [np.zeros((0, 2))]]
    before, classes, after = layers_figure(image, 0.5, chance, 0.25, columns, ("C",)).axes
    for axes in (before, classes):
        values = np.asarray(axes.images[0].get_array())
        left, right, bottom, top = axes.images[0].get_extent()
        bright = values if values.ndim == 2 else values.sum(axis=-1)
        row, column = np.unravel_index(bright.argmax(), bright.shape)
        assert left + (column + 0.5) * (right - left) / bright.shape[1] == pytest.approx(2.0)
        assert bottom + (row + 0.5) * (top - bottom) / bright.shape[0] == pytest.approx(-1.0)
    drawn = [(line.get_label(), line.get_xydata().tolist()) for line in after.lines]
    assert drawn == [("1: 1 C", [[2.0, -1.0]]), ("2: 0 C", [])]


def test_labels_and_answers_share_their_colours():
    layers = np.stack([spot(3, 5), spot(10, 20)])[..., None]
    image, labels, answer = labels_figure(spot(3, 5), 0.1, layers, layers[::-1]).axes
    first, second = (np.asarray(axes.images[0].get_array()) for axes in (labels, answer))
    np.testing.assert_array_equal(first[3, 5], second[10, 20])
    assert (first[3, 5] != second[3, 5]).any()
    assert np.asarray(image.images[0].get_array())[3, 5] == 1


def test_curves_of_a_training():
    losses = np.array([2.0, 1.5, 1.2, 1.1])
    left, right = training_figure(losses, np.array([2, 4]), np.array([1.6, 1.3]), np.ones(2) / 2, np.ones(2) / 3).axes
    np.testing.assert_allclose(left.lines[0].get_xydata(), np.stack([np.arange(1, 5), losses], axis=1))
    assert {line.get_label(): line.get_ydata()[-1] for line in right.lines} == {"Dice": 0.5, "IoU": 1 / 3}
    assert len(training_figure(losses, *[np.zeros(0)] * 4).axes) == 2


def test_trials_that_were_stopped_early_are_open_circles():
    tried = {"learning_rate": np.array([1e-5, 1e-3, 1e-2]), "alpha": np.array([1.0, 2.0, 3.0])}
    rates, alphas = search_figure(np.array([0.1, 0.5, 0.3]), tried, np.array([1, 4, 4])).axes
    stopped, whole = alphas.lines
    np.testing.assert_allclose(whole.get_xydata(), [[2.0, 0.5], [3.0, 0.3]])
    np.testing.assert_allclose(stopped.get_xydata(), [[1.0, 0.1]])
    assert (rates.get_xscale(), alphas.get_xscale()) == ("log", "linear")
