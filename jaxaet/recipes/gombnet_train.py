"""A network that separates the layers of stacked sheets, trained on images drawn as they are needed."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax
import numpy as np

from jaxaet.core import InputError
from jaxaet.gombnet import (
    Checkpoints,
    Prediction,
    Progress,
    Sheet,
    averaged,
    begin,
    decode,
    load_weights,
    optimiser_named,
    parameter_count,
    save_weights,
)
from jaxaet.recipes.config import GombNetTrainConfig
from jaxaet.recipes.config_file import dump_config
from jaxaet.recipes.gombnet_scores import ImageScore, error_factor, score, summary
from jaxaet.recipes.gombnet_setup import (
    NETWORKS,
    SHEETS,
    TRAINING,
    HeldBackImages,
    about,
    judge,
    key_for,
    mesh_of,
    prepared,
)
from jaxaet.recipes.provenance import installed
from jaxaet.recipes.results import save_figures
from jaxaet.recipes.run_folder import RunFolder
from jaxaet.viz import labels_figure, training_figure, write_report

WEIGHTS = "weights.npz"
SECONDS_PER_IMAGE = {"cpu": 2.5, "gpu": 1.2e-3}  # of 256² with the published network
LONGEST = 300.0  # s without a checkpoint
CHECKED = ("loss", "accuracy", "dice", "iou")


def run(config: GombNetTrainConfig, folder: RunFolder) -> dict:
    """Train, keep the weights, and score them on held-back images, pixels and atoms."""
    if config.training.tensorboard and installed("tensorboardX") is None:
        raise InputError(
            "training.tensorboard needs tensorboardX, which is not installed; run pip install jaxaet[tensorboard]."
        )
    curves = folder.stage("training", lambda: trained(config, folder))
    network, stored = load_weights(folder.path / WEIGHTS)
    held_back = HeldBackImages.drawn(config.images, config.held_back.images, config.training.batch, config.seed)
    sheet, outputs = SHEETS[config.images.sheet](), curves["mean"]
    scores = scored(outputs, held_back, sheet, stored["error_factor"])
    overlaps = [one.iou for one in scores]
    metrics = {
        "training": {
            "steps": len(curves["losses"]),
            "images_drawn": len(curves["losses"]) * config.training.batch,
            "parameters": parameter_count(network),
            "last_loss": float(curves["losses"][-1]),
        },
        "held_back": {
            "images": len(scores),
            **summary(scores, sheet),
            "iou_median": float(np.median(overlaps)),
            "iou_lowest": min(overlaps),
        },
    }
    write(config, folder, curves, held_back, outputs, overlaps, metrics)
    return metrics


def trained(config: GombNetTrainConfig, folder: RunFolder) -> dict:
    """The curves of a training that ends with weights.npz, and what the network says of the held-back images.

    It goes on from the last checkpoint if there is one.
    """
    options = config.training
    training, state = prepared(config.images, config.network, options, config.seed)
    held_back = HeldBackImages.drawn(config.images, config.held_back.images, options.batch, config.seed)
    losses, checks = (
        np.full(options.steps, np.nan),
        np.full((options.steps // config.held_back.every_steps + 1, 5), np.nan),
    )
    with Checkpoints(folder.path / "checkpoints" / "training") as checkpoints:
        begun = checkpoints.latest(Progress(state, losses, checks, 0.0))
        check = judge(training, held_back, options.batch)
        with curve_writer(config, folder, int(begun.state.step)) as noted:
            progress = stepped(config, folder, training, check, begun, checkpoints, noted)
    network = averaged(training.structure, jax.device_get(progress.state))
    outputs = answers(network, held_back, options.batch)
    factor = error_factor(scored(outputs, held_back, SHEETS[config.images.sheet](), 1.0))
    with folder.writing(WEIGHTS) as file:
        save_weights(file, network, about(config.images, config.network) | {"error_factor": round(factor, 3)})
    done = int(progress.state.step)
    seen = progress.validation[~np.isnan(progress.validation[:, 0])]
    return {"losses": progress.losses[:done], "validation": seen, "seconds": progress.seconds, "mean": outputs}


def stepped(
    config: GombNetTrainConfig, folder: RunFolder, training, check, progress: Progress, checkpoints: Checkpoints, noted
) -> Progress:
    """All steps that are left, or as many as the minutes allow, with looks at the held-back images and checkpoints."""
    options, key = config.training, key_for(config.seed, TRAINING)
    state, losses, checks, before = progress
    step, started = jax.jit(training.step, donate_argnums=0), time.monotonic()
    limit = np.inf if options.minutes is None else 60 * options.minutes
    saved = started
    every = config.held_back.every_steps
    iou = checks[int(state.step) // every - 1, -1] if int(state.step) >= every else None

    def look(number: int) -> float:
        row = checks[-(-number // every) - 1] = np.array([number, *check(state)])
        noted(number, **{f"held_back_{name}": value for name, value in zip(CHECKED, row[1:], strict=True)})
        return row[-1]

    with folder.progress(options.steps, "training") as tick:
        for number in range(int(state.step) + 1, options.steps + 1):
            if before + time.monotonic() - started > limit and number > 1:
                break
            state, loss = step(state, key)
            losses[number - 1] = float(loss)
            noted(number, loss=float(loss))
            if number % every == 0:
                iou = look(number)
            if number % options.checkpoint_steps == 0 or time.monotonic() - saved > LONGEST:
                checkpoints.save(Progress(state, losses, checks, before + time.monotonic() - started))
                saved = time.monotonic()
            tick(number, loss=float(loss), **({} if iou is None else {"iou": float(iou)}))
    if int(state.step) % every:
        look(int(state.step))
    return Progress(state, losses, checks, before + time.monotonic() - started)


@contextmanager
def curve_writer(config: GombNetTrainConfig, folder: RunFolder, begun: int) -> Iterator[Callable[..., None]]:
    """A function `noted(step, name=value)` that writes TensorBoard's files, or does nothing.

    `begun`: the step after which this process goes on; what an earlier one wrote of later steps is withdrawn.
    """
    if not config.training.tensorboard:
        yield lambda step, **values: None
        return
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(folder.path / "tensorboard"), purge_step=begun + 1) as writer:

        def noted(step: int, **values: float) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, step)

        yield noted


def answers(network, held_back: HeldBackImages, batch: int) -> np.ndarray:
    """The probabilities (n, l, ny, nx, c) of the held-back images."""
    function = jax.jit(lambda images: jax.nn.sigmoid(network(images)))
    images = held_back.samples["image"]
    parts = [function(images[start : start + batch]) for start in range(0, len(images), batch)]
    return np.concatenate([np.asarray(part, np.float16) for part in parts])


def scored(outputs: np.ndarray, held_back: HeldBackImages, sheet: Sheet, factor: float) -> list[ImageScore]:
    """The scores of the held-back images, whose columns are decoded with that factor of the errors."""
    scores = []
    for number, output in enumerate(outputs):
        truth, mean = held_back.truth(number), np.asarray(output, float)
        prediction = Prediction(mean, np.zeros_like(mean), float(truth["pixel"]))
        scores.append(score(prediction, decode(prediction, sheet, error_factor=factor), truth, sheet))
    return scores


def write(
    config: GombNetTrainConfig, folder: RunFolder, curves: dict, held_back: HeldBackImages, outputs, overlaps, metrics
) -> None:
    """Write the figures and report.html."""
    figures = [
        ("Training", "The loss of each step, and what held-back images say.", training_figure(**curves_of(curves)))
    ]
    middle = int(np.argsort(overlaps)[len(overlaps) // 2])
    for title, number in (("Typical", middle), ("Worst", int(np.argmin(overlaps)))):
        truth = held_back.truth(number)
        caption = f"A held-back image, its labels, and what the network says; IoU {overlaps[number]:.2f}."
        figures.append((
            title, caption,
            labels_figure(truth["image"], float(truth["pixel"]), truth["labels"], outputs[number].astype(float)),
        ))  # fmt: skip
    found = metrics["held_back"]
    write_report(
        folder.path / "report.html", f"jaxaet: {config.recipe}",
        f"IoU {found['iou']:.3f} on {found['images']} held-back images after {metrics['training']['steps']} steps.",
        metrics, save_figures(folder, figures), None, dump_config(config),
        {"seed": config.seed, "precision": config.precision, "recipe": config.recipe},
    )  # fmt: skip


def curves_of(curves: dict) -> dict:
    """The arguments of the figure of the curves."""
    step, loss, _, dice, iou = curves["validation"].T if len(curves["validation"]) else np.zeros((5, 0))
    return {"losses": curves["losses"], "steps": step, "held_back_losses": loss, "dice": dice, "iou": iou}


def plan(config: GombNetTrainConfig) -> dict:
    """Size and time of the training; the time was fitted to two CPU cores and to one H100, good to a factor of two."""
    images, network, options = config.images, config.network, config.training
    kind, classes = NETWORKS[network.kind], len(SHEETS[images.sheet]().classes)
    shapes = jax.eval_shape(
        lambda key: begin(kind(images.layers, classes, key, network.filters), optimiser_named("adam", 1e-3))[1],
        jax.random.key(0),
    )
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes.parameters))
    work = (
        images.pixels**2 * network.filters[0] ** 2 / (256 * 32) ** 2
    )  # of an image, relative to the published network
    each = SECONDS_PER_IMAGE.get(jax.default_backend(), SECONDS_PER_IMAGE["gpu"])
    seconds = 60 + each * work * options.batch * options.steps / mesh_of(options).size
    limit = np.inf if options.minutes is None else 60 * options.minutes + 60
    return {
        "batch": f"{options.batch} × {images.pixels} × {images.pixels} on {mesh_of(options).size} devices",
        "parameters": count,
        "images_drawn": options.batch * options.steps,
        "peak_memory_gb": round(1.2 + 0.4 * work * options.batch, 2),
        "estimated_time_s": round(min(seconds, limit)),
    }
