"""Pictures of phonons hold what they were given, on the axes they name."""

import numpy as np

from jaxaet.viz import controls_figure, displacements_figure, interface_figure, save_figure, unfolded_figure
from jaxaet.viz.phonons import LAYER_NAMES

ENERGIES = np.arange(0.0, 60.0, 1.0)


def bump(place, height=1.0):
    return height * np.exp(-((ENERGIES - place) ** 2) / 8)


def test_bands_of_bulk_lie_over_the_maps_and_share_their_energies(tmp_path):
    maps = {"one": np.tile(bump(20), (13, 1)), "two": np.tile(bump(40), (13, 1))}
    bands = {"MoS2": np.linspace(10, 20, 13)[:, None] + [0, 5], "WSe2": np.full((13, 2), 30.0)}
    densities = {"interface cell": bump(20), "MoS2": bump(15), "WSe2": bump(30)}
    figure = unfolded_figure(ENERGIES, maps, bands, densities)
    save_figure(figure, tmp_path / "unfolded.png")
    first, second, side = figure.axes
    for axes, values in ((first, maps["one"]), (second, maps["two"])):
        shown = axes.images[0].get_array()
        assert np.unravel_index(shown.argmax(), shown.shape)[0] == values[0].argmax()
        drawn = np.array([line.get_ydata() for line in axes.lines[:4]])
        np.testing.assert_array_equal(drawn, np.concatenate([table.T for table in bands.values()]))
        assert [label.get_text() for label in axes.get_xticklabels()] == ["Γ", "M", "K", "Γ"]
        np.testing.assert_allclose(axes.get_xticks(), [0, 4, 8, 12])
    assert [text.get_text() for text in side.get_legend().get_texts()] == list(densities)
    assert side.lines[1].get_color() == first.lines[0].get_color()
    assert side.get_ylim() == (0.0, 59.0)


def test_the_residual_is_drawn_with_its_spread_and_each_control_with_its_norm(tmp_path):
    found = {
        "density": bump(20), "density_spread": 0.1 * bump(20), "reference_matched": np.stack([bump(18), bump(22)]),
        "shares_matched": np.array([0.5, 0.25]), "residual_matched": bump(25), "residual_spread": bump(25, 0.2),
        "energies": np.full((2, 9), 20.0), "participation": np.full((2, 9), 0.5),
        "interface_participation": np.full((2, 9), 0.25),
    }  # fmt: skip
    top, left, ratio, weighted = interface_figure(ENERGIES, found, (17.5,)).axes
    np.testing.assert_allclose(top.lines[1].get_ydata(), 0.5 * bump(18) + 0.25 * bump(22))
    np.testing.assert_array_equal(left.lines[0].get_ydata(), bump(25))
    assert left.collections[0].get_datalim(left.transData).y1 == np.float64(0.4)
    np.testing.assert_array_equal(ratio.lines[0].get_ydata(), 0.5)
    np.testing.assert_array_equal(weighted.lines[0].get_ydata(), 0.75)  # times three atoms
    layers = {f"{kind}_{layer}": bump(20, 0.1) if kind == "residual" else 0.123
              for kind in ("residual", "relative") for layer in LAYER_NAMES}  # fmt: skip
    figure = controls_figure(ENERGIES, {"Relaxed": layers}, (17.5,))
    save_figure(figure, tmp_path / "controls.png")
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == [f"{name}: 12 %" for name in LAYER_NAMES.values()]


def test_arrows_begin_at_the_atoms_and_the_longest_is_as_long_as_it_says(tmp_path):
    positions = np.array([[0.0, 0.0, 0.0], [12.0, 3.0, 1.5], [20.0, 6.0, -1.5]])
    moves = np.array([[[0.0, 0, 0], [0, 0.2, 0], [0, 0, 0.1]]])
    figure = displacements_figure(
        positions, ["Mo", "S", "Se"], moves, np.array([28.0]), np.array([2.5]), ["K"], positions[:, 0] - 1.0
    )
    save_figure(figure, tmp_path / "modes.png")
    above, beside = figure.axes
    assert above.get_title() == "28.0 meV at K, 2.5 × its share at the interface"
    assert above.get_xlim() == beside.get_xlim()
    for axes, axis in ((above, 1), (beside, 2)):
        arrows = axes.collections[1]
        np.testing.assert_array_equal(arrows.XY, positions[:, [0, axis]])
        np.testing.assert_allclose(arrows.V, 7.5 * moves[0, :, axis])
