"""Files of phonopy runs give the same modes, densities agree with phonopy's own, and damaged files are refused."""

import jax.numpy as jnp
import numpy as np
import pytest
from phonopy.physical_units import get_physical_units

from jaxaet.core import InputError
from jaxaet.io import load_phonons, to_phonopy
from jaxaet.phonons import StillingerWeber, density_of_states, find_modes, force_constants, mesh
from jaxaet.phonons.modes import MEV
from jaxaet.specimen import monolayer_cell

Q = jnp.array([[0.13, 0.21, 0.0], [0.5, 0.0, 0.0], [1 / 3, 1 / 3, 0.0]])
THZ = MEV / get_physical_units().DefaultToTHz  # meV, by phonopy's own values of the constants


@pytest.fixture(scope="module")
def finished():
    """A run as phonopy holds it, with forces on displaced atoms and with force constants, and our own modes."""
    energy, crystal = StillingerWeber(), monolayer_cell("MoS2", 3.11754, 1.55891)
    constants = force_constants(energy, crystal, energy.topology(crystal))
    run = to_phonopy(crystal, (4, 4, 1), constants)
    matrix = run.force_constants.copy()
    run.generate_displacements(distance=0.01, is_plusminus=True, is_diagonal=False)
    for entry in run.dataset["first_atoms"]:
        entry["forces"] = -np.einsum("nab,b->na", matrix[:, entry["number"]], entry["displacement"])
    run.force_constants = matrix
    return run, find_modes(constants, crystal, Q).energies


def yaml_alone(run, folder):
    run.save(folder / "phonopy_params.yaml", settings={"force_constants": True})
    return (folder / "phonopy_params.yaml",)


def forces_in_yaml(run, folder):
    run.save(folder / "phonopy_params.yaml", settings={"force_sets": True, "force_constants": False})
    return (folder / "phonopy_params.yaml",)


def bare(run, folder):
    run.save(folder / "phonopy.yaml", settings={"force_sets": False, "displacements": False, "force_constants": False})
    return folder / "phonopy.yaml"


def with_text(run, folder):
    from phonopy.file_IO import write_FORCE_CONSTANTS

    write_FORCE_CONSTANTS(run.force_constants, folder / "FORCE_CONSTANTS")
    return bare(run, folder), folder / "FORCE_CONSTANTS"


def with_hdf5(run, folder):
    from phonopy.file_IO import write_force_constants_to_hdf5

    write_force_constants_to_hdf5(run.force_constants, folder / "force_constants.hdf5")
    return bare(run, folder), folder / "force_constants.hdf5"


def with_compact_hdf5(run, folder):
    from phonopy.file_IO import write_force_constants_to_hdf5

    map_to_unit = run.primitive.p2s_map
    compact = run.force_constants[map_to_unit]
    write_force_constants_to_hdf5(compact, folder / "force_constants.hdf5", p2s_map=map_to_unit)
    return bare(run, folder), folder / "force_constants.hdf5"


def with_force_sets(run, folder):
    from phonopy.file_IO import write_FORCE_SETS

    write_FORCE_SETS(run.dataset, folder / "FORCE_SETS")
    return bare(run, folder), None, folder / "FORCE_SETS"


KINDS = [yaml_alone, forces_in_yaml, with_text, with_hdf5, with_compact_hdf5, with_force_sets]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_of_file_gives_the_modes_that_were_written(finished, kind, tmp_path):
    run, energies = finished
    crystal, constants = load_phonons(*kind(run, tmp_path))
    np.testing.assert_allclose(find_modes(constants, crystal, Q).energies, energies, atol=2e-5)


def test_files_beside_the_yaml_are_found_and_those_where_the_program_runs_are_not(finished, tmp_path, monkeypatch):
    run, energies = finished
    for name in ("run", "elsewhere"):
        (tmp_path / name).mkdir()
    file = with_text(run, tmp_path / "elsewhere")[0]
    monkeypatch.chdir(tmp_path / "elsewhere")
    alone = bare(run, tmp_path / "run")
    with pytest.raises(InputError, match="holds no force constants"):
        load_phonons(alone)
    monkeypatch.chdir(tmp_path / "run")
    crystal, constants = load_phonons(file)
    np.testing.assert_allclose(find_modes(constants, crystal, Q).energies, energies, atol=2e-5)


def test_the_density_on_a_mesh_is_that_of_phonopy(finished, tmp_path):
    run, _ = finished
    width, step = 0.25, 0.1  # THz
    run.run_mesh([8, 8, 1])
    run.run_total_dos(sigma=width, freq_min=-1, freq_max=17, freq_pitch=step, use_tetrahedron_method=False)
    crystal, constants = load_phonons(*with_hdf5(run, tmp_path))
    modes = find_modes(constants, crystal, jnp.asarray(mesh((8, 8, 1))))
    ours = density_of_states(modes, jnp.asarray(THZ * run.total_dos.frequency_points), THZ * width)[0] * THZ
    np.testing.assert_allclose(ours, run.total_dos.dos, atol=1e-6 * run.total_dos.dos.max(), rtol=0)


def test_files_that_do_not_fit_are_refused_in_a_sentence(finished, tmp_path):
    from phonopy.file_IO import write_FORCE_CONSTANTS

    run, _ = finished
    file = bare(run, tmp_path)
    small = tmp_path / "of_another_crystal"
    write_FORCE_CONSTANTS(np.zeros((6, 6, 3, 3)), small)
    (tmp_path / "noise.yaml").write_text("not: [phonopy\n")
    (tmp_path / "empty.hdf5").write_bytes(b"")
    cases = [
        ((tmp_path / "none.yaml",), "There is nothing at"),
        ((file, tmp_path / "none.hdf5"), "There is nothing at"),
        ((file, small), "of_another_crystal in .* cannot be read by phonopy"),
        ((file, tmp_path / "empty.hdf5"), "cannot be read by phonopy"),
        ((tmp_path / "noise.yaml",), "cannot be read by phonopy"),
        ((file,), "holds no force constants"),
    ]
    for given, words in cases:
        with pytest.raises(InputError, match=words) as error:
            load_phonons(*given)
        assert "\n" not in str(error.value)
