"""Every public class is a proper tree: it survives flattening, and nothing continuous hides from the gradient."""

import dataclasses
import inspect

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import jaxaet

GRID = jaxaet.Grid((4, 6), 0.3)
TILTS = jaxaet.Tilts([[0.1, 0.2, 0.3]])
BEAM = jaxaet.Beam(60e3, 0.03)
DETECTOR = jaxaet.AnnularDetector(0.06, 0.2)
EXAMPLES = {
    "AnnularDetector": DETECTOR,
    "Atoms": jaxaet.Atoms.from_symbols([[0, 0, 0], [1, 2, 3]], ["W", "Se"], u2=0.01),
    "Beam": BEAM,
    "Grid": GRID,
    "Images": jaxaet.Images(jnp.ones((1, 4, 6)), TILTS.angles, GRID),
    "Linear": jaxaet.Linear(),
    "Microscope": jaxaet.Microscope(BEAM, DETECTOR, TILTS, GRID),
    "Tilts": TILTS,
    "Volume": jaxaet.Volume(jnp.ones((2, 3, 4)), jnp.zeros(3), 0.5),
}
CLASSES = sorted(
    name
    for name in jaxaet.__all__
    if inspect.isclass(getattr(jaxaet, name)) and issubclass(getattr(jaxaet, name), eqx.Module)
)


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
