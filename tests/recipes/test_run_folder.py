"""The run folder: nothing overwritten, everything whole, a resumed run the same as an undisturbed one."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from jaxaet.core.errors import InputError
from jaxaet.recipes.config import HeterojunctionConfig, PhononsInterfaceConfig, TiltSeriesConfig
from jaxaet.recipes.config_file import load_config
from jaxaet.recipes.run_folder import RunFolder, next_free, saved_config

RESULT = {"positions": jnp.arange(6.0).reshape(2, 3), "symbols": np.array(["Mo", "S"]), "loss": 1.5, "end": "converged"}


@pytest.fixture
def config():
    return HeterojunctionConfig(seed=7)


def run(path, config, functions, resume=False):
    """The results of the named stages in one run folder."""
    with RunFolder.create(path, config, resume=resume, quiet=True) as folder:
        results = [folder.stage(name, function) for name, function in functions.items()]
        folder.finish({"loss": 1.5})
    return results


def fail():
    raise AssertionError("a finished stage ran again")


def test_a_resumed_stage_gives_what_the_first_run_gave(tmp_path, config):
    (first,) = run(tmp_path / "a", config, {"fit": lambda: RESULT})
    (again,) = run(tmp_path / "a", config, {"fit": fail}, resume=True)
    assert first.keys() == again.keys() == RESULT.keys()
    for key, value in RESULT.items():
        assert type(first[key]) is type(again[key])
        np.testing.assert_array_equal(first[key], np.asarray(value))
        np.testing.assert_array_equal(again[key], first[key])


def test_a_stage_that_failed_runs_again_and_the_finished_ones_do_not(tmp_path, config):
    path = tmp_path / "a"
    with pytest.raises(ZeroDivisionError):
        run(path, config, {"trace": lambda: {"n": 3}, "fit": lambda: {"x": 1 // 0}})
    assert "ZeroDivisionError" in (path / "run.log").read_text()
    assert not json.loads((path / "provenance.json").read_text())["finished"]
    traced, fitted = run(path, config, {"trace": fail, "fit": lambda: {"x": 4}}, resume=True)
    assert (traced["n"], fitted["x"]) == (3, 4)


def test_a_half_written_checkpoint_is_ignored_and_a_damaged_one_is_named(tmp_path, config):
    path = tmp_path / "a"
    run(path, config, {"fit": lambda: RESULT})
    checkpoint = next(path.glob("checkpoints/*.npz"))
    half = checkpoint.read_bytes()[:100]
    checkpoint.with_name(f".{checkpoint.stem}.part.npz").write_bytes(half)
    checkpoint.unlink()
    (again,) = run(path, config, {"fit": lambda: RESULT}, resume=True)
    assert again["end"] == RESULT["end"]
    checkpoint.write_bytes(half)
    with pytest.raises(InputError, match=r"delete it and resume"):
        run(path, config, {"fit": lambda: RESULT}, resume=True)


def test_a_checkpoint_holds_only_arrays_numbers_and_texts(tmp_path, config):
    with pytest.raises(TypeError, match="model"):
        run(tmp_path / "a", config, {"fit": lambda: {"model": config}})
    with RunFolder.create(tmp_path / "b", config, quiet=True) as folder:
        folder.stage("fit", lambda: RESULT)
        with pytest.raises(ValueError, match="fit"):
            folder.stage("fit", lambda: RESULT)


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(tmp_path, config):
    (tmp_path / "notes.txt").write_text("mine")
    for path in (tmp_path, tmp_path / "notes.txt", tmp_path / "notes.txt" / "below"):
        with pytest.raises(InputError, match=r"give another --out\."):
            RunFolder.create(path, config, quiet=True)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_input_refused_before_the_first_checkpoint_leaves_nothing(tmp_path, config):
    def refuse():
        raise InputError("The images hold NaN.")

    with pytest.raises(InputError):
        run(tmp_path / "a", config, {"load": refuse})
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError):
        run(tmp_path / "b", config, {"load": lambda: RESULT, "trace": refuse})
    assert (tmp_path / "b" / "run.log").exists()


def test_one_process_at_a_time(tmp_path, config):
    pytest.importorskip("fcntl", reason="only systems with flock guard a folder")
    with RunFolder.create(tmp_path / "a", config, quiet=True) as folder:
        with pytest.raises(InputError, match="in use by another process"):
            RunFolder.create(tmp_path / "a", config, resume=True, quiet=True)
        folder.stage("fit", lambda: RESULT)
    RunFolder.create(tmp_path / "a", config, resume=True, quiet=True).close()


def test_resume_wants_the_configuration_that_the_run_began_with(tmp_path, config):
    path = tmp_path / "a"
    run(path, config, {"fit": lambda: RESULT})
    assert saved_config(path) == config == load_config(path / "config.yaml")
    text = (path / "config.yaml").read_text()
    (path / "config.yaml").write_text(text.replace("seed: 7", "seed: 8"))
    with pytest.raises(InputError, match="not what the run began with"):
        RunFolder.create(path, saved_config(path), resume=True, quiet=True)
    with pytest.raises(InputError, match="holds no run"):
        saved_config(tmp_path)


def test_a_file_is_written_whole_or_not_at_all(tmp_path, config):
    with RunFolder.create(tmp_path / "a", config, quiet=True) as folder:
        folder.write_text("figures/a.txt", "old")

        def break_off():
            with folder.writing("figures/a.txt") as part:
                part.write_text("half")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            break_off()
        assert [file.name for file in (folder.path / "figures").iterdir()] == ["a.txt"]
        assert (folder.path / "figures" / "a.txt").read_text() == "old"


def test_metrics_are_strict_json(tmp_path, config):
    with RunFolder.create(tmp_path / "a", config, quiet=True) as folder:
        folder.warn(["It is late."])
        folder.finish({"rmsd_pm": {"Mo": jnp.asarray(4.5)}, "angles_deg": np.array([1.0, np.nan]), "n": np.int64(3)})
    text = (tmp_path / "a" / "metrics.json").read_text()
    assert json.loads(text, parse_constant=fail) == {
        "rmsd_pm": {"Mo": 4.5}, "angles_deg": [1.0, None], "n": 3, "warnings": ["It is late."],
    }  # fmt: skip


def test_provenance_tells_seed_stages_and_memory(tmp_path, config):
    run(tmp_path / "a", config, {"trace": lambda: RESULT, "fit": lambda: RESULT})
    before = json.loads((tmp_path / "a" / "provenance.json").read_text())
    run(tmp_path / "a", config, {"trace": fail, "fit": fail}, resume=True)
    after = json.loads((tmp_path / "a" / "provenance.json").read_text())
    assert list(before["stage_seconds"]) == ["trace", "fit"]
    assert after["stage_seconds"] == before["stage_seconds"]
    assert after["peak_memory_mb"] >= before["peak_memory_mb"] > 1
    assert before["seed"] == config.seed
    assert before["finished"]


def test_progress_is_shown_and_logged_unless_quiet(tmp_path, config, capsys):
    for name, quiet in (("loud", False), ("quiet", True)):
        with RunFolder.create(tmp_path / name, config, quiet=quiet) as folder:
            folder.stage("fit", lambda: RESULT)
            with folder.progress(20, "refine") as tick:
                tick(10, loss=jnp.asarray(3.25), r=0.5)
                tick(20, loss=1.125, r=0.25)
        log = (tmp_path / name / "run.log").read_text()
        assert "refine: step 10 of 20  loss 3.25  r 0.5" in log
        assert "refine: step 20 of 20  loss 1.125  r 0.25" in log
        shown = capsys.readouterr()
        assert shown.out == ""
        assert ("fit: " in shown.err) is not quiet


def test_the_next_free_folder_counts_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = next_free("series")
    first.mkdir(parents=True)
    assert next_free("series") != first
    assert next_free("series").parent == first.parent


@pytest.mark.parametrize(
    ("model", "key", "others"),
    [(TiltSeriesConfig, "path", {"specimen": {"species": ["Si"]}}), (PhononsInterfaceConfig, "atoms", {})],
)
def test_resume_wants_the_data_that_the_run_began_with(tmp_path, model, key, others):
    file = tmp_path / "series.npz"
    file.write_bytes(b"one series")
    config = model.model_validate({"data": {key: str(file)}} | others)
    run(tmp_path / "a", config, {"fit": lambda: RESULT})
    file.write_bytes(b"another one")
    with pytest.raises(InputError, match="not the one that the run began with"):
        run(tmp_path / "a", config, {"fit": fail}, resume=True)


def test_refused_input_removes_what_this_process_made_and_nothing_else(tmp_path, config):
    def refuse():
        raise InputError("The images are upside down; turn them.")

    (tmp_path / "kept").mkdir()
    for path in (tmp_path / "kept", tmp_path / "new" / "run"):
        with pytest.raises(InputError):
            run(path, config, {"load": refuse})
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "kept", config, {"load": lambda: {"x": 1 // 0}})
    with pytest.raises(InputError):
        run(tmp_path / "kept", config, {"load": refuse}, resume=True)
    assert (tmp_path / "kept" / "config.yaml").exists()
