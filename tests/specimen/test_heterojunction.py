"""The paper's junction: its census, its bonds, its ripple and its strain."""

import collections
import functools

import jax
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.spatial import KDTree

from jaxaet.core import InputError
from jaxaet.specimen import lateral_heterojunction, paper_heterojunction

INTERFACES = ("zigzag", "armchair")
paper = functools.cache(lambda interface, seed=0: paper_heterojunction(jax.random.key(seed), interface))
flat = functools.cache(
    lambda **changes: lateral_heterojunction(
        **({"ripple_amplitude": 0.0, "vacancies": 0, "vacancies_at_interface": 0} | changes), key=jax.random.key(0)
    )
)


def split(atoms):
    positions, symbols = np.asarray(atoms.positions), atoms.symbols
    metal = np.isin(symbols, ["Mo", "W"])
    return positions[metal], symbols[metal], positions[~metal], symbols[~metal]


def bonded(atoms) -> list[set[str]]:
    """The metals bonded to each chalcogen."""
    metal, metals, chalcogen, _ = split(atoms)
    return [{str(m) for m in metals[near]} for near in KDTree(metal).query_ball_point(chalcogen, 2.9)]


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_census_is_the_papers(interface, seed):
    atoms = paper(interface, seed)
    assert collections.Counter(atoms.symbols.tolist()) == {"Mo": 488, "S": 991, "W": 150, "Se": 257}
    assert atoms.species == ("Mo", "S", "W", "Se")


@pytest.mark.parametrize("interface", INTERFACES)
def test_38_sulphur_and_8_selenium_bridge_the_interface_and_2_selenium_stray(interface):
    atoms = paper(interface)
    near, kinds = bonded(atoms), split(atoms)[3]
    bridging = np.array([m == {"Mo", "W"} for m in near])
    # At the octagon's rim a bridging column may have lost its metal of one kind.
    assert np.sum(bridging & (kinds == "S")) == pytest.approx(38, abs=2)
    assert np.sum(bridging & (kinds == "Se")) == pytest.approx(8, abs=2)
    assert sum(m == {"Mo"} and k == "Se" for m, k in zip(near, kinds, strict=True)) == pytest.approx(2, abs=1)


def test_9_of_16_vacancies_lie_at_the_interface():
    """A chalcogen alone in its column lacks its partner on the other side of the sheet."""
    metal, metals, chalcogen, _ = split(paper("zigzag"))
    away = np.linalg.norm(chalcogen[:, None, :2] - chalcogen[None, :, :2], axis=-1)
    # Across the bent sheet the two atoms of a column differ by up to 0.7 Å in plan, columns by 1.8 Å.
    single = chalcogen[np.sum(away < 1.2, axis=1) == 1]
    interface = (metal[metals == "Mo", 0].max() + metal[metals == "W", 0].min()) / 2
    # A column that lost both atoms leaves none behind.
    assert len(single) in (14, 16)
    assert np.sum(np.abs(single[:, 0] - interface) < 4.5) == pytest.approx(9, abs=16 - len(single))


@pytest.mark.parametrize("interface", INTERFACES)
def test_no_two_atoms_are_too_close_and_bonds_are_physical(interface):
    atoms = paper(interface)
    positions = np.asarray(atoms.positions)
    assert KDTree(positions).query(positions, k=2)[0][:, 1].min() > 2.3
    metal, _, chalcogen, _ = split(atoms)
    bonds = KDTree(metal).query(chalcogen, k=3, distance_upper_bound=3.0)[0]
    assert bonds[np.isfinite(bonds)].max() < 2.8


@settings(max_examples=5)
@given(
    interface=st.sampled_from(INTERFACES), mismatch=st.floats(0.0, 0.08), amplitude=st.floats(0, 2),
    wavelength=st.floats(40, 90), size=st.floats(50, 90), seed=st.integers(0, 99),
)  # fmt: skip
def test_no_junction_has_atoms_closer_than_the_papers_minimum(interface, mismatch, amplitude, wavelength, size, seed):
    atoms = lateral_heterojunction(
        interface, size, mismatch=mismatch, ripple_amplitude=amplitude, ripple_wavelength=wavelength,
        key=jax.random.key(seed),
    )  # fmt: skip
    positions = np.asarray(atoms.positions)
    assert KDTree(positions).query(positions, k=2)[0][:, 1].min() > 1.6


def test_it_is_an_octagon_around_the_origin():
    x, y = np.asarray(paper("zigzag").positions)[:, :2].T
    for across in (x, y, (x + y) / np.sqrt(2), (x - y) / np.sqrt(2)):
        assert across.max() == pytest.approx(41.5, abs=2)
        assert across.min() == pytest.approx(-41.5, abs=2)


def test_the_ripple_has_the_papers_amplitude_and_wavelength():
    """A sine of wavelength 50 Å and amplitude 1.5 Å, fitted to the metals near the roughest line."""
    positions, symbols, _, _ = split(paper("zigzag"))
    tungsten = positions[symbols == "W"]
    strip = positions[np.abs(positions[:, 0] - tungsten[:, 0].min() - 4) < 4]

    def fit(wavelength):
        phase = 2 * np.pi * strip[:, 1] / wavelength
        basis = np.stack([np.cos(phase), np.sin(phase)], axis=1)
        weights, residual, *_ = np.linalg.lstsq(basis, strip[:, 2], rcond=None)
        return float(residual[0]), float(np.hypot(*weights))

    residual, amplitude, wavelength = min((*fit(w), w) for w in np.arange(40.0, 60.0, 0.5))
    assert wavelength == pytest.approx(50, abs=0.5)
    assert amplitude == pytest.approx(1.5, abs=0.08)
    assert residual < 0.1 * np.sum(strip[:, 2] ** 2)


@pytest.mark.parametrize("interface", INTERFACES)
def test_roughness_peaks_on_the_selenide_side_and_decays(interface):
    positions, symbols, _, _ = split(paper(interface))
    distance = positions[:, 0] - (positions[symbols == "W"][:, 0].min() - 1)
    edges = np.arange(-36, 13, 12)
    roughness = [positions[(distance > a) & (distance < a + 12), 2].std() for a in edges]
    assert edges[np.argmax(roughness)] == 0
    assert np.all(np.diff(roughness[: int(np.argmax(roughness))]) > 0)
    assert roughness[0] < 0.1 * max(roughness)


@pytest.mark.parametrize("interface", INTERFACES)
def test_the_lattice_relaxes_from_the_mean_to_each_sides_own(interface):
    atoms = flat(interface=interface, size=120.0, relaxation=10.0)
    positions, symbols, _, _ = split(atoms)
    nearest, index = KDTree(positions).query(positions, k=7)
    spacing = nearest[:, 1:].mean(axis=1)
    centred = np.abs(positions[index].mean(axis=1) - positions).max(axis=1) < 0.4
    distance = positions[:, 0] - 15
    line = np.abs(positions[:, 1]) < 12
    mean = lambda which: spacing[which & centred & line].mean()  # noqa: E731
    assert mean(distance < -40) == pytest.approx(3.160, rel=2e-3)
    assert mean(distance > 30) == pytest.approx(3.160 * 1.0553, rel=4e-3)
    assert mean(np.abs(distance) < 3) == pytest.approx(3.160 * (1 + 0.0553 / 2), rel=4e-3)
    assert set(symbols[distance < 0]) == {"Mo"}
    assert set(symbols[distance > 0]) == {"W"}


@pytest.mark.parametrize("interface", INTERFACES)
def test_without_defects_every_inner_atom_is_fully_bonded(interface):
    """No bond is broken by the mismatch: the junction is coherent."""
    metal, _, chalcogen, _ = split(flat(interface=interface))
    counts = np.array([len(near) for near in KDTree(metal).query_ball_point(chalcogen, 2.9)])
    x, y = np.abs(chalcogen[:, :2]).T
    assert set(counts[np.max([x, y, (x + y) / np.sqrt(2)], axis=0) < 34]) == {3}


def test_defects_and_disorder_follow_their_arguments():
    clean, dirty = flat(), flat(vacancies=10, vacancies_at_interface=4)
    assert len(clean) - len(dirty) == 10
    moved = np.asarray(flat(disorder=0.05).positions) - np.asarray(clean.positions)
    assert moved.std() == pytest.approx(0.05, rel=0.05)
    selenium = [np.sum(flat(substitutions=n).symbols == "Se") for n in (0, 7)]
    assert selenium[1] - selenium[0] == 7


@pytest.mark.parametrize(
    "changes", [{"interface": "bent"}, {"vacancies": 3, "vacancies_at_interface": 5}, {"relaxation": 0.0}]
)
def test_impossible_junctions_are_refused(changes):
    with pytest.raises(InputError, match=r"choose|give"):
        flat(**changes)
