"""Every public class is a proper tree: it survives flattening, and nothing continuous hides from the gradient."""

import dataclasses
import importlib
import inspect
import pkgutil

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import jaxaet
from jaxaet import gombnet
from jaxaet.forward import Aberrated, AtomPlanes, Cell, Dense, Direct, Lens, Prism, Slabs, Tiled
from jaxaet.inverse import FirstOrder, Gaussian, GaussNewton, Model, Poisson, Problem, Simulator, Solution
from jaxaet.inverse.preconditioner import Blocks, Inverse
from jaxaet.inverse.window import Window
from jaxaet.restore import Drift

GRID = jaxaet.Grid((4, 6), 0.3)
TILTS = jaxaet.Tilts([[0.1, 0.2, 0.3]])
BEAM = jaxaet.Beam(60e3, 0.03)
DETECTOR = jaxaet.AnnularDetector(0.06, 0.2)
ATOMS = jaxaet.Atoms.from_symbols([[0, 0, 0], [1, 2, 3]], ["W", "Se"], u2=0.01)
IMAGES = jaxaet.Images(jnp.ones((1, 4, 6)), TILTS.angles, GRID)
MODEL = Model(ATOMS, jaxaet.Microscope(BEAM, DETECTOR, TILTS, GRID))
PROBLEM = Problem(jaxaet.Linear(), MODEL, IMAGES, lambda m: m.atoms.positions, Poisson())
CRYSTAL = jaxaet.Crystal(ATOMS, 20 * jnp.eye(3))
CONSTANTS = jaxaet.ForceConstants([[0, 1]], [[0, 0, 0]], jnp.ones((1, 3, 3)))
EXAMPLES = {
    "Crystal": CRYSTAL,
    "Energy": jaxaet.StillingerWeber(),
    "ForceConstants": CONSTANTS,
    "Measurement": jaxaet.Measurement(jnp.ones((2, 3)), jnp.ones((2, 3))),
    "Modes": jaxaet.find_modes(CONSTANTS, CRYSTAL, jnp.zeros((1, 3))),
    "Sites": jaxaet.Sites([[0, 0, 0]], [0], jnp.eye(3), 1),
    "StillingerWeber": jaxaet.StillingerWeber(),
    "ValenceForceField": jaxaet.ValenceForceField(),
    "Topology": jaxaet.StillingerWeber().topology(CRYSTAL),
    "Aberrations": jaxaet.Aberrations(),
    "AtomPlanes": AtomPlanes(3),
    "Blurred": jaxaet.Blurred(),
    "Cell": Cell(8, 4.0),
    "Direct": Direct(),
    "Deblurring": jaxaet.Deblurring(0.5),
    "Genfire": jaxaet.Genfire(),
    "GenfireSystem": jaxaet.Genfire().system(TILTS.angles, GRID, (4, 4, 4), 0.3),
    "RealSpaceSystem": jaxaet.Resire().system(TILTS.angles, GRID, (4, 4, 4), 0.3),
    "Resire": jaxaet.Resire(),
    "Windows": jaxaet.Windows(),
    "FrozenPhonons": jaxaet.FrozenPhonons(jnp.ones((2, 2, 3))),
    "Lens": Lens(8),
    "Multislice": jaxaet.Multislice.plan(ATOMS, MODEL.microscope),
    "Prism": Prism(2, 8, 4),
    "SegmentedDetector": jaxaet.SegmentedDetector(0.06, 0.2),
    "Slabs": Slabs(3, 1.0),
    "Snapshots": jaxaet.Snapshots(jnp.ones((2, 2, 3))),
    "StageVibration": jaxaet.StageVibration(0.1, 0.2, 0.3),
    "AnnularDetector": DETECTOR,
    "Atoms": ATOMS,
    "Beam": BEAM,
    "Blocks": Blocks({"atom": jnp.ones((2, 3, 3))}),
    "DefectCorrection": jaxaet.DefectCorrection(),
    "DenseGaussNewton": jaxaet.DenseGaussNewton(),
    "DenseState": jaxaet.DenseGaussNewton().start(PROBLEM, jnp.ones(())),
    "Drift": Drift(jnp.ones((1, 2)), jnp.ones((1, 3, 2)), jnp.ones((1, 3), bool)),
    "Dense": Dense(),
    "Inverse": Inverse(jnp.eye(6), jnp.ones(6)),
    "FirstOrder": FirstOrder(),
    "Frames": jaxaet.core.Frames(jnp.ones((1, 2, 4, 6)), TILTS.angles, GRID),
    "FirstOrderState": FirstOrder().start(PROBLEM, jnp.ones(())),
    "GaussNewton": GaussNewton(),
    "Gaussian": Gaussian(),
    "Grid": GRID,
    "GridScan": jaxaet.GridScan(),
    "Images": IMAGES,
    "JointGradients": jaxaet.JointGradients(),
    "Aberrated": Aberrated(),
    "Linear": jaxaet.Linear(),
    "Linearised": Simulator(jaxaet.Linear()).linearised(MODEL),
    "Microscope": MODEL.microscope,
    "Model": MODEL,
    "NewtonState": GaussNewton().start(PROBLEM, jnp.ones(())),
    "Smooth": jaxaet.Smooth.of(jaxaet.Grid((8, 9), 0.3), 1.0),
    "Poisson": Poisson(),
    "Problem": PROBLEM,
    "Solution": Solution(MODEL, IMAGES.data, jnp.ones(2), jnp.ones(()), jnp.ones(()), "Converged."),
    "Tiled": Tiled(8, 4, 2),
    "Tilts": TILTS,
    "TrueGradients": jaxaet.TrueGradients(),
    "Window": Window(PROBLEM, jnp.zeros(3)),
    "DiceLoss": gombnet.DiceLoss(),
    "GombLoss": gombnet.GombLoss(),
    "PrintedGombLoss": gombnet.PrintedGombLoss(),
    "SoftMinimumLoss": gombnet.SoftMinimumLoss(),
    "Sheet": gombnet.graphene_sheet(),
    "Variation": gombnet.Variation(),
    "Volume": jaxaet.Volume(jnp.ones((2, 3, 4)), jnp.zeros(3), 0.5),
}
ROOMS = (
    "core",
    "forward",
    "gombnet",
    "instrument",
    "inverse",
    "phonons",
    "restore",
    "specimen",
    "structure",
    "tomography",
)


def public_classes():
    """Every tree that a module of these rooms defines."""
    for room in ROOMS:
        package = importlib.import_module(f"jaxaet.{room}")
        for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for name, found in vars(importlib.import_module(info.name)).items():
                if inspect.isclass(found) and issubclass(found, eqx.Module) and found.__module__ == info.name:
                    yield name


CLASSES = sorted(name for name in public_classes() if not name.startswith("_"))


def test_every_public_class_has_an_example():
    assert sorted(EXAMPLES) == CLASSES


@pytest.mark.parametrize("name", CLASSES)
def test_flattening_is_undone(name):
    leaves, structure = jax.tree.flatten(EXAMPLES[name])
    assert eqx.tree_equal(jax.tree.unflatten(structure, leaves), EXAMPLES[name])


@pytest.mark.parametrize("name", CLASSES)
def test_every_leaf_is_an_array_and_everything_static_hashes(name):
    assert all(eqx.is_array(leaf) for leaf in jax.tree.leaves(EXAMPLES[name]))
    hash(jax.tree.structure(EXAMPLES[name]))


@pytest.mark.parametrize("name", CLASSES)
def test_no_number_hides_in_a_static_field(name):
    fields = dataclasses.fields(EXAMPLES[name])
    static = [getattr(EXAMPLES[name], field.name) for field in fields if field.metadata.get("static")]
    assert not [value for value in static if isinstance(value, float | jax.Array)]


@pytest.mark.parametrize("name", CLASSES)
def test_the_docstring_explains_every_field(name):
    text = inspect.getdoc(type(EXAMPLES[name])) or ""
    assert not [field.name for field in dataclasses.fields(EXAMPLES[name]) if f"`{field.name}`" not in text]
