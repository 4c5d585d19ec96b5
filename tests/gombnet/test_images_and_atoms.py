"""Drawn images say where their atoms are; probabilities give the atoms back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import ndimage, stats

from jaxaet import InputError
from jaxaet.gombnet import (
    GombNet,
    Prediction,
    Variation,
    atom_scores,
    decode,
    draw,
    graphene_sheet,
    pixel_scores,
    predict,
    tungsten_sheet,
)
from jaxaet.gombnet.predict import _order
from jaxaet.gombnet.simulate import _counted

PIXELS = 96
STILL = {"hole": 0.0, "vacancies": (0.0, 0.0), "pixel": (0.1, 0.1)}


@pytest.fixture(scope="module")
def graphene():
    variation = Variation(**STILL)
    return jax.jit(lambda key: draw(key, graphene_sheet(), 2, variation, PIXELS))


@pytest.fixture(scope="module")
def tungsten():
    variation = Variation(**STILL)
    return jax.jit(lambda key: draw(key, tungsten_sheet(), 2, variation, PIXELS))


def inside(sample, layer, member, margin=8.0):
    points = np.asarray(sample.positions[layer])[np.asarray(sample.members[layer, :, member]) > 0]
    return points[((points > margin) & (points < PIXELS - 1 - margin)).all(axis=1)]


def test_labels_are_centred_on_the_atoms(graphene):
    """The authors' labels are off by up to a pixel; ours are where the atoms are."""
    sample = graphene(jax.random.key(3))
    for layer in range(2):
        label, count = ndimage.label(np.asarray(sample.labels[layer, ..., 0]))
        centres = np.array(ndimage.center_of_mass(label > 0, label, range(1, count + 1)))[:, ::-1]
        scores = atom_scores(inside(sample, layer, 0), centres, 1.0)
        assert scores.precision == 1
        assert np.sqrt(np.mean(scores.distances**2)) < 0.15
        assert abs(np.mean(centres[:, 0]) % 1) <= 1


def test_the_image_is_bright_where_atoms_are(graphene):
    quiet = Variation(**STILL, counts=(6.0, 6.0), pedestal=(0.0, 0.0), contamination=(0.0, 0.0), jitter=(0.0, 0.0))
    sample = jax.jit(lambda key: draw(key, graphene_sheet(), 1, quiet, PIXELS))(jax.random.key(5))
    points = np.rint(inside(sample, 0, 0)).astype(int)
    image = np.asarray(sample.image)
    assert image[points[:, 1], points[:, 0]].mean() > 0.8
    np.testing.assert_allclose([image.mean(), image.std()], [0, 1], atol=1e-6)


def test_density_of_atoms_is_the_crystals(graphene):
    counts = [len(inside(graphene(jax.random.key(seed)), 0, 0, 0.0)) for seed in range(12)]
    expected = 2 / (2.46**2 * np.sqrt(0.75)) * ((PIXELS - 1) * 0.1) ** 2
    assert abs(np.mean(counts) / expected - 1) < 0.04


def test_layers_differ_and_keys_decide(graphene):
    first, again, other = (graphene(jax.random.key(seed)) for seed in (1, 1, 2))
    assert (first.image == again.image).all()
    assert not (first.image == other.image).all()
    assert not (first.positions[0] == first.positions[1]).any()


@pytest.mark.parametrize("mean", [0.3, 11.0, 13.0, 400.0])
def test_counts_are_poissons(mean):
    counts = np.asarray(jax.jit(_counted)(jax.random.key(2), jnp.full((400, 500), mean))).ravel()
    at = np.arange(mean + 8 * np.sqrt(mean) + 5)
    share = np.searchsorted(np.sort(counts), at, side="right") / counts.size
    assert np.abs(share - stats.poisson.cdf(at, mean)).max() < 4e-3  # two hundred thousand draws reach 3e-3
    assert counts.min() >= 0


def test_layers_can_be_missing():
    lonely = Variation(**STILL, absent=0.5)
    drawn = jax.jit(lambda key: draw(key, graphene_sheet(), 2, lonely, PIXELS))
    present = [int((np.asarray(drawn(jax.random.key(seed)).members).sum(axis=(1, 2)) > 0).sum()) for seed in range(20)]
    assert set(present) == {0, 1, 2}
    nothing = jax.jit(lambda key: draw(key, graphene_sheet(), 2, Variation(empty=1.0), PIXELS))(jax.random.key(4))
    assert not nothing.members.any()
    assert not nothing.labels.any()
    assert np.isfinite(nothing.image).all()


def test_selenium_is_where_it_was_put(tungsten):
    """A quarter of the images is pristine; a column has S, Se or both; tungsten is never replaced."""
    members = np.array([tungsten(jax.random.key(seed)).members for seed in range(40)])
    selenium = members[..., 1].sum(axis=2)
    assert 4 <= np.count_nonzero(selenium.sum(axis=1) == 0) <= 18
    chalcogen = members[..., :2].max(axis=-1)
    assert set(np.unique(chalcogen + members[..., 2])) == {1.0}
    assert (members[..., 0] * members[..., 1]).any()


def test_layers_have_the_composition_that_is_asked_for_and_its_lattice():
    shares = jnp.array([[0.0, 0.0], [1.0, 1.0]])
    still = Variation(**STILL, strain=0.0, distortion=0.0, rattle=(0.0, 0.0), drift=(0.0, 0.0))
    sample = jax.jit(lambda key: draw(key, tungsten_sheet(), 2, still, PIXELS, shares))(jax.random.key(8))
    nearest = []
    for positions, members, classes in zip(sample.positions, sample.members, ("S", "Se"), strict=True):
        there = np.asarray(members) > 0
        assert set(np.array(["S", "Se", "W"])[there.any(axis=0)]) == {classes, "W"}
        metals = np.asarray(positions)[there[:, 2]]
        apart = np.linalg.norm(metals[:, None] - metals[None], axis=-1)
        nearest.append(np.median(np.sort(apart, axis=1)[:, 1]) * float(sample.pixel))
    np.testing.assert_allclose(nearest, [3.1907, 3.1907 * 3.282 / 3.153], rtol=1e-3)


def test_decoding_the_truth_returns_it(tungsten):
    sample = tungsten(jax.random.key(8))
    columns = decode(Prediction(np.asarray(sample.labels), np.zeros(sample.labels.shape), 0.1), tungsten_sheet())
    for layer in range(2):
        for member in range(3):
            of_class = columns[layer].probabilities[:, member] > 0.5
            found = columns[layer].positions[of_class] / 0.1 + PIXELS // 2
            within = found[((found > 8) & (found < PIXELS - 9)).all(axis=1)]
            true = inside(sample, layer, member, 0.0)
            scores = atom_scores(within, true, 1.5)
            assert len(scores.distances) == len(within)
            assert len(within) >= len(inside(sample, layer, member, 10.0))
            assert scores.distances.max(initial=0) < 0.6


@pytest.mark.parametrize("sigma", [0.03, 0.06])
def test_the_error_of_a_column_is_the_blur_of_its_disk(sigma):
    sheet, pixel = graphene_sheet(), 0.1
    fine = 11
    y, x = (np.mgrid[: 64 * fine, : 64 * fine] - 32 * fine - fine // 2) * pixel / fine
    disk = (np.hypot(x - 0.31, y + 0.17) < float(sheet.radius)).astype(float)
    blurred = ndimage.gaussian_filter(disk, sigma * fine / pixel)
    mean = blurred[fine // 2 :: fine, fine // 2 :: fine][None, ..., None]
    # What copies differ by is not part of it: half of them a little more, half a little less, have the same p(1 - p).
    copies = np.stack([mean + 0.1 * mean * (1 - mean), mean - 0.1 * mean * (1 - mean)])
    for prediction in (Prediction(mean, 0 * mean, pixel), Prediction(copies.mean(axis=0), copies.std(axis=0), pixel)):
        (columns,) = decode(prediction, sheet, error_factor=2.0)
        assert columns.errors == pytest.approx([2 * sigma], rel=0.1)
        np.testing.assert_allclose(columns.positions, [[0.31, -0.17]], atol=0.01)


def test_scores_of_pixels_take_one_order():
    labels = np.zeros((1, 2, 4, 4, 1))
    labels[0, 0, :2], labels[0, 1, :, 0] = 1, 1
    perfect = pixel_scores(labels[:, ::-1], labels)
    assert [float(score[0]) for score in perfect] == [1, 1, 1]
    half = pixel_scores(np.stack([labels[0, 0], np.zeros((4, 4, 1))])[None], labels)
    np.testing.assert_allclose([float(score[0]) for score in half], [28 / 32, 2 * 8 / 20, 8 / 12])


def test_scores_of_atoms():
    scores = atom_scores(np.array([[0.0, 0], [5, 5], [9, 9]]), np.array([[0.0, 0.1], [5, 5.2]]), 0.15)
    assert (scores.precision, scores.recall) == (1 / 3, 1 / 2)
    np.testing.assert_array_equal(scores.pairs, [[0, 0]])
    assert atom_scores(np.zeros((0, 2)), np.ones((3, 2)), 1.0).f1 == 0


@pytest.fixture(scope="module")
def network():
    return GombNet(2, 1, jax.random.key(0), (4, 8))


def test_one_tile_is_the_network_itself(network):
    image = np.random.default_rng(0).normal(size=(64, 64))
    prediction = predict(network, 3 * image + 7, 0.1, 0.1, tile=64, copies=1)
    direct = jax.nn.sigmoid(network(jnp.asarray((image - image.mean()) / image.std())[None]))[0]
    np.testing.assert_allclose(prediction.mean, direct, atol=1e-5)  # the network sees single precision
    assert not prediction.spread.any()


def test_turning_the_image_turns_the_prediction(network):
    image = np.random.default_rng(1).normal(size=(64, 64))
    upright = predict(network, image, 0.1, 0.1, tile=64).mean
    turned = np.rot90(predict(network, np.rot90(image), 0.1, 0.1, tile=64).mean, -1, axes=(1, 2))
    same, crossed = (np.abs(turned[list(order)] - upright).max() for order in ((0, 1), (1, 0)))
    assert min(same, crossed) < 1e-4


def test_several_networks_are_averaged_in_the_order_of_the_first(network):
    class Swapped(nnx.Module):
        """The same network with its layers called the other way round."""

        def __init__(self, inner):
            self.inner = inner

        def __call__(self, images):
            return self.inner(images)[:, ::-1]

    image = np.random.default_rng(2).normal(size=(64, 64))
    other = GombNet(2, 1, jax.random.key(1), (4, 8))
    first, second, both, same = (
        predict(some, image, 0.1, 0.1, 64, 1)
        for some in (network, other, [network, other], [network, Swapped(network)])
    )
    pair = [first.mean, second.mean[list(_order(second.mean, first.mean))]]
    np.testing.assert_allclose(both.mean, np.mean(pair, axis=0), atol=1e-6)
    np.testing.assert_allclose(both.spread, np.std(pair, axis=0), atol=1e-6)
    np.testing.assert_allclose(same.mean, first.mean, atol=1e-6)


@pytest.mark.parametrize("unit", [1e-12, 1e30])
def test_the_unit_of_an_image_does_not_matter(network, unit):
    image = np.random.default_rng(2).normal(size=(64, 64))
    first, second = (predict(network, scale * image + scale, 0.1, 0.1, 64, 1).mean for scale in (1.0, unit))
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_any_size_and_sampling(network):
    image = np.random.default_rng(2).normal(size=(90, 137))
    prediction = predict(network, image, 0.2, 0.1, tile=64, copies=1)
    assert prediction.mean.shape == (2, 180, 274, 1)
    assert prediction.pixel == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("image", "pixel", "sentence"),
    [
        (np.ones((64, 64)), 0.1, "shows no atoms"),
        (np.full((64, 64), np.nan), 0.1, "not finite"),
        (np.ones((64, 64, 3)), 0.1, "no grey image"),
        (np.eye(20), 0.1, "too small|at least 64"),
        (np.eye(64), 30.0, "pixel size"),
    ],
)
def test_bad_images_are_refused(network, image, pixel, sentence):
    with pytest.raises(InputError, match=sentence):
        predict(network, image, pixel, 0.1)
