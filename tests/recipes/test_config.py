"""The configuration models and the examples in configs/."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from jaxaet.recipes.config import RECIPES, HeterojunctionConfig, TiltSeriesConfig
from jaxaet.recipes.config_errors import UNITS, _split
from jaxaet.recipes.config_file import load_config
from jaxaet.recipes.section import is_section

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
EXAMPLES = sorted(CONFIGS.rglob("*.yaml"))
FULL = {
    "heterojunction": "heterojunction",
    "tilt_series": "tilt_series",
    "simulation": "heterojunction_multislice",
    "dynamic": "dynamic_refinement",
    "raw_frames": "heterojunction_raw",
    "phonons_interface": "phonons_interface",
    "gombnet_apply": "gombnet_apply",
    "gombnet_train": "gombnet_tbg",
    "gombnet_tune": "gombnet_tune",
}


@pytest.fixture
def series(tmp_path):
    """The overrides that a recipe needs: measured data have no default."""
    (tmp_path / "series.npz").touch()
    path = f"data.path={tmp_path / 'series.npz'}"
    return {"tilt_series": [path, "specimen.species=[Si]"], "raw_frames": [path]}


def blocks(model):
    yield model
    for field in model.model_fields.values():
        if is_section(field.annotation):
            yield from blocks(field.annotation)


def keys_of(tree: dict, prefix=()):
    for name, value in tree.items():
        yield from keys_of(value, (*prefix, name)) if isinstance(value, dict) else [(*prefix, name)]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_valid(path, series):
    recipe = YAML(typ="safe").load(path.read_text())["recipe"]
    config = load_config(path, series.get(recipe, []))
    assert isinstance(config, RECIPES[recipe])


def test_the_full_examples_state_the_defaults(series, tmp_path):
    empty = tmp_path / "empty.yaml"
    for recipe, name in FULL.items():
        overrides = series.get(recipe, [])
        empty.write_text(f"recipe: {recipe}\n")
        assert load_config(CONFIGS / f"{name}.yaml", overrides) == load_config(empty, overrides)


def test_the_full_examples_name_every_key(series):
    assert FULL.keys() == RECIPES.keys()
    for recipe, name in FULL.items():
        overrides = series.get(recipe, [])
        written = YAML(typ="safe").load((CONFIGS / f"{name}.yaml").read_text())
        resolved = load_config(CONFIGS / f"{name}.yaml", overrides).model_dump(mode="json")
        left_out = set(keys_of(resolved)) - set(keys_of(written))
        assert left_out == {tuple(text.split("=")[0].split(".")) for text in overrides}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_key_is_explained_and_its_unit_is_in_the_explanation(recipe):
    for block in blocks(RECIPES[recipe]):
        for name, field in block.model_fields.items():
            if name == "recipe" or is_section(field.annotation):
                continue
            assert field.description, f"{block.__name__}.{name}"
            unit = _split(name)[1]
            assert not unit or UNITS[unit][0] in field.description, f"{block.__name__}.{name}"


def test_a_config_cannot_be_changed():
    with pytest.raises(ValidationError):
        HeterojunctionConfig().seed = 1


def test_lists_are_welcome_from_python(tmp_path):
    (tmp_path / "a.npz").touch()
    config = TiltSeriesConfig(
        data={"path": str(tmp_path / "a.npz"), "angles_deg": [[0, 1, 2.5]]}, specimen={"species": ["Fe", "Pt"]}
    )
    assert config.data.angles_deg == ((0.0, 1.0, 2.5),)
    assert config.specimen.species == ("Fe", "Pt")
