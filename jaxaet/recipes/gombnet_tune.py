"""A search for the best network and training by Ray Tune and Optuna, judged by the IoU of held-back images."""

import csv
import logging
import os
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np

from jaxaet.core import InputError
from jaxaet.gombnet import Checkpoints, Progress
from jaxaet.recipes import gombnet_train
from jaxaet.recipes.config import GombNetTrainConfig, GombNetTuneConfig
from jaxaet.recipes.config_file import dump_config
from jaxaet.recipes.gombnet_setup import TRAINING, HeldBackImages, judge, key_for, prepared
from jaxaet.recipes.provenance import installed
from jaxaet.recipes.results import save_figures
from jaxaet.recipes.run_folder import RunFolder
from jaxaet.viz import search_figure, write_report

# JAX would else fill the accelerator at its start, and trials in other processes would find no room beside this one.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

SAVED = 0.45  # of the steps are taken where ASHA stops trials
TRIED = ("dropout", "learning_rate", "alpha")


def run(config: GombNetTuneConfig, folder: RunFolder) -> dict:
    """Search, and write the best configuration as best.yaml."""
    if installed("ray") is None or installed("optuna") is None:
        raise InputError(
            "The search needs Ray Tune and Optuna, which are not installed; run pip install 'jaxaet[distributed]'."
        )
    found = folder.stage("search", lambda: searched(config, folder))
    best = int(found["iou"].argmax())
    chosen = {name: found[name][best].item() for name in ("filters", *TRIED)}
    folder.write_text("best.yaml", dump_config(training_of(config, chosen)))
    metrics = {
        "trials": len(found["iou"]),
        "stopped_early": int(np.sum(found["looks"] < looks(config))),
        "best": {
            "filters": list(config.space.filters[chosen["filters"]]),
            **{name: chosen[name] for name in TRIED},
            "iou": float(found["iou"][best]),
        },
        "iou_median": float(np.median(found["iou"])),
    }
    figure = search_figure(found["iou"], {name: found[name] for name in TRIED}, found["looks"])
    caption = "IoU of held-back images at the last look at each trial; filled where it was not stopped early."
    write_report(
        folder.path / "report.html", f"jaxaet: {config.recipe}",
        f"Best IoU {metrics['best']['iou']:.3f} of {metrics['trials']} trials; best.yaml trains it.",
        metrics, save_figures(folder, [("Trials", caption, figure)]), None, dump_config(config),
        {"seed": config.seed, "precision": config.precision, "recipe": config.recipe},
    )  # fmt: skip
    return metrics


def looks(config: GombNetTuneConfig) -> int:
    """How often a trial that is not stopped looks at the held-back images."""
    return -(-config.training.steps // config.held_back.every_steps)


def training_of(config: GombNetTuneConfig, chosen: dict) -> GombNetTrainConfig:
    """The training of one trial; `chosen`: index of the filters, dropout, learning_rate and alpha."""
    network = {"filters": config.space.filters[chosen["filters"]], "dropout": chosen["dropout"]}
    training = {name: chosen[name] for name in ("learning_rate", "alpha")}
    return GombNetTrainConfig(
        seed=config.seed,
        precision=config.precision,
        images=config.images,
        network=config.network.model_copy(update=network),
        training=config.training.model_copy(update=training),
        held_back=config.held_back,
    )


def trial(chosen: dict, config: GombNetTuneConfig) -> None:
    """One training in a process of Ray's; it reports the IoU at each look and keeps a checkpoint with it."""
    from ray import tune  # pyright: ignore[reportMissingImports]

    settings = training_of(config, chosen)
    options, every, key = settings.training, settings.held_back.every_steps, key_for(settings.seed, TRAINING)
    training, state = prepared(settings.images, settings.network, options, settings.seed)
    held_back = HeldBackImages.drawn(settings.images, settings.held_back.images, options.batch, settings.seed)
    check, step = judge(training, held_back, options.batch), jax.jit(training.step, donate_argnums=0)
    nothing = np.zeros(1)
    kept = tune.get_checkpoint()
    if kept is not None:
        with kept.as_directory() as place, Checkpoints(Path(place)) as checkpoints:
            state = checkpoints.latest(Progress(state, nothing, nothing, 0.0)).state
    for number in range(int(state.step) + 1, options.steps + 1):
        state, _ = step(state, key)
        if number % every == 0 or number == options.steps:
            with tempfile.TemporaryDirectory() as place:
                with Checkpoints(Path(place)) as checkpoints:
                    checkpoints.save(Progress(state, nothing, nothing, 0.0))
                overlap = float(np.nan_to_num(check(state)[-1]))
                tune.report({"iou": overlap, "looks": -(-number // every)}, checkpoint=tune.Checkpoint(place))


def searched(config: GombNetTuneConfig, folder: RunFolder) -> dict:
    """What was tried and what came of it, an array of each number over the trials."""
    from ray import tune  # pyright: ignore[reportMissingImports]

    place = (folder.path / "checkpoints" / "ray").absolute()
    with cluster(config):
        resources = {"cpu": config.search.cpus, "gpu": config.search.gpus}
        work = tune.with_resources(tune.with_parameters(trial, config=config), resources)
        if tune.Tuner.can_restore(str(place / "search")):
            folder.log("the search goes on")
            tuner = tune.Tuner.restore(str(place / "search"), work, resume_unfinished=True, restart_errored=True)
        else:
            tuner = fresh_tuner(config, work, place)
        with watched(folder, place, config.search.trials):
            results = tuner.fit()
        ended = [{**(one.config or {}), **one.metrics} for one in results if one.metrics and "iou" in one.metrics]
    if not ended:
        raise InputError(f"No trial of the search came to a result; {place} has the error.txt of each.")
    return {name: np.array([one[name] for one in ended]) for name in ("filters", *TRIED, "iou", "looks")}


def fresh_tuner(config: GombNetTuneConfig, work, place: Path):
    """The search before its first trial."""
    from ray import tune  # pyright: ignore[reportMissingImports]
    from ray.tune.schedulers import ASHAScheduler  # pyright: ignore[reportMissingImports]
    from ray.tune.search.optuna import OptunaSearch  # pyright: ignore[reportMissingImports]

    space, search = config.space, config.search
    sampled = {
        "filters": tune.choice(list(range(len(space.filters)))),
        "dropout": tune.uniform(*space.dropout),
        "learning_rate": tune.loguniform(*space.learning_rate),
        "alpha": tune.uniform(*space.alpha),
    }
    scheduler = ASHAScheduler(
        time_attr="looks", max_t=looks(config), grace_period=min(search.first_look, looks(config)),
        reduction_factor=search.reduction,
    )  # fmt: skip
    return tune.Tuner(
        work,
        param_space=sampled,
        tune_config=tune.TuneConfig(
            metric="iou", mode="max", search_alg=OptunaSearch(seed=config.seed), scheduler=scheduler,
            num_samples=search.trials, max_concurrent_trials=search.together,
        ),
        run_config=tune.RunConfig(
            name="search", storage_path=str(place), verbose=0,
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1), failure_config=tune.FailureConfig(max_failures=1),
        ),
    )  # fmt: skip


@contextmanager
def cluster(config: GombNetTuneConfig) -> Iterator[None]:
    """Ray, whose processes use the precision and the compiled programs of this one; stopped at the end."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0"}
    import optuna  # pyright: ignore[reportMissingImports]
    import ray  # pyright: ignore[reportMissingImports]

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    settings = {
        "XLA_PYTHON_CLIENT_PREALLOCATE": os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"],
        "JAX_ENABLE_X64": str(int(config.precision == "float64")),
    }
    programs = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    if programs is not None:
        settings |= {"JAX_COMPILATION_CACHE_DIR": str(programs), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1"}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "os.fork")  # Ray forks only to start another program
        ray.init(
            config.search.address, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False,
            runtime_env={"env_vars": settings},
        )  # fmt: skip
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def watched(folder: RunFolder, place: Path, trials: int) -> Iterator[None]:
    """The progress line says how many trials have begun, and the best IoU so far, from the files that Ray writes."""
    ended = threading.Event()

    def watch() -> None:
        with folder.progress(trials, "trials") as tick:
            shown = 0, 0.0
            while not ended.wait(2.0):
                files = list(place.glob("search/*/progress.csv"))
                now = len(files), max((best_of(file) for file in files), default=0.0)
                if now != shown:
                    tick(now[0], iou=now[1])
                shown = now

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def best_of(file: Path) -> float:
    """The largest IoU in one of Ray's tables, 0 where there is none yet."""
    try:
        with open(file, newline="", encoding="utf-8") as rows:
            return max((float(row["iou"]) for row in csv.DictReader(rows)), default=0.0)
    except (OSError, KeyError, TypeError, ValueError):
        return 0.0


def plan(config: GombNetTuneConfig) -> dict:
    """Size of the search: the first trial of the space, and all of them where trials are stopped early."""
    middle = {name: float(np.mean(getattr(config.space, name))) for name in TRIED}
    each = [gombnet_train.plan(training_of(config, {"filters": i, **middle})) for i in range(len(config.space.filters))]
    seconds = float(np.mean([one["estimated_time_s"] for one in each]))
    together = config.search.together
    return {
        "trials": config.search.trials,
        "parameters": " or ".join(str(one["parameters"]) for one in each),
        "longest_trial_s": max(one["estimated_time_s"] for one in each),
        "peak_memory_gb": round(together * max(one["peak_memory_gb"] for one in each) + 1, 2),
        "estimated_time_s": round(SAVED * seconds * config.search.trials / together),
    }
