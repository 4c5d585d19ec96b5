"""The multislice model: what no image may depend on, limits that are known, and what it refuses."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxaet
from jaxaet.core import rotation_matrix
from jaxaet.forward import AtomPlanes, Cell, Lens, Multislice, Slabs, diffraction_patterns, exit_waves, object_transfer
from jaxaet.forward.potential import species_gaussians
from jaxaet.forward.scattering import electron_form_factor

BEAM = jaxaet.Beam(60e3, 0.038, 0.0, 1e3)
TRACED = []


def specimen(seed=0, tungsten=True):
    rng = np.random.default_rng(seed)
    positions = rng.uniform(-2.5, 2.5, (7, 3)) * [1, 1, 0.8]
    return jaxaet.Atoms.from_symbols(positions, ["W" if tungsten else "S", *"Mo S Se S C Mo".split()], u2=0.005)


def microscope(source=0.0, shape=(16, 16), sampling=0.32, **beam) -> jaxaet.Microscope:
    return jaxaet.Microscope(
        jaxaet.Beam(60e3, 0.038, source, 1e3, **beam), jaxaet.AnnularDetector(0.05, 0.21),
        jaxaet.Tilts([[0.0, 0.4, -0.3]]), jaxaet.Grid(shape, sampling),
    )  # fmt: skip


@eqx.filter_jit
def see(model, atoms, microscope):
    TRACED.append(model)
    return model(atoms, microscope).data


def changed(model, **fields):
    for name, value in fields.items():
        model = eqx.tree_at(lambda m, name=name: getattr(m, name), model, value, is_leaf=lambda x: x is None)
    return model


def error(found, expected):
    return float(np.abs(np.asarray(found) - np.asarray(expected)).max() / np.asarray(expected).max())


def test_phases_are_the_fourier_series_of_the_scattering_factors():
    """Σ over slabs of the phase is gamma lambda Σ f(k) exp(-2 pi i k r): the table, not its Gaussians, is compared."""
    atoms, cell = specimen(), Cell(90, 9.0)
    found = species_gaussians(atoms, BEAM, "lobato")
    phases = Slabs(5, 1.0).phases(cell, found, jnp.arange(2.0, -3.0, -1.0))
    ky, kx = (np.asarray(k) for k in cell.frequencies())
    factors = np.asarray(electron_form_factor(atoms.species, jnp.asarray(np.hypot(kx, ky))))
    expected = np.zeros(kx.shape, complex)
    for place, weights in zip(np.asarray(atoms.positions), np.asarray(atoms.composition), strict=True):
        wave = np.exp(-2j * np.pi * (kx * place[0] + ky * place[1]) - 2 * np.pi**2 * 0.005 * (kx**2 + ky**2))
        expected += wave * np.tensordot(weights, factors, 1)
    expected *= float(BEAM.mass_ratio * BEAM.wavelength)
    seen = np.fft.fft2(np.fft.ifftshift(np.asarray(phases.sum(axis=0)))) * (9.0 / 90) ** 2
    inner = np.hypot(kx, ky) < 4.5  # the corners of the square hold fewer terms
    assert np.abs(seen - expected)[inner].max() < 2e-4 * np.abs(expected).max()


def test_electrons_are_conserved():
    """Without absorption only what leaves the band is lost; a band that holds everything loses nothing."""
    atoms, cell = specimen(tungsten=False), Cell(256, 10.0)
    weak = eqx.tree_at(lambda a: a.composition, atoms, 0.2 * atoms.composition)
    total = diffraction_patterns(exit_waves(weak, BEAM, cell, np.zeros((1, 2)), AtomPlanes(7))).sum()
    assert float(total) == pytest.approx(1.0, abs=1e-5)


def test_slabs_converge_as_they_thin():
    """A core that two slabs share, at second order in their thickness."""
    atoms, scope = jaxaet.Atoms.from_symbols([[0.1, 0.0, 0.0]], ["W"], u2=0.005), microscope(shape=(8, 8))
    thick, thin, thinner = (
        see(Multislice.plan(atoms, scope, slabs=True, spacing=spacing, sampling=0.1), atoms, scope)
        for spacing in (0.8, 0.4, 0.1)
    )
    assert error(thin, thinner) < 0.5 * error(thick, thinner) < 0.02


def test_planes_converge_with_their_number():
    atoms, scope = specimen(), microscope()
    plan = Multislice.plan(atoms, scope, sampling=0.1)
    few, more, all_ = (see(changed(plan, slicing=AtomPlanes(n)), atoms, scope) for n in (2, 4, 7))
    assert error(more, all_) < 0.5 * error(few, all_) < 0.1


def test_prism_of_factor_one_is_exact():
    atoms, scope = specimen(), microscope()
    prism = Multislice.plan(atoms, scope, prism=1, block=4, sampling=0.11)
    direct = Multislice.plan(atoms, scope, block=16, sampling=0.11)
    direct = changed(direct, cell=prism.cell, lens=Lens(prism.cell.pixels, 1), slicing=prism.slicing)
    prism = changed(prism, lens=Lens(prism.cell.pixels, 1))
    assert error(see(prism, atoms, scope), see(direct, atoms, scope)) < 1e-9


def test_prism_converges_with_the_window():
    """With the same window, a larger factor only adds room: the error is that of the window, as of `Direct`."""
    atoms, scope = specimen(), microscope()
    exact = see(Multislice.plan(atoms, scope, margin=8.0, sampling=0.11), atoms, scope)
    errors = [
        error(see(Multislice.plan(atoms, scope, prism=2, block=4, margin=margin, sampling=0.11), atoms, scope), exact)
        for margin in (2.0, 5.0)
    ]
    assert errors[1] < 0.5 * errors[0]
    assert errors[1] < 0.01


def test_one_light_atom_scatters_its_cross_section():
    """Over a wide image, carbon in the Born limit; the linear model's cross-section to 3 %."""
    atom = jaxaet.Atoms.from_symbols([[0.1, -0.2, 0.0]], ["C"])
    scope = eqx.tree_at(lambda m: m.tilts.angles, microscope(shape=(32, 32), source=0.3), jnp.zeros((1, 3)))
    model = Multislice.plan(atom, scope, sampling=0.1, margin=8.0)
    expected = 1e3 * object_transfer(("C",), scope.beam, scope.detector, jnp.zeros(1))[0, 0]
    assert float(see(model, atom, scope).sum()) == pytest.approx(float(expected), rel=0.03)


def test_the_specimen_turns_with_the_tilt():
    atoms, scope = specimen(), microscope()
    model = Multislice.plan(atoms, scope, sampling=0.11)
    turned = eqx.tree_at(lambda a: a.positions, atoms, atoms.positions @ rotation_matrix(scope.tilts.angles[0]))
    flat = eqx.tree_at(lambda m: m.tilts.angles, scope, jnp.zeros((1, 3)))
    assert error(see(model, turned, flat), see(model, atoms, scope)) < 1e-9


def test_the_image_moves_with_the_atoms():
    """By any distance: three blocks of scan points cut the specimen differently."""
    atoms, scope = specimen(), microscope(shape=(24, 24))
    scope = eqx.tree_at(lambda m: m.tilts.angles, scope, jnp.zeros((1, 3)))
    moved = eqx.tree_at(lambda a: a.positions, atoms, atoms.positions + jnp.array([[3 * 0.32, -2 * 0.32, 0.0]]))
    model = Multislice.plan(atoms, scope, sampling=0.1)
    here, there = see(model, atoms, scope)[0], see(model, moved, scope)[0]
    assert error(np.roll(here, (-2, 3), (0, 1))[4:-4, 4:-4], there[4:-4, 4:-4]) < 6e-3


def test_more_atoms_than_places_are_added_in_turns():
    atoms, scope = specimen(), microscope()
    model = Multislice.plan(atoms, scope, sampling=0.11)
    narrow = Multislice(
        model.cell, model.slicing, model.lens, model.method, model.thermal, model.stride, model.shape, model.scan,
        model.margin, model.block, 2, model.foci, model.table, model.remat,
    )  # fmt: skip
    assert error(see(narrow, atoms, scope), see(model, atoms, scope)) < 1e-9


def test_other_values_do_not_trace_again():
    model = Multislice.plan(specimen(), microscope(), sampling=0.11)
    see(model, specimen(), microscope())
    before = len(TRACED)
    images = [see(model, specimen(seed), microscope(sampling=0.3)) for seed in (1, 2)]
    assert len(TRACED) == before
    assert float(images[0].sum()) != float(images[1].sum())


def test_an_empty_place_lets_the_whole_beam_through():
    """A detector over the whole bright field counts every electron where no atom is near."""
    atom = jaxaet.Atoms.from_symbols([[-6.0, 0.0, 0.0]], ["C"])
    scope = changed(microscope(shape=(40, 40), sampling=0.5), detector=jaxaet.AnnularDetector(0.0, 0.08))
    image = see(Multislice.plan(atom, scope, sampling=0.11), atom, scope)[0] / (1e3 * 0.5**2)
    assert float(image[20, 35]) == pytest.approx(1.0, abs=2e-3)
    assert 0.99 < float(image.min()) < 0.999


def test_sectors_make_up_the_ring():
    atoms, scope = specimen(), microscope()
    model = Multislice.plan(atoms, scope, sampling=0.11)
    sectors = [
        see(model, atoms, changed(scope, detector=jaxaet.SegmentedDetector(0.05, 0.21, weights, 0.3)))
        for weights in np.eye(3)
    ]
    assert error(sum(sectors), see(model, atoms, scope)) < 1e-9
    assert error(sectors[0], sectors[1]) > 0.01


def test_frozen_phonons_average_to_thermal_motion():
    """The corners of a tetrahedron have mean 0 and covariance u2; a still specimen is one snapshot; blur is elastic."""
    atoms, scope = specimen(), microscope()
    frozen = jaxaet.FrozenPhonons.draw(jax.random.key(0), len(atoms), 4)
    np.testing.assert_allclose(frozen.directions.mean(axis=0), 0.0, atol=1e-12)
    covariance = jnp.einsum("cni,cnj->nij", frozen.directions, frozen.directions) / 4
    np.testing.assert_allclose(covariance, np.broadcast_to(np.eye(3), (7, 3, 3)), atol=1e-12)
    still = eqx.tree_at(lambda a: a.u2, atoms, jnp.zeros(7))
    plan = Multislice.plan(atoms, scope, sampling=0.11)
    image = {
        "still": see(plan, still, scope),
        "frozen still": see(changed(plan, thermal=frozen), still, scope),
        "blurred": see(plan, atoms, scope),
        "frozen": see(changed(plan, thermal=frozen), atoms, scope),
        "given": see(changed(plan, thermal=jaxaet.Snapshots(frozen.directions * 0.005**0.5)), atoms, scope),
    }
    assert error(image["frozen still"], image["still"]) < 1e-6
    assert error(image["given"], image["frozen"]) < 1e-9
    # Motion takes elastic intensity away from large angles; frozen phonons keep it as diffuse scattering.
    assert image["blurred"].sum() < 0.9 * image["frozen"].sum()


def test_focal_spread_is_a_mean_over_defocus():
    atoms, scope = specimen(), microscope()
    model = Multislice.plan(atoms, scope, sampling=0.11)
    spread = microscope(focal_spread=40.0)
    nodes, weights = np.polynomial.hermite.hermgauss(7)
    several = [
        weight * see(model, atoms, microscope(aberrations=jaxaet.Aberrations(c10=40.0 * 2**0.5 * node)))
        for node, weight in zip(nodes, weights / weights.sum(), strict=True)
    ]
    found = see(Multislice.plan(atoms, spread, sampling=0.11), atoms, spread)
    assert error(found, sum(several)) < 3e-3  # the tails that are cut off are those of the focused probe


@pytest.mark.parametrize("model", ["linear", "multislice"])
def test_vibration_is_a_mean_over_one_period(model):
    """The image blurred by the stage is the mean of images displaced along the line."""
    atoms, scope = specimen(), microscope(source=0.4, shape=(24, 24))
    forward = jaxaet.Linear() if model == "linear" else Multislice.plan(atoms, scope, sampling=0.11)
    amplitude = 0.3 if model == "linear" else 0.7
    vibration = jaxaet.StageVibration(0.5, amplitude, 0.0)
    shaken = changed(scope, vibration=jax.tree.map(jnp.asarray, vibration))
    if model == "multislice":
        forward = Multislice.plan(atoms, shaken, sampling=0.11)
    line = amplitude * np.array([[np.cos(0.5), np.sin(0.5)]])
    moved = [
        see(forward, atoms, eqx.tree_at(lambda m: m.tilts.shifts, scope, jnp.asarray(line * np.sin(t))))
        for t in 2 * np.pi * (np.arange(16) + 0.25) / 16
    ]
    tolerance = 0.001 * (amplitude / 0.4) ** 6 if model == "linear" else 5e-3  # what `StageVibration.places` says
    assert error(see(forward, atoms, shaken)[:, 4:-4, 4:-4], np.mean(moved, axis=0)[:, 4:-4, 4:-4]) < tolerance


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sampling": 0.15}, "detector reaches 210 mrad and a sampling of 0.15 Å holds 154 mrad; use at most 0.11 Å"),
        ({"margin": 0.5}, "margin 0.5 .* too small for a probe"),
        ({"spacing": 0.0}, "spacing 0 .* at least one slice"),
        ({"block": 0}, "block 0"),
        ({"stride": 0.0}, "stride 0"),
        ({"prism": 0}, "prism 0"),
        ({"foci": -1}, "at -1 foci"),
        ({"stride": 3.0}, r"stride of 3 pixels leaves 0.96 Å .* give at most 1\.$"),
    ],
)
def test_what_cannot_be_computed_is_refused(options, sentence):
    with pytest.raises(jaxaet.InputError, match=sentence):
        Multislice.plan(specimen(), microscope(), **options)


def test_a_bright_field_detector_sees_its_share_of_the_probe():
    """A disc smaller than the aperture: the cells must still hold the probe."""
    atoms = changed(specimen(), composition=jnp.zeros_like(specimen().composition))
    scope = microscope(source=0.0)
    scope = eqx.tree_at(lambda m: m.detector, scope, jaxaet.AnnularDetector(0.0, 0.02))
    seen = see(Multislice.plan(atoms, scope, margin=9.0), atoms, scope) / (scope.beam.dose * scope.grid.sampling**2)
    np.testing.assert_allclose(seen, (0.02 / float(scope.beam.semi_angle)) ** 2, rtol=0.02)


def test_a_prism_factor_of_seven_has_a_cell_too():
    assert Multislice.plan(specimen(), microscope(), prism=7).cell.pixels % 7 == 0


def test_nothing_and_the_motion_of_other_atoms_are_refused():
    with pytest.raises(jaxaet.InputError, match="no atoms"):
        Multislice.plan(specimen().select(np.zeros(0, int)), microscope())
    with pytest.raises(jaxaet.InputError, match="0 snapshots"):
        jaxaet.FrozenPhonons.draw(jax.random.key(0), 3, 0)
    with pytest.raises(jaxaet.InputError, match="planned for images of 24 × 20 pixels and these have 20 × 24"):
        Multislice.plan(specimen(), microscope(shape=(24, 20)))(specimen(), microscope(shape=(20, 24)))
    few = jaxaet.FrozenPhonons.draw(jax.random.key(0), 1, 4)
    with pytest.raises(jaxaet.InputError, match="move 1 atoms but the specimen has"):
        few.snapshots(specimen().positions, specimen().total_u2)


def test_impossible_instruments_are_refused():
    with pytest.raises(jaxaet.InputError, match="give angles in rad"):
        jaxaet.AnnularDetector(50.0, 210.0)
    with pytest.raises(jaxaet.InputError, match="38 rad; give rad"):
        jaxaet.Beam(60e3, 38.0)
    with pytest.raises(jaxaet.InputError, match="name no sectors"):
        jaxaet.SegmentedDetector(0.05, 0.2, ())
    with pytest.raises(jaxaet.InputError, match="c12 has the shape"):
        jaxaet.Aberrations(c12=3.0)
    with pytest.raises(jaxaet.InputError, match="positive step"):
        jaxaet.GridScan([0], step=(0.2, 0.0, 0.3))
    with pytest.raises(jaxaet.InputError, match="semi-angle of -38 mrad is not possible"):
        jaxaet.Beam(60e3, -0.038)
    with pytest.raises(jaxaet.InputError, match="from 210 to 50 mrad collects nothing"):
        jaxaet.AnnularDetector(0.21, 0.05)
    with pytest.raises(jaxaet.InputError, match="An atom lies 2"):
        exit_waves(specimen(), BEAM, Cell(64, 3.0))
    with pytest.raises(jaxaet.InputError, match="aperture reaches 38 mrad"):
        exit_waves(specimen(), BEAM, Cell(12, 10.0))
    scope = eqx.tree_at(lambda m: m.detector.response, microscope(), jnp.ones(6))
    with pytest.raises(jaxaet.InputError, match="6 responses"):
        Multislice.plan(specimen(), scope)(specimen(), scope)
