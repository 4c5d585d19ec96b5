"""A problem sorts any free leaves by what they belong to and back, and refuses data of another shape."""

import dataclasses
from itertools import combinations

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from inverse_cases import ATOMS, CHOICES, IMAGES, free, images, problem, truth

from jaxaet.core import Grid, Images, InputError

COLUMNS = {
    "positions": ("atom", 3), "composition": ("atom", 2), "u2": ("atom", 1),
    "angles": ("image", 3), "shifts": ("image", 2), "scale": ("image", 1), "offset": ("image", 1),
    "species_u2": ("global", 2), "sampling": ("global", 1), "source_size": ("global", 1),
}  # fmt: skip
ROWS = {"atom": ATOMS, "image": IMAGES, "global": 1}


@eqx.filter_jit
def loss_and_mean(problem, leaves):
    return problem.loss(leaves), problem.mean(leaves)


@pytest.mark.parametrize("count", range(1, len(CHOICES) + 1))
def test_every_choice_of_leaves_survives_packing(count):
    base = problem(("positions",))
    for names in combinations(CHOICES, count):
        chosen = dataclasses.replace(base, free=free(names))
        packed = jax.eval_shape(lambda p: p.pack(p.leaves), chosen)
        widths = {kind: sum(n for k, n in map(COLUMNS.get, names) if k == kind) for kind in ROWS}
        assert {kind: matrix.shape for kind, matrix in packed.items()} == {
            kind: (ROWS[kind], width) for kind, width in widths.items() if width
        }


@pytest.mark.parametrize("names", [tuple(CHOICES), tuple(CHOICES)[::-1], ("scale", "u2"), ("offset",), ("species_u2",)])
def test_unpacking_undoes_packing(names):
    chosen = problem(names)
    assert eqx.tree_equal(chosen.unpack(chosen.pack(chosen.leaves)), chosen.leaves)


def test_a_row_holds_what_belongs_to_one_item():
    chosen = problem(("offset", "positions", "angles"))
    packed = chosen.pack(chosen.leaves)
    angles, offset = chosen.model.microscope.tilts.angles, chosen.model.microscope.offset
    assert (packed["atom"][4] == chosen.model.atoms.positions[4]).all()
    assert (packed["image"][2] == jnp.concatenate([offset[2:3], angles[2]])).all()


def test_leaves_are_put_where_they_came_from():
    chosen = problem(("positions", "offset"))
    model = chosen.with_leaves(chosen.free(truth()))
    assert eqx.tree_equal(model, truth())
    assert float(loss_and_mean(chosen, chosen.free(truth()))[0]) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("shape", [(IMAGES, 48, 47), (IMAGES - 1, 48, 48)])
def test_data_of_another_shape_are_refused(shape):
    data = Images(jnp.ones(shape), jnp.zeros((shape[0], 3)), Grid(shape[1:], 0.32))
    with pytest.raises(InputError, match=r"data have shape .* microscope takes images of \(7, 48, 48\); give"):
        dataclasses.replace(problem(("positions",)), data=data)


def test_the_loss_is_the_sum_over_pixels():
    chosen = problem(("positions", "offset"))
    loss, mean = loss_and_mean(chosen, chosen.leaves)
    data = images().data
    expected = jnp.sum(mean - data + data * jnp.log(data / mean))
    assert float(loss) == pytest.approx(float(expected), rel=1e-10)
