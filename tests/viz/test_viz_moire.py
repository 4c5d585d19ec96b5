"""Pictures of stacked layers hold what they were given."""

import numpy as np

from jaxaet.viz import bonds_figure, moire_figure, save_figure


def test_every_bond_is_counted_in_the_panel_and_colour_of_its_layer(tmp_path):
    generator = np.random.default_rng(0)
    panels = {"before": {"one": generator.normal(1.4, 0.1, 50), "two": generator.normal(1.45, 0.1, 70)},
              "after": {"one": generator.normal(1.42, 0.02, 40)}}  # fmt: skip
    figure = bonds_figure(panels, 1.42)
    save_figure(figure, tmp_path / "bonds.png")
    for axes, (title, layers) in zip(figure.axes, panels.items(), strict=True):
        assert axes.get_title() == title
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        assert labels == [f"{name}: {lengths.mean():.3f} Å" for name, lengths in layers.items()]
        # A step outline goes up and down; its area over the bin width is the count.
        for patch, lengths in zip(reversed(axes.patches), reversed(layers.values()), strict=False):
            x, y = patch.get_path().vertices.T
            edges = np.unique(x)
            area = abs(np.sum((x[1:] - x[:-1]) * (y[1:] + y[:-1])) / 2)
            assert np.isclose(area / np.diff(edges).mean(), lengths.size)


def test_the_map_and_the_sites_share_their_axes(tmp_path):
    stacking = np.zeros((20, 30))
    stacking[13, 25] = 2.6  # x = 10 pixels, y = 3 pixels from the middle
    at = np.linspace(0, 2.6, 14)
    densities = {"S": (np.ones(14), np.full(14, 0.1)), "Se": (at, np.full(14, 0.2))}
    figure = moire_figure(stacking, 0.5, np.array([[5.0, 1.5]]), at, densities)
    save_figure(figure, tmp_path / "moire.png")
    left, right = figure.axes[:2]
    x, y = left.lines[0].get_xydata()[0]
    low, high, bottom, top = left.images[0].get_extent()
    row, column = int((y - bottom) / (top - bottom) * 20), int((x - low) / (high - low) * 30)
    assert stacking[row, column] == 2.6
    np.testing.assert_array_equal(right.lines[1].get_ydata(), at)
    assert np.isclose(right.collections[1].get_datalim(right.transData).y1, 2.8)
