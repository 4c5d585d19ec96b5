"""The recipe that searches for the best network and training."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxaet.core import InputError
from jaxaet.recipes import gombnet_tune
from jaxaet.recipes.config import GombNetTrainConfig, GombNetTuneConfig
from jaxaet.recipes.config_file import load_config
from jaxaet.recipes.run_folder import RunFolder

MINIMAL = Path(__file__).resolve().parents[2] / "configs" / "minimal" / "gombnet_search.yaml"
CHOSEN = {"filters": 1, "dropout": 0.3, "learning_rate": 2e-4, "alpha": 1.5}


def test_without_ray_and_optuna_the_search_is_refused_and_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(gombnet_tune, "installed", lambda package: "1.0" if package == "ray" else None)
    config = GombNetTuneConfig()
    with (
        pytest.raises(InputError, match=r"run pip install 'jaxaet\[distributed\]'"),
        RunFolder.create(tmp_path / "run", config, quiet=True) as folder,
    ):
        gombnet_tune.run(config, folder)
    assert not (tmp_path / "run").exists()


def test_a_trial_trains_what_was_chosen_and_nothing_else_changes():
    config = GombNetTuneConfig(seed=3, training={"steps": 77})
    chosen = gombnet_tune.training_of(config, CHOSEN)
    assert chosen.network.filters == (32, 64, 128, 256, 512)
    assert (chosen.network.dropout, chosen.training.learning_rate, chosen.training.alpha) == (0.3, 2e-4, 1.5)
    back = chosen.model_dump() | {"recipe": "gombnet_tune"}
    back["network"] |= {name: config.network.model_dump()[name] for name in ("filters", "dropout")}
    back["training"] |= {name: config.training.model_dump()[name] for name in ("learning_rate", "alpha")}
    assert back == {name: value for name, value in config.model_dump().items() if name not in ("space", "search")}


def test_the_plan_knows_the_papers_networks():
    """The largest of the published networks with six classes has 43,235,014 parameters; with two, 260 less."""
    planned = gombnet_tune.plan(GombNetTuneConfig())
    assert planned["parameters"].split(" or ")[0] == str(43_235_014 - 4 * 65)
    assert planned["trials"] == 50


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        ({"alpha": [5.0, 1.0]}, "the smaller first"),
        ({"dropout": [0.5, 1.0]}, "allowed below 1"),
        ({"filters": [[8, 16], [8, 12]]}, "each twice the one before"),
        ({"filters": [[1, 2, 4, 8, 16, 32, 64, 128, 256, 512]]}, "allowed multiples of 512"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(space, sentence):
    with pytest.raises(ValueError, match=sentence):
        GombNetTuneConfig(space=space)


def test_the_best_so_far_is_read_from_rays_tables(tmp_path):
    (tmp_path / "progress.csv").write_text("iou,looks,node\n0.2,1,a\n0.5,2,a\n0.4,3,a\n")
    assert gombnet_tune.best_of(tmp_path / "progress.csv") == 0.5
    (tmp_path / "progress.csv").write_text("iou,looks,node\n0.25,1,a\n")
    assert gombnet_tune.best_of(tmp_path / "progress.csv") == 0.25
    (tmp_path / "progress.csv").write_text("")
    assert gombnet_tune.best_of(tmp_path / "progress.csv") == 0.0
    assert gombnet_tune.best_of(tmp_path / "absent.csv") == 0.0


@pytest.mark.slow
def test_a_search_ends_with_a_configuration_that_can_be_trained(tmp_path):
    for package in ("ray", "optuna"):
        pytest.importorskip(package, reason=f"{package} is not installed; pip install jaxaet[distributed]")
    flags = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    result = subprocess.run(
        [sys.executable, "-m", "jaxaet", "run", MINIMAL, "--out", tmp_path / "run", "--quiet"],
        capture_output=True, text=True, env=os.environ | {"XLA_FLAGS": flags, "XDG_CACHE_HOME": str(tmp_path)},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["trials"] == 3
    assert 0 <= metrics["iou_median"] <= metrics["best"]["iou"] < 1
    best = load_config(tmp_path / "run" / "best.yaml")
    assert isinstance(best, GombNetTrainConfig)
    assert list(best.network.filters) == metrics["best"]["filters"]
    assert 0.1 <= best.network.dropout <= 0.5
    with np.load(next((tmp_path / "run" / "checkpoints").glob("*_search.npz"))) as found:
        assert found["iou"].max() == metrics["best"]["iou"]
        assert len(set(found["learning_rate"])) == 3
