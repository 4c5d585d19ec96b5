"""The recipe of dynamic refinement on five atoms: it mends what the linear model misplaces, and resumes."""

import json
from pathlib import Path

import pytest

from jaxaet.recipes import dynamic
from jaxaet.recipes.config import DynamicConfig
from jaxaet.recipes.config_file import load_config
from jaxaet.recipes.run_folder import RunFolder

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "dynamic_refinement.yaml"
TINY = ["specimen.radius_a=2.4", "instrument.image_pixels=[24, 24]", "noise=false", "refinement.rounds=2"]
TINY += ["multislice.margin_a=2.5", "multislice.stride=2.0", "error_bars=false"]


def refined(path, resume=False) -> dict:
    config = load_config(CONFIG, TINY)
    assert isinstance(config, DynamicConfig)
    with RunFolder.create(path, config, resume=resume, quiet=True) as folder:
        folder.finish(dynamic.run(config, folder))
    return json.loads((path / "metrics.json").read_text())


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    path = tmp_path_factory.mktemp("dynamic") / "first"
    return path, refined(path)


def test_dynamic_refinement_mends_the_linear_fit(first):
    path, metrics = first
    assert metrics["defect_correction"]["r1_percent"] < 0.5 * metrics["linear_alone"]["r1_percent"]
    assert (path / "atoms.extxyz").is_file()
    assert (path / "report.html").is_file()


def test_a_killed_run_goes_on_to_the_same_numbers(first):
    path, metrics = first
    for late in sorted((path / "checkpoints").glob("*series_2*"))[3:]:
        late.unlink()
    assert refined(path, resume=True) == metrics


def test_the_plan_names_atoms_and_time():
    config = load_config(CONFIG, TINY)
    assert isinstance(config, DynamicConfig)
    assert dynamic.plan(config)["atoms"] < 10
