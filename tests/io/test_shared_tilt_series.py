"""The tilt series of other groups: projecting their atoms by our convention must explain their images."""

from pathlib import Path

import numpy as np
import pytest
from tilt_series_files import spots

from jaxaet.core import InputError, project
from jaxaet.io import check_counts, load_tilt_series

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "aet"


def shared(name):
    if not (DATA / name).is_file():
        pytest.skip(f"The shared tilt series {name} is not on this machine.")
    return DATA / name


def correlations(images, atoms, angles, weights, width):
    """The correlation of each image with Gaussian spots of `width` Å at the projected atoms."""
    seen = np.asarray(project(atoms.positions, angles))
    model = spots(seen, weights, images.grid.shape, float(images.grid.sampling), width)
    pairs = zip(model, np.asarray(images.data), strict=True)
    return np.array([np.corrcoef(drawn.ravel(), seen.ravel())[0, 1] for drawn, seen in pairs])


def test_fept():
    found = load_tilt_series(shared("fept482_anglejitter41.npz"))
    heights, width = found.metadata["peak_height"], found.metadata["sigma_A"]
    true = correlations(found.images, found.truth, found.truth_angles, heights, width)
    nominal = correlations(found.images, found.truth, found.images.angles, heights, width)
    print(true.min(), nominal.min(), nominal.mean())
    assert true.min() > 0.99
    assert nominal.mean() < true.min()
    assert list(np.unique(found.truth.symbols)) == ["Fe", "Pt"]


@pytest.mark.parametrize(("dose", "least"), [("5", 0.88), ("4", 0.33)])
def test_amorphous_silicon(dose, least):
    found = load_tilt_series(shared(f"np1_asi208_dose1p6e{dose}.npz"))
    right, mirrored = (
        correlations(found.images, found.truth, sign * found.images.angles, np.ones(208), 0.5) for sign in (1, -1)
    )
    assert right.min() > least  # what noise leaves: 1 where there is none
    assert mirrored.mean() < 0.75 * right.mean()
    assert (len(found.truth), found.truth.species, found.truth_angles) == (208, ("Si",), None)
    check_counts(found.images)


def test_tantalum_film_has_a_reference_but_no_truth():
    found = load_tilt_series(shared("ta_film_area25_exp46.npz"))
    assert found.truth is None
    weights = np.ones(len(found.reference))
    assert correlations(found.images, found.reference, found.images.angles, weights, 0.65).min() > 0.9
    with pytest.raises(InputError, match="gaussian"):
        check_counts(found.images)


def test_vesicle_has_no_atoms():
    found = load_tilt_series(shared("vesicle60_genfire61.npz"))
    assert (found.truth, found.reference) == (None, None)
    assert found.metadata["volume_truth"].shape == (60, 60, 60)


def test_twisted_bilayer_graphene_has_no_images():
    with pytest.raises(InputError, match="holds no images but angles_deg, atoms_A"):
        load_tilt_series(shared("tbg_experimental_model.npz"))
