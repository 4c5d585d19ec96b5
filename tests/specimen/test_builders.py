"""Crystals, stacks and particles against crystallography."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from jax.test_util import check_grads
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation
from strategies import arrays, atoms

from jaxaet.core import InputError
from jaxaet.specimen import Atoms, monolayer, nanoparticle, twisted_stack

KEY = jax.random.key(7)
# Bond lengths of the 2H crystals and of graphene, Å: Bronsema et al. (1986), Schutte et al. (1987); CRC Handbook.
BONDS = {"MoS2": 2.417, "MoSe2": 2.527, "WS2": 2.405, "WSe2": 2.526, "graphene": 1.421}


def coordination(positions, reach: float) -> np.ndarray:
    return np.array([len(near) - 1 for near in KDTree(positions).query_ball_point(positions, reach)])


@pytest.mark.parametrize("material", BONDS)
def test_bonds_and_coordination_are_the_crystals(material):
    sheet = monolayer(material, (40.0, 30.0))
    positions = np.asarray(sheet.positions)
    nearest = KDTree(positions).query(positions, k=2)[0][:, 1]
    np.testing.assert_allclose(nearest, BONDS[material], atol=0.004)
    bonds = coordination(positions, 1.1 * BONDS[material])
    inner = np.all(np.abs(positions[:, :2]) < [15, 10], axis=1)
    expected = np.where(positions[:, 2] == 0, 6, 3) if material != "graphene" else np.full(len(sheet), 3)
    np.testing.assert_array_equal(bonds[inner], expected[inner])


@pytest.mark.parametrize("material", BONDS)
def test_a_patch_is_centred_and_as_dense_as_the_crystal(material):
    sheet = monolayer(material, 80.0)
    positions = np.asarray(sheet.positions)
    assert np.abs(positions[:, :2]).max() <= 40
    assert np.abs(positions.mean(axis=0)).max() < 1
    lattice = np.sqrt(3) * 1.4209 if material == "graphene" else {"Mo": 3.16, "W": 3.153}[sheet.species[0]]
    lattice = {"MoSe2": 3.289, "WSe2": 3.282}.get(material, lattice)
    per_cell = 2 if material == "graphene" else 3
    assert len(sheet) == pytest.approx(80**2 * per_cell / (np.sqrt(3) / 2 * lattice**2), rel=0.03)


def test_thermal_motion_is_per_element_unless_given():
    sheet = monolayer("WSe2", 20.0)
    for symbol in sheet.species:
        assert len(set(sheet.u2[sheet.symbols == symbol].tolist())) == 1
    assert set(monolayer("WSe2", 20.0, u2=0.02).u2.tolist()) == {0.02}


@pytest.mark.parametrize(("material", "size"), [("MoTe2", 20.0), ("MoS2", (0.0, -1.0))])
def test_unknown_materials_and_empty_patches_are_refused(material, size):
    with pytest.raises(InputError, match=r"choose|give"):
        monolayer(material, size)


@given(layers=st.lists(atoms(counts=(5,)), min_size=2, max_size=3), twists=arrays((3,), -3, 3), gaps=arrays((2,), 1, 9))
def test_layers_are_turned_and_lifted_rigidly(layers, twists, gaps):
    twists, gaps = twists[: len(layers)], gaps[: len(layers) - 1]
    stack = twisted_stack(layers, twists, gaps)
    heights = np.concatenate([[0], np.cumsum(gaps)])
    heights -= heights.mean()
    expected = [
        Rotation.from_rotvec([0, 0, twist]).apply(np.array(layer.positions)) + np.array([0, 0, height])
        for layer, twist, height in zip(layers, twists, heights, strict=True)
    ]
    np.testing.assert_allclose(stack.positions, np.concatenate(expected), atol=1e-10)
    for symbol in stack.species:
        weights = [
            layer.composition[:, layer.species.index(symbol)] if symbol in layer.species else np.zeros(len(layer))
            for layer in layers
        ]
        np.testing.assert_allclose(stack.composition[:, stack.species.index(symbol)], np.concatenate(weights))


def test_a_stack_is_differentiable_in_its_twist():
    layer = monolayer("graphene", 8.0)

    def top(twist, gap):
        return jnp.sum(twisted_stack([layer, layer], jnp.stack([jnp.zeros(()), twist]), gap[None]).positions ** 3)

    check_grads(top, (jnp.asarray(0.3), jnp.asarray(3.4)), order=1)


def test_a_stack_needs_a_twist_for_each_layer():
    layer = monolayer("graphene", 8.0)
    with pytest.raises(InputError, match="one twist for each layer"):
        twisted_stack([layer, layer], [0.1], [3.4])


@pytest.mark.parametrize(
    ("structure", "constant", "bond", "bonds"), [("fcc", 3.924, 0.5**0.5, 12), ("bcc", 3.3, 0.75**0.5, 8)]
)
def test_crystalline_particles_are_balls_of_the_crystal(structure, constant, bond, bonds):
    particle = nanoparticle("Pt", 15.0, structure, lattice_constant=constant, key=KEY)
    positions = np.asarray(particle.positions)
    radii = np.linalg.norm(positions, axis=1)
    nearest = KDTree(positions).query(positions[radii < 8], k=bonds + 2)[0]
    np.testing.assert_allclose(nearest[:, 1 : bonds + 1], bond * constant, rtol=1e-6)
    assert (nearest[:, bonds + 1] > bond * constant * 1.1).all()
    assert radii.max() <= 15
    per_cell = {"fcc": 4, "bcc": 2}[structure]
    assert len(particle) == pytest.approx(per_cell * 4 / 3 * np.pi * 15**3 / constant**3, rel=0.06)


@given(radius=st.floats(6, 11), density=st.floats(0.02, 0.055), seed=st.integers(0, 100))
def test_amorphous_particles_keep_their_distance_and_density(radius, density, seed):
    particle = nanoparticle("Ta", radius, "amorphous", density=density, min_distance=2.4, key=jax.random.key(seed))
    positions = np.asarray(particle.positions)
    assert KDTree(positions).query(positions, k=2)[0][:, 1].min() >= 2.4
    assert np.linalg.norm(positions, axis=1).max() <= radius + 1e-9
    assert abs(len(particle) - density * 4 / 3 * np.pi * radius**3) <= 0.5


def test_alloys_have_the_asked_fractions_and_follow_the_key():
    make = lambda seed: nanoparticle(  # noqa: E731
        {"Fe": 0.7, "Pt": 0.3}, 12.0, "fcc", lattice_constant=3.85, key=jax.random.key(seed)
    )
    first, again, other = make(1), make(1), make(2)
    assert abs(np.sum(first.symbols == "Fe") - 0.7 * len(first)) <= 1
    np.testing.assert_array_equal(first.symbols, again.symbols)
    assert (first.symbols != other.symbols).any()


@pytest.mark.parametrize(
    ("structure", "arguments"),
    [
        ("hcp", {"lattice_constant": 3.0}),
        ("fcc", {}),
        ("amorphous", {"density": 0.05}),
        ("amorphous", {"density": 0.2, "min_distance": 2.6}),
    ],
)
def test_impossible_particles_are_refused(structure, arguments):
    with pytest.raises(InputError, match=r"choose|give|lower"):
        nanoparticle("Si", 5.0, structure, key=KEY, **arguments)


@given(model=atoms())
def test_selecting_and_joining_atoms_loses_nothing(model: Atoms):
    mask = np.arange(len(model)) % 2 == 0
    together = model.select(mask).join(model.select(~mask))
    np.testing.assert_array_equal(together.positions, np.concatenate([model.positions[mask], model.positions[~mask]]))
    assert together.species == model.species
