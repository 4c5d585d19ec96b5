"""Figures hold the data they were given, name their axes and survive thin input."""

import matplotlib
import numpy as np
import pytest
from hypothesis import given, strategies as st
from matplotlib.collections import EllipseCollection, PathCollection

from jaxaet.viz import (
    angles_figure,
    atoms_figure,
    convergence_figure,
    error_bar_map,
    error_figure,
    save_figure,
    tilt_series_figure,
    volume_figure,
)
from jaxaet.viz.style import round_length, spread


def patch(columns=5):
    """A small MoS2-like sheet: positions in Å and symbols."""
    i, j = np.meshgrid(np.arange(columns), np.arange(columns))
    metal = np.stack([3.16 * (i + 0.5 * (j % 2)), 2.74 * j, 0.0 * i], axis=-1).reshape(-1, 3)
    upper, lower = np.array([0.0, 1.82, 1.56]), np.array([0.0, 1.82, -1.56])
    return np.concatenate([metal, metal + upper, metal + lower]), np.repeat(["Mo", "S", "S"], len(metal))


def panels(figure):
    """The axes of a figure by title."""
    return {axes.get_title(): axes for axes in figure.axes}


def sorted_rows(points):
    return np.array(sorted(map(tuple, np.asarray(points))))


def written(figure, tmp_path):
    save_figure(figure, tmp_path / "figure.png")
    return (tmp_path / "figure.png").read_bytes()


def test_tilt_series_shows_every_image_with_y_upwards():
    data = np.random.default_rng(0).poisson(5.0, (12, 20, 24))
    angles = np.stack([np.zeros(12), np.linspace(-30, 30, 12), np.full(12, 0.04)], axis=1)
    axes = tilt_series_figure(data, None, 0.32, angles).axes
    for k in range(12):
        image = axes[k].images[0]
        np.testing.assert_array_equal(image.get_array(), data[k])
        assert image.origin == "lower"
    assert axes[0].get_title() == "0:  0.0, −30.0, 0.0°"
    assert axes[0].texts[0].get_text() == "1 Å"


def test_scale_bar_is_as_long_as_it_says():
    figure = tilt_series_figure(np.ones((1, 64, 400)), None, 0.32, np.zeros((1, 3)))
    bar, label = figure.axes[0].patches[0], figure.axes[0].texts[0].get_text()
    assert label == "2 nm"
    assert bar.get_width() * 0.32 == pytest.approx(20.0)


def test_residual_is_divided_by_its_rms():
    rng = np.random.default_rng(1)
    model = rng.uniform(1, 9, (3, 16, 16))
    data = model + rng.normal(0, 0.5, model.shape)
    residuals = [
        axes
        for axes in tilt_series_figure(data, model, 0.32, np.zeros((3, 3))).axes
        if axes.images and axes.images[0].get_clim() == (-4, 4)
    ]
    assert len(residuals) == 3
    for axes, expected, image in zip(residuals, data - model, data, strict=True):
        rms = np.sqrt(np.mean(expected**2))
        np.testing.assert_allclose(axes.images[0].get_array() * rms, expected)
        assert f"{100 * rms / image.std():.1f} %" in axes.get_title()


def test_a_long_series_says_how_many_images_it_shows():
    figure = tilt_series_figure(np.ones((60, 8, 8)), None, 1.0, np.zeros((60, 3)))
    assert sum(bool(axes.images) for axes in figure.axes) == 36
    assert "36 of 60" in figure.subfigs[0]._suptitle.get_text()


def test_atoms_stand_where_they_are_and_nearer_ones_are_painted_last():
    positions, symbols = patch()
    shown = panels(atoms_figure(positions, symbols))
    for title, columns, nearness in (("top view, along z", [0, 1], 2), ("side view, along y", [0, 2], 1)):
        discs = next(c for c in shown[title].collections if isinstance(c, EllipseCollection))
        np.testing.assert_allclose(sorted_rows(discs.get_offsets()), sorted_rows(positions[:, columns]))
        depths = {}
        for row in positions:
            depths.setdefault(tuple(row[columns]), []).append(row[nearness])
        first, last = map(tuple, discs.get_offsets()[[0, -1]])
        far, near = (
            (positions[:, 2].min(), positions[:, 2].max())
            if nearness == 2
            else (positions[:, 1].max(), positions[:, 1].min())
        )
        assert far in depths[first]
        assert near in depths[last]
    assert shown["top view, along z"].get_xlabel() == "x (Å)"
    assert shown["side view, along y"].get_ylabel() == "z (Å)"


def test_error_bars_of_atoms_are_drawn_by_species_and_axis():
    positions, symbols = patch()
    sigma = np.where((symbols == "Mo")[:, None], [0.04, 0.05, 0.06], [0.1, 0.2, 0.3])
    axes = panels(atoms_figure(positions, symbols, sigma))["error bar of every coordinate"]
    labels = [tick.get_text() for tick in axes.get_xticklabels()]
    assert labels == ["Mo x", "Mo y", "Mo z", "S x", "S y", "S z"]
    medians = [line.get_ydata()[0] for line in axes.lines if line.get_color() == "black" and len(line.get_ydata()) == 2]
    for value in (4, 5, 6, 10, 20, 30):
        assert np.isclose(medians, value).any()
    assert axes.get_ylabel() == "standard deviation (pm)"


def test_error_bar_map_colours_every_atom_by_its_error_bar_in_pm():
    positions, _ = patch()
    sigma = np.random.default_rng(2).uniform(0.02, 0.2, positions.shape)
    sigma[7, 2] = np.inf
    shown = panels(error_bar_map(positions, sigma))
    for axis in range(3):
        axes = shown[f"error bar along {'xyz'[axis]}"]
        dots = next(c for c in axes.collections if isinstance(c, PathCollection))
        finite = np.isfinite(sigma[:, axis])
        expected = np.column_stack([positions[:, :2], 100 * sigma[:, axis]])[finite]
        drawn = np.column_stack([dots.get_offsets(), dots.get_array()])
        np.testing.assert_allclose(sorted_rows(drawn), sorted_rows(expected))
        assert len(axes.lines[0].get_xdata()) == np.sum(~finite)


@given(spread=st.floats(0.01, 0.5), bound=st.floats(1.0, 50.0))
def test_histogram_counts_every_error_or_says_how_many_lie_beyond(spread, bound):
    errors = spread * np.random.default_rng(3).normal(size=(40, 3))
    errors[0] = 100.0
    figure = error_figure({"Mo": errors}, {"Mo": bound})
    for axis, axes in enumerate(figure.axes):
        beyond = int(axes.get_title().split(", ")[-1].split()[0])
        assert sum(bar.get_height() for bar in axes.patches) == len(errors) - beyond
        assert beyond >= 1
        assert f"rms {100 * np.sqrt(np.mean(errors[:, axis] ** 2)):.1f}" in axes.get_title()
        assert axes.get_xlabel() == f"error along {'xyz'[axis]} (pm)"


def test_bound_curve_has_the_area_of_the_histogram_and_the_bound_as_width():
    errors = 0.05 * np.random.default_rng(4).normal(size=(500, 3))
    axes = error_figure({"Mo": errors}, {"Mo": np.array([5.0, 6.0, 7.0])}).axes[2]
    x, y = axes.lines[0].get_data()
    bin_width = axes.patches[0].get_width()
    area = np.trapezoid(y, x)
    assert area == pytest.approx(500 * bin_width, rel=1e-3)
    assert np.sqrt(np.trapezoid(x**2 * y, x) / area) == pytest.approx(7.0, rel=0.01)


def test_convergence_shows_losses_and_r_factors_in_percent():
    losses, r_factors = 2.0 ** -np.arange(9.0), np.array([0.5, 0.3, 0.2])
    left, right = convergence_figure(losses, r_factors).axes
    np.testing.assert_array_equal(left.lines[0].get_ydata(), losses)
    np.testing.assert_allclose(right.lines[0].get_ydata(), [50, 30, 20])
    np.testing.assert_allclose(right.lines[0].get_xdata(), [0, 4, 8])
    assert left.get_yscale() == "log"
    assert right.get_ylabel() == "R (%)"


def test_a_loss_below_zero_has_a_linear_scale():
    (axes,) = convergence_figure(np.array([3.0, 1.0, -2.0]), None).axes
    assert axes.get_yscale() == "linear"
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [3.0, 1.0, -2.0])


@pytest.mark.parametrize("with_truth", [True, False])
def test_angles_show_what_was_found_and_what_remains(with_truth):
    rng = np.random.default_rng(5)
    nominal = rng.uniform(-30, 30, (12, 3))
    calibrated, truth = nominal + rng.normal(size=(12, 3)), nominal + rng.normal(size=(12, 3))
    axes = angles_figure(nominal, calibrated, truth if with_truth else None).axes
    reference = truth if with_truth else nominal
    for column in range(3):
        lines = {line.get_label(): line.get_ydata() for line in axes[column].lines}
        np.testing.assert_array_equal(lines["nominal"], nominal[:, column])
        np.testing.assert_array_equal(lines["calibrated"], calibrated[:, column])
        assert ("true" in lines) == with_truth
        np.testing.assert_allclose(axes[3 + column].lines[-1].get_ydata(), (calibrated - reference)[:, column])
    assert axes[0].get_ylabel() == "angle (°)"


def test_volume_shows_central_slices_and_maxima_with_atoms_on_their_voxels():
    volume = np.random.default_rng(6).uniform(size=(10, 8, 6))
    volume[7, 5, 3] = 9.0
    atom = (np.array([[7, 5, 3]]) - [5, 4, 3]) * 0.5
    shown = panels(volume_figure(volume, 0.5, atom))
    for name, axis, middle in (("z", 2, 3), ("y", 1, 4), ("x", 0, 5)):
        np.testing.assert_array_equal(
            shown[f"slice at {name} = 0.0 Å"].images[0].get_array(), volume.take(middle, axis).T
        )
        axes = shown[f"maximum along {name}"]
        image = axes.images[0]
        np.testing.assert_array_equal(image.get_array(), volume.max(axis).T)
        row, column = np.unravel_index(np.argmax(image.get_array()), image.get_array().shape)
        left, _, bottom, _ = image.get_extent()
        brightest = [left + 0.5 * (column + 0.5), bottom + 0.5 * (row + 0.5)]
        np.testing.assert_allclose(np.column_stack(axes.lines[0].get_data())[0], brightest, atol=1e-12)


def test_thin_input_is_drawn_all_the_same(tmp_path):
    one, none = np.array([[1.0, 2.0, 3.0]]), np.zeros((0, 3))
    constant = np.full((2, 8, 8), 3)
    figures = [
        tilt_series_figure(constant, constant, 0.3, np.zeros((2, 3))),
        atoms_figure(one, ["Si"], one),
        atoms_figure(none, [], none),
        error_bar_map(one, 0.01 * one),
        error_bar_map(none, none),
        error_bar_map(one, np.full((1, 3), np.inf)),
        error_figure({"Si": none, "Ta": 0 * one}, {}),
        error_figure({}, {}),
        convergence_figure(np.zeros(1), np.zeros(1)),
        convergence_figure(np.zeros(0), np.zeros(0)),
        angles_figure(none, none),
        volume_figure(np.zeros((4, 5, 1)), 0.5),
    ]
    for figure in figures:
        assert written(figure, tmp_path).startswith(b"\x89PNG")


def test_no_label_is_clipped(tmp_path):
    positions, symbols = patch()
    sigma = np.full(positions.shape, 0.05)
    errors = {symbol: sigma[symbols == symbol] for symbol in ("Mo", "S")}
    angles = np.full((2, 3), -123.4)
    figures = [
        atoms_figure(positions, symbols, sigma),
        error_bar_map(positions, sigma),
        error_figure(errors, {"Mo": 5.0, "S": 15.0}),
        angles_figure(angles, angles + 1.0),
        convergence_figure(np.array([1e5, 1.0]), np.array([0.2, 0.1])),
        volume_figure(np.ones((6, 6, 2)), 0.5),
        tilt_series_figure(np.ones((2, 8, 8)), np.ones((2, 8, 8)), 0.3, angles),
    ]
    for figure in figures:
        written(figure, tmp_path)
        inside = figure.get_tightbbox()
        width, height = figure.get_size_inches()
        assert min(inside.x0, inside.y0) > -0.02
        assert inside.x1 < width + 0.02
        assert inside.y1 < height + 0.02


def test_drawing_leaves_matplotlib_as_it_was(tmp_path):
    before = dict(matplotlib.rcParams)
    positions, symbols = patch(2)
    written(atoms_figure(positions, symbols), tmp_path)
    assert dict(matplotlib.rcParams) == before


def test_a_failed_save_keeps_the_old_file_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "figures" / "atoms.png"
    figure = convergence_figure(np.ones(3), None)
    save_figure(figure, path)
    before = path.read_bytes()

    def fill_the_disk(file, **_):
        file.write_bytes(b"half a picture")
        raise OSError("disk full")

    figure.savefig = fill_the_disk
    with pytest.raises(OSError, match="disk full"):
        save_figure(figure, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["atoms.png"]


@given(length=st.floats(1e-2, 1e5))
def test_round_lengths_are_round_and_just_below(length):
    found = round_length(length)
    assert found <= length * (1 + 1e-8)
    assert found > length / 2.5 * (1 - 1e-8)
    assert f"{found:.0e}"[0] in "125"


@given(count=st.integers(1, 200), most=st.integers(2, 40))
def test_spread_takes_first_and_last_and_no_index_twice(count, most):
    chosen = spread(count, most)
    assert len(chosen) == min(count, most)
    assert (chosen[0], chosen[-1]) == (0, count - 1)
    assert np.all(np.diff(chosen) > 0)
