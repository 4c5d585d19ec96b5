"""The interactive view holds every atom, and elements look as people expect."""

import numpy as np
import pytest

from jaxaet.viz import atoms_view
from jaxaet.viz.elements import colour, radius


def test_view_holds_every_atom_under_its_species():
    rng = np.random.default_rng(0)
    positions, symbols = rng.uniform(-50, 50, (20_000, 3)), rng.choice(["Fe", "Pt"], 20_000)
    sigma = rng.uniform(0.01, 0.1, positions.shape)
    view = atoms_view(positions, symbols, sigma)
    rows = []
    for trace in view.data:
        index = np.asarray(trace.customdata)[:, 0].astype(int)
        assert set(symbols[index]) == {trace.name.split()[0]}
        np.testing.assert_allclose(np.column_stack([trace.x, trace.y, trace.z]), positions[index], atol=1e-4)
        np.testing.assert_allclose(np.asarray(trace.customdata)[:, 1:], 100 * sigma[index], rtol=1e-5)
        rows.extend(index)
    assert sorted(rows) == list(range(20_000))


def test_one_angstrom_is_as_long_on_every_axis_without_perspective():
    positions = np.random.default_rng(1).uniform(-1, 1, (50, 3)) * [40, 30, 2]
    scene = atoms_view(positions, ["W"] * 50).layout.scene
    axes = (scene.xaxis, scene.yaxis, scene.zaxis)
    lengths = np.array([axis.range[1] - axis.range[0] for axis in axes])
    ratio = np.array([scene.aspectratio.x, scene.aspectratio.y, scene.aspectratio.z])
    assert np.ptp(ratio / lengths) < 1e-12
    assert scene.camera.projection.type == "orthographic"
    for axis, column in zip(axes, positions.T, strict=True):
        assert axis.range[0] < column.min()
        assert axis.range[1] > column.max()
    assert [axis.title.text for axis in axes] == ["x (Å)", "y (Å)", "z (Å)"]


@pytest.mark.parametrize("count", [0, 1])
def test_hardly_any_atoms(count):
    positions = np.zeros((count, 3))
    for sigma in (None, positions):
        view = atoms_view(positions, ["Si"] * count, sigma)
        assert sum(len(trace.x) for trace in view.data) == count
        assert all(("±" in trace.hovertemplate) == (sigma is not None) for trace in view.data)


def test_colours_and_sizes_agree_with_ase():
    ase_data = pytest.importorskip("ase.data", reason="ASE is not installed, so its tables cannot be compared.")
    from ase.data.colors import jmol_colors

    for number in range(1, 97):
        symbol = ase_data.chemical_symbols[number]
        rgb = [int(colour(symbol)[i : i + 2], 16) for i in (1, 3, 5)]
        np.testing.assert_allclose(rgb, 255 * jmol_colors[number], atol=1.01, err_msg=symbol)
        assert radius(symbol) == pytest.approx(ase_data.covalent_radii[number], abs=0.005), symbol


def test_an_unknown_element_is_still_drawn():
    (trace,) = atoms_view(np.zeros((1, 3)), ["Xx"]).data
    assert trace.marker.color == colour("Xx")
    assert trace.marker.size > 0
