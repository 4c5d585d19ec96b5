"""The rules of the house: who may import whom, how fast the door opens, how long a file may be."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import jaxaet

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "jaxaet").rglob("*.py"))


def test_rooms_import_only_what_they_may():
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    contracts = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert contracts.returncode == 0, contracts.stdout


def test_import_is_light():
    program = "import jaxaet, json, sys; dir(jaxaet); print(json.dumps(list(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)
    assert {"jax", "matplotlib", "numpy", "pydantic"}.isdisjoint(loaded)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    assert not [f.name for f in functions if f.end_lineno - f.lineno >= 60]


@pytest.mark.parametrize("name", jaxaet.__all__)
def test_public_names_resolve_and_are_documented(name):
    documented = getattr(jaxaet, name)
    assert documented.__doc__
    # Equinox and dataclasses write "Name(field, ...)" where no docstring was given.
    assert not documented.__doc__.startswith(f"{name}(")


def test_ci_runs_the_command_of_the_readme():
    command = "python3 dev.py test"
    ci = ROOT / ".ci" / "run"
    assert os.access(ci, os.X_OK)
    assert command in ci.read_text(encoding="utf-8")
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")
