"""The dynamic stage of the recipes that end in atoms, on three atoms that stand behind each other."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import jaxaet
from jaxaet.inverse import Model
from jaxaet.recipes.config import TiltSeriesConfig
from jaxaet.recipes.dynamical import at_rest, dynamical
from jaxaet.recipes.run_folder import RunFolder

POSITIONS = np.array([[0.0, 0.0, 1.6], [0.4, 0.2, -1.6], [-1.9, 0.4, 0.0]])
ATOMS = jaxaet.Atoms(POSITIONS, np.ones((3, 1)), 0.0, ("Mo",))
TILTS = jaxaet.Tilts([[0.0, 0.0, 0.0], [0.0, 0.35, 0.1], [0.0, -0.2, 0.35]])


def seen(semi_angle: float, source: float, inner: float) -> Model:
    microscope = jaxaet.Microscope(
        jaxaet.Beam(100e3, semi_angle, source, 3e4), jaxaet.AnnularDetector(inner, 0.15), TILTS,
        jaxaet.Grid((24, 24), 0.32), 1.0, 1.0,
    )  # fmt: skip
    return Model(ATOMS, microscope)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "series.npz"
    path.touch()
    return TiltSeriesConfig.model_validate(
        {
            "data": {"path": str(path)},
            "specimen": {"species": ["Mo"]},
            "dynamic": {"rounds": 2, "fitted_images": 2, "stride": 1.5, "margin_a": 3.0},
            "calibration": {"angles": "fixed"},
        }
    )


def test_the_instrument_and_the_atoms_are_found_and_kept(config, tmp_path):
    true = seen(0.028, 0.45, 0.055)
    forward = jaxaet.Multislice.plan(ATOMS, true.microscope, margin=3.0, spacing=3.0, stride=1.5)
    images = eqx.filter_jit(forward)(ATOMS, true.microscope)
    start = seen(0.025, 0.4, 0.05)
    wrong = jnp.array([[0.04, -0.03, 0.05], [-0.03, 0.04, 0.0], [0.0, 0.03, -0.05]])
    start = eqx.tree_at(lambda m: m.atoms.positions, start, start.atoms.positions + wrong)
    stages = []
    with RunFolder.create(tmp_path / "run", config, quiet=True) as folder:
        keep = folder.stage
        folder.stage = lambda name, make: stages.append(name) or keep(name, make)
        model, arrays = dynamical(config, folder, images, jaxaet.Poisson(), start)
    off = np.linalg.norm(np.asarray(model.atoms.positions) - POSITIONS, axis=1)
    assert off.max() < 0.25 * np.linalg.norm(wrong, axis=1).min()
    assert arrays["r1"] < 0.05
    assert float(model.microscope.beam.semi_angle) == pytest.approx(0.028, rel=0.08)
    assert stages[0] == "instrument"
    assert [name for name in stages if "image" in name] == [
        f"series_{series}_image_{image}" for series in range(3) for image in (1, 2, 3)
    ]


def test_atoms_at_rest_are_seen_through_a_wider_source():
    model = seen(0.025, 0.3, 0.05)
    model = eqx.tree_at(lambda m: m.atoms.species_u2, model, jnp.array([0.07]))
    rest = at_rest(model)
    assert float(rest.microscope.beam.source_size) == pytest.approx(0.4)
    assert float(rest.atoms.total_u2.max()) == 0.0
