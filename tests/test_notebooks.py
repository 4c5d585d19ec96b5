"""The notebooks run from top to bottom, find what they are about, and are kept without outputs."""

import json
from pathlib import Path

import jax.numpy as jnp
import matplotlib.pyplot as plt
import pytest

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def cells(path):
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def run(name):
    """What the code of a notebook defines; its figures are drawn nowhere."""
    plt.switch_backend("agg")
    names: dict = {}
    for cell in cells(NOTEBOOKS / name):
        exec(compile("".join(cell["source"]), name, "exec"), names)
    plt.close("all")
    return names


def test_errors_of_atoms_are_as_large_as_their_bars():
    found = run("01_from_images_to_atoms.ipynb")
    assert found["near"].all()
    assert found["rms"] == pytest.approx(found["expected"], rel=0.25)


def test_the_derivative_of_a_density_is_its_difference():
    found = run("02_phonons_of_the_atoms.ipynb")
    assert float(jnp.linalg.norm(found["slope"])) == pytest.approx(float(found["difference"]), rel=1e-4)
    assert float(found["ratio"].min()) < 0.25


def test_the_twist_of_found_atoms_is_that_of_the_drawn_ones():
    found = run("03_layers_of_one_image.ipynb")
    assert abs(found["twist"]) == pytest.approx(abs(found["expected"]), abs=0.15)


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs_and_use_public_names_alone(path):
    for cell in cells(path):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        assert "from jaxaet" not in "".join(cell["source"])
