"""The recipe that trains a network: what it writes, that nothing is lost by a kill, and that devices share the work."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxaet.core import InputError
from jaxaet.gombnet import UNet, load_weights, optimiser_named, save_weights
from jaxaet.recipes import gombnet_setup, gombnet_train
from jaxaet.recipes.config import GombNetTrainConfig
from jaxaet.recipes.run_folder import RunFolder

MINIMAL = Path(__file__).resolve().parents[2] / "configs" / "minimal" / "gombnet_training.yaml"
COMMAND = "from jaxaet.cli.main import app; app()"
KILLED = """
import os, signal
from jaxaet.gombnet import Checkpoints
save = Checkpoints.save

def killed(self, progress):
    if int(progress.state.step) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    save(self, progress)

Checkpoints.save = killed
"""
SHARED = """
import sys
import jax, numpy as np
from jaxaet.recipes.config_file import load_config
from jaxaet.recipes.gombnet_setup import TRAINING, key_for, prepared

assert len(jax.devices()) == 2
states = []
for count in (1, 2):
    config = load_config(sys.argv[1], [f"training.devices={count}", "training.optimiser=sgd", "training.batch=4"])
    training, state = prepared(config.images, config.network, config.training, config.seed)
    step = jax.jit(training.step)
    for _ in range(3):
        state, loss = step(state, key_for(0, TRAINING))
    assert len(loss.sharding.device_set) == count
    states.append(jax.tree.leaves(state))
for one, two in zip(*states, strict=True):
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Runs a program; quick to compile, and each program takes what the one before has compiled."""
    cache = str(tmp_path_factory.mktemp("cache"))
    flags = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"

    def run(program, *arguments, devices=1):
        command = [sys.executable, "-c", program, *map(str, arguments)]
        settings = {
            "XDG_CACHE_HOME": cache,
            "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count={devices}",
        }
        return subprocess.run(command, capture_output=True, text=True, env=os.environ | settings)

    return run


@pytest.fixture(scope="module")
def finished(python, tmp_path_factory):
    path = tmp_path_factory.mktemp("finished") / "run"
    result = python(COMMAND, "run", MINIMAL, "--out", path, "--quiet")
    assert result.returncode == 0, result.stderr
    return path


def curves(path):
    with np.load(next((path / "checkpoints").glob("*_training.npz"))) as file:
        return {name: file[name] for name in ("losses", "validation")}


def last_state(path):
    """The arrays of the last checkpoint, as Orbax itself reads them."""
    import orbax.checkpoint as ocp

    with ocp.CheckpointManager(path / "checkpoints" / "training") as manager:
        assert manager.latest_step() == 6
        return manager.restore(6, args=ocp.args.StandardRestore())


def test_a_training_ends_with_weights_curves_and_scores(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["training"]["images_drawn"] == 12
    assert 0 < metrics["held_back"]["iou_lowest"] <= metrics["held_back"]["iou"] < 1
    assert metrics["held_back"]["C"]["columns"] > 10
    network, about = load_weights(finished / "weights.npz")
    assert about["pixel"] == 0.1
    assert 0 < about["error_factor"] < 100
    assert network(jnp.zeros((1, 64, 64), jnp.float32)).shape == (1, 2, 64, 64, 1)
    noted = curves(finished)
    assert np.isfinite(noted["losses"]).all()
    assert len(set(noted["losses"])) == 6
    np.testing.assert_array_equal(noted["validation"][:, 0], [3, 6])
    figures = {file.name for file in (finished / "figures").iterdir()}
    assert figures == {"training.png", "typical.png", "worst.png"}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_training_goes_on_to_the_same_bits(finished, python, tmp_path):
    killed = tmp_path / "killed"
    result = python(KILLED + COMMAND, "run", MINIMAL, "--out", killed, "--quiet")
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert [folder.name for folder in (killed / "checkpoints" / "training").iterdir()] == ["2"]
    assert not (killed / "weights.npz").exists()
    result = python(COMMAND, "run", "--resume", killed, "--quiet")
    assert result.returncode == 0, result.stderr
    for read in (curves, last_state):
        whole, resumed = read(finished), read(killed)
        assert whole.keys() == resumed.keys()
        for name in whole.keys() - {"seconds"}:
            np.testing.assert_array_equal(whole[name], resumed[name], err_msg=name)
    assert (killed / "metrics.json").read_bytes() == (finished / "metrics.json").read_bytes()
    with np.load(finished / "weights.npz") as whole, np.load(killed / "weights.npz") as resumed:
        for name in whole.files:
            np.testing.assert_array_equal(whole[name], resumed[name], err_msg=name)


@pytest.mark.slow
def test_two_devices_come_to_the_state_of_one(python):
    result = python(SHARED, MINIMAL, devices=2)
    assert result.returncode == 0, result.stderr


def test_batches_that_cannot_be_shared_are_refused():
    with pytest.raises(InputError, match="devices were asked for and there"):
        gombnet_setup.mesh_of(GombNetTrainConfig(training={"devices": 64}).training)
    devices = len(jax.devices())
    if devices > 1:
        with pytest.raises(InputError, match="cannot be shared"):
            gombnet_setup.mesh_of(GombNetTrainConfig(training={"batch": 1}).training)


@pytest.mark.parametrize(
    ("blocks", "sentence"),
    [
        ({"images": {"pixels": 100}}, "allowed multiples of 8"),
        ({"network": {"filters": [32, 48]}}, "each twice the one before"),
        ({"images": {"electrons": [100.0, 10.0]}}, "the smaller first"),
    ],
)
def test_what_cannot_be_trained_is_refused(blocks, sentence):
    with pytest.raises(ValueError, match=sentence):
        GombNetTrainConfig(**blocks)


def test_tensorboard_is_refused_where_it_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setattr(gombnet_train, "installed", lambda package: None)
    config = GombNetTrainConfig(training={"tensorboard": True})
    with (
        pytest.raises(InputError, match=r"pip install jaxaet\[tensorboard\]"),
        RunFolder.create(tmp_path / "run", config, quiet=True) as folder,
    ):
        gombnet_train.run(config, folder)
    assert not (tmp_path / "run").exists()


def test_curves_for_tensorboard(tmp_path):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    config = GombNetTrainConfig(training={"tensorboard": True})
    with (
        RunFolder.create(tmp_path / "run", config, quiet=True) as folder,
        gombnet_train.curve_writer(config, folder, 0) as noted,
    ):
        noted(1, loss=2.5)
    (events,) = (tmp_path / "run" / "tensorboard").iterdir()
    assert b"loss" in events.read_bytes()


def test_the_plan_counts_the_published_parameters():
    assert gombnet_train.plan(GombNetTrainConfig())["parameters"] == 2_682_082


def test_learning_rates_rise_and_fall():
    optimiser = optimiser_named("sgd", 0.5, "cosine", warmup=4, steps=24)
    state, taken = optimiser.init(jnp.zeros(())), []
    for _ in range(25):
        update, state = optimiser.update(jnp.ones(()), state)
        taken.append(-float(update))
    fall = 0.005 + 0.495 * 0.5 * (1 + np.cos(np.pi * np.arange(21) / 20))
    np.testing.assert_allclose(taken, [0, 0.125, 0.25, 0.375, *fall], rtol=1e-5, atol=1e-9)


def test_weights_of_a_unet_come_back(tmp_path):
    network = UNet(2, 3, jax.random.key(0), (2, 4))
    about = {"layers": 2, "classes": ["S", "Se", "W"], "filters": [2, 4], "kind": "unet"}
    save_weights(tmp_path / "unet.npz", network, about)
    restored, known = load_weights(tmp_path / "unet.npz")
    assert isinstance(restored, UNet)
    assert known == about | {"error_factor": 2.0}
    for old, new in zip(*(jax.tree.leaves(nnx.state(n)) for n in (network, restored)), strict=True):
        np.testing.assert_allclose(old, new, rtol=1e-3, atol=1e-6)
