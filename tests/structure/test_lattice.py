"""Twist, distortion and heterostrain that were put in are found, with error bars that say how well."""

from pathlib import Path

import numpy as np
import pytest
from structure_cases import BOND, LATTICE, honeycomb

from jaxaet.core import InputError
from jaxaet.structure import bond_lengths, twist_from_atoms, twist_from_image, undistorted

DISTORTION = np.array([[1.02, 0.012], [0.012, 0.965]])
STRAIN = np.array([[0.002, 0.001], [0.001, -0.001]])
ANGLES = np.deg2rad([7.0, 28.3])
IMAGE = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "gombnet" / "tbg_experimental.npz"


def stack(side=40.0, strain=STRAIN, distortion=DISTORTION, angles=ANGLES):
    """Two layers in one distorted image, strained by plus and minus `strain`, off the origin."""
    signs = (1, -1, 0)[: len(angles)]
    matrices = [distortion @ (np.eye(2) + sign * strain) for sign in signs]
    return [honeycomb(side, a, m, shift=(0.3 * a, 0.7)) for a, m in zip(angles, matrices, strict=True)]


def picture(layers, pixels=384, pixel=0.1, width=0.35):
    axis = pixel * (np.arange(pixels) - pixels // 2)
    points = np.concatenate(layers)
    down, across = (np.exp(-((axis[None] - points[:, i, None]) ** 2) / 2 / width**2) for i in (1, 0))
    return down.T @ across


def test_an_exact_stack_is_recovered_exactly():
    fit = twist_from_atoms(stack(), LATTICE, heterostrain=True)
    np.testing.assert_allclose(np.rad2deg(fit.angles), [7, 28.3], atol=1e-8)
    np.testing.assert_allclose(fit.twists, [0, np.deg2rad(21.3)], atol=1e-9)
    np.testing.assert_allclose(fit.distortion, DISTORTION, atol=1e-9)
    np.testing.assert_allclose(fit.heterostrain, [STRAIN, -STRAIN], atol=1e-9)
    assert fit.residual < 1e-9


def test_three_layers_share_one_distortion():
    angles = np.deg2rad([-20.0, -9.0, 14.0])
    fit = twist_from_atoms(stack(angles=angles), LATTICE, heterostrain=True)
    np.testing.assert_allclose(np.rad2deg(fit.twists), [0, 11, -26], atol=1e-8)  # 34° is −26° of a hexagonal lattice
    np.testing.assert_allclose(fit.heterostrain, [STRAIN, -STRAIN, 0 * STRAIN], atol=1e-9)


def test_one_atom_a_cell_is_a_lattice_too():
    layers = [honeycomb(60.0, a, DISTORTION, 3.19, np.zeros((1, 2))) for a in ANGLES]
    fit = twist_from_atoms(layers, 3.19, sites=((0.0, 0.0),))
    np.testing.assert_allclose(fit.distortion, DISTORTION, atol=1e-9)
    np.testing.assert_allclose(fit.twists, [0, np.deg2rad(21.3)], atol=1e-9)


def test_the_image_alone_gives_the_same():
    fit = twist_from_image(picture(stack()), 0.1, LATTICE, heterostrain=True)
    order = np.argsort(fit.angles)  # spots do not say which layer is which
    np.testing.assert_allclose(np.rad2deg(fit.angles[order]), [7, 28.3], atol=0.1)
    np.testing.assert_allclose(fit.distortion, DISTORTION, atol=1e-3)
    np.testing.assert_allclose(fit.heterostrain[order], [STRAIN, -STRAIN], atol=1e-3)
    assert abs(fit.angles[order] - ANGLES).max() < 4 * fit.angles_error.max()


def test_error_bars_hold_where_the_scan_jitters():
    generator, scores = np.random.default_rng(1), []
    for _ in range(25):
        rows, noisy = generator.normal(size=(80, 2)), []
        for points in stack(30.0):
            jitter = rows[((points[:, 1] + 20) / 0.5).astype(int)] * [
                0.08,
                0.02,
            ]  # of rows
            noisy.append(points + jitter + 0.05 * generator.normal(size=points.shape))
        fit = twist_from_atoms(noisy, LATTICE, heterostrain=True)
        found = [fit.twists[1], fit.distortion[0, 0], fit.distortion[0, 1], fit.heterostrain[0, 0, 0]]
        error = [fit.twists_error[1], fit.distortion_error[0, 0], fit.distortion_error[0, 1]]
        truth = [np.deg2rad(21.3), DISTORTION[0, 0], DISTORTION[0, 1], STRAIN[0, 0]]
        scores.append((np.array(found) - truth) / [*error, fit.heterostrain_error[0, 0, 0]])
    assert 0.8 < np.sqrt(np.mean(np.square(scores))) < 1.2


def test_a_bent_scan_is_undone():
    layers = stack(strain=0 * STRAIN)
    bent = [p + np.stack([0.4 * (p[:, 1] / 20) ** 2, 0.2 * (p[:, 1] / 20) ** 3], axis=1) for p in layers]
    straight = twist_from_atoms(bent, LATTICE)
    fit = twist_from_atoms(bent, LATTICE, order=3)
    assert fit.residual < 0.02 < straight.residual  # where atoms are is not quite where they should be
    lengths = np.concatenate([bond_lengths(undistorted(p, fit)) for p in bent])
    np.testing.assert_allclose(lengths, BOND, rtol=0.02)
    assert bond_lengths(bent[0]).std() > 10 * lengths.std()


def test_precise_atoms_count_more():
    generator = np.random.default_rng(2)
    exact = stack(strain=0 * STRAIN)
    sigmas = [np.where(generator.uniform(size=len(p)) < 0.5, 1e-3, 0.2) for p in exact]
    noisy = [p + s[:, None] * generator.normal(size=p.shape) for p, s in zip(exact, sigmas, strict=True)]
    plain, weighted = (twist_from_atoms(noisy, LATTICE, sigmas=s) for s in (None, sigmas))
    error = [np.linalg.norm(fit.distortion - DISTORTION) for fit in (plain, weighted)]
    assert error[1] < 0.1 * error[0]


def test_what_shows_no_lattice_is_refused():
    noise = np.random.default_rng(3).normal(size=(256, 256))
    with pytest.raises(InputError, match="shows 0 of 2 hexagonal lattices"):
        twist_from_image(noise, 0.1, LATTICE)
    with pytest.raises(InputError, match="shows 1 of 2"):
        twist_from_image(picture(stack()[:1]), 0.1, LATTICE)
    with pytest.raises(InputError, match="Layer 1, of 50 atoms"):
        twist_from_atoms([np.random.default_rng(4).uniform(-1, 1, (50, 2))], LATTICE)
    with pytest.raises(InputError, match=r"Only \d+% of the atoms of layer 1 lie near"):
        twist_from_atoms(stack(), LATTICE, sites=((0.0, 0.0),))
    with pytest.raises(InputError, match="Layer 2, of 50 atoms"):
        twist_from_atoms([stack()[0], np.random.default_rng(4).uniform(-20, 20, (50, 2))], LATTICE)


def test_the_published_image_is_twisted_by_28_95_degrees():
    if not IMAGE.exists():
        pytest.skip("The published image of twisted bilayer graphene is not on this machine.")
    stored = np.load(IMAGE)
    pixel = 1e10 * float(stored["pixel_size"])
    fit = twist_from_image(stored["im_array"].astype(float), pixel, LATTICE)
    assert abs(np.rad2deg(fit.twists[1])) == pytest.approx(28.95, abs=0.05)
    np.testing.assert_allclose(fit.stretches, [0.958, 1.029], atol=1e-3)
    assert fit.residual * 512 * pixel < 0.06
