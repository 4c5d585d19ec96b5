"""The Python of the documentation runs as it stands."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import jaxaet

ROOT = Path(__file__).resolve().parents[1]


def run_examples(path: Path) -> dict:
    """What the Python blocks of a page define, run one after the other."""
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, path, "exec"), names)
    return names


def test_readme_example_has_gradients_of_specimen_and_instrument():
    names = run_examples(ROOT / "README.md")
    gradients = jax.tree.leaves((names["by_atoms"].positions, names["by_microscope"].tilts.angles))
    assert all(jnp.isfinite(g).all() and jnp.any(g != 0) for g in gradients)
    assert float(names["images"].max()) == pytest.approx(float(names["data"].data.max()), rel=0.5)


def test_extending_example_adds_a_plane():
    names = run_examples(ROOT / "docs" / "extending.md")
    microscope = jaxaet.Microscope(
        beam=jaxaet.Beam(energy=60e3, semi_angle=0.03),
        detector=jaxaet.AnnularDetector(inner=0.06, outer=0.2),
        tilts=jaxaet.Tilts([[0.0, 0.0, 0.0]]),
        grid=jaxaet.Grid((8, 9), 0.3),
    )
    atoms = jaxaet.Atoms.from_symbols([[0, 0, 0]], ["W"])
    plain, sloped = (model(atoms, microscope).data for model in (jaxaet.Linear(), names["WithBackground"](jnp.ones(2))))
    assert (sloped - plain)[0, 3, 5] == pytest.approx(3 + 5)


def test_structure_example_finds_the_twist_twice():
    names = run_examples(ROOT / "docs" / "structure.md")
    by_image, by_atoms = (abs(names[name].twists[1]) for name in ("by_image", "by_atoms"))
    assert by_image == pytest.approx(by_atoms, abs=0.003)  # 0.17°, four standard errors of the image's
    assert names["bonds"].mean() == pytest.approx(1.42, abs=0.01)
