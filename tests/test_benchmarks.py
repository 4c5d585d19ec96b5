"""The benchmarks run, refuse implementations that disagree, and overwrite nothing; no time is judged here."""

import json
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def main(monkeypatch):
    """The command, without Numba: its compilation takes longer than all else."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1]))
    from benchmarks import __main__, peers

    def absent():
        raise ImportError("Numba")

    monkeypatch.setattr(peers, "threaded_numba", absent)
    return __main__.main


def test_results_are_written_once(main, tmp_path, capsys):
    command = ["--tiny", "--only", "linear", "--out", str(tmp_path)]
    assert main(command) == 0
    written = (tmp_path / "results.json").read_text(encoding="utf-8")
    results = json.loads(written)
    (linear,) = results["linear"]
    assert {row["implementation"] for row in linear["rows"]} == {"jaxaet", "numpy, tiles", "window loop"}
    assert 0 < linear["largest_difference"] < 1e-3
    assert "Numba is not installed" in capsys.readouterr().out
    assert main(command) == 2
    assert (tmp_path / "results.json").read_text(encoding="utf-8") == written


@pytest.mark.slow
def test_all_parts_run(main, tmp_path):
    assert main(["--tiny", "--out", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    newton, adam = results["refinement"]["rows"]
    assert newton["steps_to_1_pm"] < adam["steps_to_1_pm"]
    assert [row["over_jaxaet"] > 0 for row in results["phonons"]["rows"]] == [True] * 4
    assert 0 < results["phonons"]["largest_difference"] < 1e-3
    assert {row["task"] for row in results["gombnet"]["alone"]} == {"drawing, an image", "decoding, a layer"}


@pytest.mark.parametrize("wrong", ["images", "gradient"])
def test_implementations_that_disagree_are_not_timed(main, monkeypatch, capsys, wrong):
    from benchmarks import peers

    right = peers.window_loop()
    images = peers.Peer(lambda scene: 1.002 * right.draw(scene), right.slope)
    gradient = peers.Peer(right.draw, lambda scene, data: (right.slope(scene, data)[0], -right.slope(scene, data)[1]))
    monkeypatch.setattr(peers, "window_loop", lambda: {"images": images, "gradient": gradient}[wrong])
    assert main(["--tiny"]) == 1
    assert "'window loop' differs from jaxaet" in capsys.readouterr().err


def test_numba_agrees_with_numpy(monkeypatch):
    pytest.importorskip("numba", reason="Numba is not installed; install the extra 'dev'.")
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1]))
    from benchmarks import peers

    generator = np.random.default_rng(0)
    points = generator.uniform(-3, 40, (2, 30, 2))
    scene = peers.Scene(points, generator.uniform(1, 2, (30, 2)), generator.uniform(1, 3, (30, 2)), (32, 40), 9)
    data = generator.uniform(0, 1, (2, 32, 40))
    numpy, numba = peers.tiled_numpy(), peers.threaded_numba()
    np.testing.assert_allclose(numba.draw(scene), numpy.draw(scene), atol=1e-3)
    np.testing.assert_allclose(numba.slope(scene, data)[1], numpy.slope(scene, data)[1], atol=1e-2)
