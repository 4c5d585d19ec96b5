"""From the configuration of a training to what is trained, and on what."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxaet.core import InputError
from jaxaet.gombnet import (
    DiceLoss,
    GombLoss,
    GombNet,
    PrintedGombLoss,
    Sheet,
    SoftMinimumLoss,
    Training,
    TrainingState,
    UNet,
    Variation,
    averaged,
    begin,
    draw,
    graphene_sheet,
    load_weights,
    optimiser_named,
    pixel_scores,
    tungsten_sheet,
)
from jaxaet.recipes.gombnet_blocks import DrawnImages, NewNetwork, TrainingSteps

SHEETS = {"graphene": graphene_sheet, "ws2": tungsten_sheet}
NETWORKS = {"gombnet": GombNet, "unet": UNet}
LOSSES = {"soft_minimum": SoftMinimumLoss, "gomb": GombLoss, "printed_gomb": PrintedGombLoss, "dice": DiceLoss}
STARTING, TRAINING, HELD_BACK = range(3)  # which randomness a key is for


def key_for(seed: int, purpose: int):
    """The key of the network's first numbers, of the training, or of the held-back images."""
    return jax.random.fold_in(jax.random.key(seed), purpose)


def sheet_of(about: dict) -> Sheet:
    """The sheet with the classes that a network was trained for."""
    known = {sheet.classes: sheet for sheet in (make() for make in SHEETS.values())}
    if tuple(about["classes"]) not in known:
        allowed = " or ".join(f"{', '.join(classes)}" for classes in known)
        raise InputError(
            f"The weights are for the classes {', '.join(about['classes'])}; allowed {allowed}; take other weights."
        )
    return known[tuple(about["classes"])]


def members(weights: str | Sequence[str]) -> tuple[list[GombNet | UNet], dict]:
    """The networks of one or several files, and what they were trained for, with the mean of their error factors.

    Raises `InputError` where they were not trained for the same.
    """
    names = [weights] if isinstance(weights, str) else list(weights)
    networks, abouts = zip(*[load_weights(name) for name in names], strict=True)
    for key in ("layers", "classes", "pixel"):
        if len(found := list(dict.fromkeys(str(one[key]) for one in abouts))) > 1:
            raise InputError(
                f"The weights {', '.join(names)} were trained for different {key} ({' and '.join(found)}); "
                "take such as were trained for the same."
            )
    return list(networks), abouts[0] | {"error_factor": float(np.mean([one["error_factor"] for one in abouts]))}


def about(images: DrawnImages, network: NewNetwork) -> dict:
    """What `load_weights` has to know of the network."""
    return {
        "layers": images.layers,
        "classes": list(SHEETS[images.sheet]().classes),
        "filters": list(network.filters),
        "pixel": round(float(np.sqrt(np.prod(images.pixel_size_a))), 3),
        "kind": network.kind,
    }


def variation(images: DrawnImages) -> Variation:
    """The ranges of what is drawn."""
    return Variation(pixel=images.pixel_size_a, counts=np.log10(images.electrons), empty=images.empty)


def mesh_of(steps: TrainingSteps) -> jax.sharding.Mesh:
    """The devices that share a batch; raises `InputError` if there are too few or the batch cannot be shared."""
    devices = jax.devices()
    count = len(devices) if steps.devices is None else steps.devices
    if count > len(devices):
        raise InputError(f"{count} devices were asked for and there are {len(devices)}; lower training.devices.")
    if steps.batch % count:
        raise InputError(
            f"A batch of {steps.batch} images cannot be shared by {count} devices; "
            "change training.batch or training.devices."
        )
    return jax.sharding.Mesh(np.array(devices[:count]), ("batch",))


def prepared(
    images: DrawnImages, network: NewNetwork, steps: TrainingSteps, seed: int
) -> tuple[Training, TrainingState]:
    """The training and the state before its first step, a copy of it on each device."""
    sheet, mesh = SHEETS[images.sheet](), mesh_of(steps)
    optimiser = optimiser_named(
        steps.optimiser, steps.learning_rate, steps.schedule, min(steps.warmup_steps, steps.steps // 2), steps.steps
    )

    dtype = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}[network.arithmetic]
    structure, state = begin(
        NETWORKS[network.kind](
            images.layers, len(sheet.classes), key_for(seed, STARTING), network.filters, network.dropout, dtype
        ),
        optimiser,
    )
    state = jax.device_put(state, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))
    training = Training(
        structure, LOSSES[steps.loss](steps.alpha), optimiser, sheet, images.layers, variation(images),
        images.pixels, steps.batch, steps.average_decay, mesh,
    )  # fmt: skip
    return training, state


class HeldBackImages(NamedTuple):
    """Images of specimens that training never sees: the arrays of `Sample`s, each with the image's axis first."""

    samples: dict[str, np.ndarray]

    @classmethod
    def drawn(cls, images: DrawnImages, count: int, batch: int, seed: int) -> "HeldBackImages":
        """`count` images, drawn at most `batch` at a time from keys of their own."""
        batch = min(batch, count)
        ranges = variation(images.model_copy(update={"empty": 0.0}))  # without a sheet there is nothing to score
        sheet = SHEETS[images.sheet]()
        function = jax.jit(jax.vmap(lambda key: draw(key, sheet, images.layers, ranges, images.pixels)._asdict()))
        keys = jax.random.split(key_for(seed, HELD_BACK), -(-count // batch) * batch)
        parts = [jax.device_get(function(some)) for some in keys.reshape(-1, batch)]
        return cls({name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]})

    def truth(self, number: int) -> dict:
        """The arrays of one image."""
        return {name: values[number] for name, values in self.samples.items()}

    def __len__(self) -> int:
        return len(self.samples["image"])


def judge(training: Training, held_back: HeldBackImages, batch: int) -> Callable[[TrainingState], np.ndarray]:
    """A function of a state: loss, accuracy, Dice and IoU, (4,), of its running average on the held-back images."""

    @jax.jit
    def of_batch(state: TrainingState, images, labels):
        logits = averaged(training.structure, state)(images)
        return training.loss(logits, labels), logits > 0

    def of_all(state: TrainingState) -> np.ndarray:
        losses, scores = [], []
        for start in range(0, len(held_back), batch):
            images, labels = (held_back.samples[name][start : start + batch] for name in ("image", "labels"))
            loss, masks = of_batch(state, images, labels)
            losses += [float(loss)] * len(images)
            scores.append(np.stack(pixel_scores(masks, labels)))
        return np.array([np.mean(losses), *np.concatenate(scores, axis=1).mean(axis=1)])

    return of_all
