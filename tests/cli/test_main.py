"""The commands as a user gives them: what they print, what they write, and how they end."""

import json
import signal
import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
from typer.testing import CliRunner

from jaxaet.cli import jax_setup
from jaxaet.cli.main import app
from jaxaet.core.errors import InputError

# A recipe of three stages whose numbers depend on the seed and on each other; KILL dies inside the stage it names.
FAKE = """
import os, signal, sys, types
import numpy as np

def run(config, folder):
    def stage(name, function):
        def body():
            if os.environ.get("KILL") == name:
                os.kill(os.getpid(), signal.SIGKILL)
            return function()
        return folder.stage(name, body)

    atoms = stage("trace", lambda: {"x": np.random.default_rng(config.seed).normal(size=1000)})
    better = stage("refine", lambda: {"x": np.cumsum(atoms["x"]) / 7})
    spread = stage("error_bars", lambda: {"sigma": np.std(better["x"])})
    return {"mean": float(better["x"].mean()), "sigma": spread["sigma"]}

sys.modules["jaxaet.recipes.heterojunction"] = types.SimpleNamespace(run=run)
from jaxaet.cli.main import app
app()
"""

BAD = {
    "recipe: heterojunction\nseeed: 1\n": ":2: seeed: found",
    "recipe: heterojunction\ninstrument:\n  energy_ev: 60000\n": ":3: instrument.energy_ev: found the unit eV",
    "recipe: heterojunction\nseed: many\n": ':2: seed: found "many"',
    "recipe: heterojunction\ntracing: {min_weight: 7}\n": ":2: tracing.min_weight: found 7",
    "recipe: tilt_series\ndata: {path: none.npz}\nspecimen: {species: [Si]}\n": ":2: data.path: found no file",
    "recipe: heterojunction\nseed: 1\nseed: 2\n": ":3: seed: found this key twice",
    "recipe: [\n": ":2: found a line that is not YAML",
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder with one good configuration in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ok.yaml").write_text("recipe: heterojunction\n")
    return tmp_path


@pytest.fixture
def recipe(monkeypatch):
    """A stand-in for the recipe's module; JAX keeps the settings of the tests."""
    fake = SimpleNamespace(run=lambda config, folder: folder.stage("fit", lambda: {"seed": config.seed}))
    monkeypatch.setitem(sys.modules, "jaxaet.recipes.heterojunction", fake)
    monkeypatch.setattr(jax_setup, "prepare", lambda precision: None)
    return fake


def command(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def loaded_by(*arguments):
    """The modules that a command has imported when it ends."""
    code = (
        "import sys\nfrom jaxaet.cli.main import app\n"
        f"try:\n    app({list(arguments)!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        "print('MODULES', *sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split("MODULES")[1].split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"]])
def test_help_and_version_import_nothing_heavy(arguments):
    assert not loaded_by(*arguments) & {"jax", "numpy", "matplotlib", "abtem", "ase"}


def test_validate_imports_nothing_heavy(here):
    assert not loaded_by("validate", "ok.yaml") & {"jax", "numpy", "matplotlib", "abtem", "ase"}


@pytest.mark.parametrize("verb", ["run", "validate", "plan"])
@pytest.mark.parametrize("text", BAD)
def test_a_bad_config_ends_with_one_sentence_and_writes_nothing(here, verb, text):
    (here / "bad.yaml").write_text(text)
    before = sorted(here.iterdir())
    result = command(verb, "bad.yaml")
    assert result.exit_code == 2
    assert result.output.startswith(f"bad.yaml{BAD[text]}")
    assert len(result.output.strip().splitlines()) == 1
    assert "Traceback" not in result.output
    assert sorted(here.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "absent.yaml"], "absent.yaml: found no such file"),
        (["run", "ok.yaml", "--set", "seed"], "key.path=value"),
        (["run", "ok.yaml", "--set", "tracing.min_distance_nm=0.2"], "write tracing.min_distance_a: 2"),
        (["run"], "give a CONFIG"),
        (["run", "--resume", "absent"], "holds no run"),
        (["run", "ok.yaml", "--resume", "absent"], "the folder alone"),
        (["run", "ok.yaml", "--out", "ok.yaml/below"], "give another --out"),
    ],
)
def test_bad_options_end_with_one_sentence_and_write_nothing(here, recipe, arguments, words):
    result = command(*arguments)
    assert result.exit_code == 2
    assert words.replace("tracing.min_distance_a: 2", "min_distance_a: 2") in result.output
    assert "Traceback" not in result.output
    assert [file.name for file in here.iterdir()] == ["ok.yaml"]


def test_run_writes_a_folder_and_never_over_another(here, recipe):
    result = command("run", "ok.yaml", "--set", "seed=5", "--quiet")
    assert result.output == "Results in runs/ok-1\n"
    assert json.loads((here / "runs/ok-1/metrics.json").read_text()) == {"seed": 5}
    assert "seed: 5" in (here / "runs/ok-1/config.yaml").read_text()
    assert command("run", "ok.yaml", "--quiet").output == "Results in runs/ok-2\n"
    before = {file: file.read_bytes() for file in (here / "runs/ok-1").rglob("*") if file.is_file()}
    result = command("run", "ok.yaml", "--out", "runs/ok-1")
    assert result.exit_code == 2
    assert "nothing is overwritten" in result.output
    assert {file: file.read_bytes() for file in (here / "runs/ok-1").rglob("*") if file.is_file()} == before


def test_ctrl_c_says_how_to_go_on(here, recipe):
    finish = recipe.run

    def interrupted(config, folder):
        folder.stage("fit", lambda: {"seed": config.seed})
        raise KeyboardInterrupt

    recipe.run = interrupted
    result = command("run", "ok.yaml", "--out", "stopped", "--quiet")
    assert result.exit_code == 130
    assert "jaxaet run --resume stopped" in result.output
    recipe.run = finish
    assert command("run", "--resume", "stopped", "--quiet").output == "Results in stopped\n"
    assert json.loads((here / "stopped/metrics.json").read_text()) == {"seed": 0}


def test_bad_data_is_a_sentence_and_a_bug_keeps_its_traceback(here, recipe):
    def refuse(config, folder):
        raise InputError("The images hold NaN; give finite images.")

    recipe.run = refuse
    result = command("run", "ok.yaml", "--out", "a", "--quiet")
    assert (result.exit_code, result.output) == (2, "The images hold NaN; give finite images.\n")
    assert not (here / "a").exists()
    recipe.run = lambda config, folder: 1 // 0
    result = command("run", "ok.yaml", "--out", "b", "--quiet")
    assert isinstance(result.exception, ZeroDivisionError)
    assert "ZeroDivisionError" in (here / "b/run.log").read_text()


def test_plan_prints_what_the_recipe_foresees(here, recipe):
    recipe.plan = lambda config: {"images": {"shape": config.instrument.image_pixels}, "minutes": 3}
    result = command("plan", "ok.yaml", "--set", "instrument.image_pixels=[64, 32]")
    assert result.output.splitlines() == ["images.shape  (64, 32)", "minutes       3"]
    recipe.plan = lambda config: {"peak_memory_gb": 1e9}
    assert "Warning: that is more memory than" in command("plan", "ok.yaml").output


def test_init_copies_valid_examples_and_overwrites_nothing(here):
    assert command("init", "mine").exit_code == 0
    copies = {file: file.read_text() for file in (here / "mine").rglob("*.*")}
    for file, text in copies.items():
        schema = text.splitlines()[0].partition("$schema=")[2]
        assert file.suffix == ".json" or (file.parent / schema).resolve() == here / "mine/schema.json"
    assert command("validate", "mine/heterojunction.yaml").exit_code == 0
    result = command("init", "mine")
    assert (result.exit_code, "nothing is overwritten" in result.output) == (2, True)
    assert {file: file.read_text() for file in (here / "mine").rglob("*.*")} == copies


def test_doctor_names_devices_and_a_cache_that_cannot_be_written(here, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    good = command("doctor").output
    assert jax.devices()[0].platform in good
    assert str(here / "cache") in good
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "ok.yaml"))
    assert "NOT writable" in command("doctor").output
    assert "NOT writable" not in good


@pytest.fixture
def jax_settings():
    """Puts JAX's settings back."""
    names = ("jax_enable_x64", "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    saved = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in saved.items():
        jax.config.update(name, value)


def test_jax_gets_the_precision_and_a_cache_if_one_can_be_written(here, monkeypatch, jax_settings):
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "ok.yaml"))
    jax_setup.prepare("float32")
    assert jax.config.jax_compilation_cache_dir is None
    assert jnp.zeros(()).dtype == jnp.float32
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    jax_setup.prepare("float64")
    assert jax.config.jax_compilation_cache_dir.startswith(str(here / "cache"))
    assert jnp.zeros(()).dtype == jnp.float64


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_run_killed_between_stages_resumes_to_the_same_result(here, monkeypatch):
    def run(*arguments):
        command = [sys.executable, "-c", FAKE, "run", *arguments, "--quiet"]
        return subprocess.run(command, capture_output=True, text=True)

    assert run("ok.yaml", "--out", "whole").returncode == 0
    monkeypatch.setenv("KILL", "refine")
    assert run("ok.yaml", "--out", "killed").returncode == -signal.SIGKILL
    assert not (here / "killed/metrics.json").exists()
    monkeypatch.delenv("KILL")
    assert run("--resume", "killed").returncode == 0
    assert (here / "killed/metrics.json").read_bytes() == (here / "whole/metrics.json").read_bytes()
    assert "trace: from the checkpoint" in (here / "killed/run.log").read_text()
