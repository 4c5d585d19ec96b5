"""Every float field of every class that a room offers is explained in its docstring, with a unit."""

import dataclasses
import importlib
import inspect
import pkgutil
import re

import equinox as eqx
import pytest

import jaxaet

UNITS = re.compile(
    r"Å|eV|rad\b|\bK\b|amu|seconds|electrons?|counts?|pixels?\b|unit|dimensionless|number|weight|fraction|relative|ratio"
    r"|standard errors"
)
ROOMS = sorted(module.name for module in pkgutil.iter_modules(jaxaet.__path__) if module.ispkg)


def classes(room: str) -> list[type[eqx.Module]]:
    """The classes that a room offers to the others."""
    module = importlib.import_module(f"jaxaet.{room}")
    offered = [getattr(module, name) for name in dir(module)]
    found = {c for c in offered if inspect.isclass(c) and issubclass(c, eqx.Module)}
    return sorted(found, key=lambda c: c.__name__)


def explanation(text: str, name: str) -> str:
    """What a docstring says of one field: up to the next sentence that begins with a name."""
    start = text.find(f"`{name}`")
    return "" if start < 0 else re.split(r"(?<=\.)\s+(?=`)", text[start:])[0]


@pytest.mark.parametrize("room", ROOMS)
def test_float_fields_are_explained_with_a_unit(room):
    silent = []
    for module_class in classes(room):
        text = " ".join((inspect.getdoc(module_class) or "").split())
        floats = [field.name for field in dataclasses.fields(module_class) if _is_float(field.type)]
        silent += [f"{module_class.__name__}.{f}" for f in floats if not UNITS.search(explanation(text, f))]
    # A volume's density is in the unit of the images it was made from.
    assert set(silent) <= {"Volume.data"}


def test_the_classes_of_the_lower_rooms_are_found():
    found = {c.__name__ for room in ("core", "specimen", "instrument") for c in classes(room)}
    assert {"Grid", "Images", "Volume", "Atoms", "Beam", "AnnularDetector", "Tilts", "Microscope"} <= found


def _is_float(annotation) -> bool:
    return any("float" in str(dtype) for dtype in getattr(annotation, "dtypes", ()))
