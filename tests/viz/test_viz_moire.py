"""Pictures of stacked layers hold what they were given."""

import numpy as np

from jaxaet.viz import bonds_figure, save_figure


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
