"""A training on disk by Orbax: a save that was cut off leaves the one before it."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxaet.gombnet.training import TrainingState


class Progress(NamedTuple):
    """How far a training is: its state, and what it has noted on the way, NaN where it has not been yet.

    `losses`: (steps,). `validation`: (checks, 5) step, loss, accuracy, Dice and IoU of the held-back images. `seconds`:
    that the training took.
    """

    state: TrainingState
    losses: np.ndarray
    validation: np.ndarray
    seconds: float


class Checkpoints:
    """The last two states of a training in a folder; use it in a `with` block."""

    def __init__(self, folder: Path):
        import orbax.checkpoint as ocp

        self._ocp = ocp
        options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def save(self, progress: Progress) -> None:
        """Keep a state and the notes with it, whole or not at all."""
        self._manager.save(int(progress.state.step), args=self._ocp.args.StandardSave(_named(progress)))

    def latest(self, begun: Progress) -> Progress:
        """The last state that was kept, placed on devices as that of `begun`, or `begun` itself where there is none."""
        step = self._manager.latest_step()
        if step is None:
            return begun
        shapes = {name: _shape(leaf) for name, leaf in _named(begun).items()}
        stored = self._manager.restore(step, args=self._ocp.args.StandardRestore(shapes))
        leaves, tree = jax.tree.flatten(begun.state)
        state = jax.tree.unflatten(tree, [stored[f"state_{number}"] for number in range(len(leaves))])
        noted = {name: np.array(stored[name]) for name in ("losses", "validation")}
        return Progress(state, **noted, seconds=float(stored["seconds"]))

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()


def _named(progress: Progress) -> dict[str, Any]:
    state = {f"state_{number}": leaf for number, leaf in enumerate(jax.tree.leaves(progress.state))}
    return state | {
        "losses": progress.losses, "validation": progress.validation, "seconds": np.asarray(progress.seconds)
    }  # fmt: skip


def _shape(leaf: Any) -> Any:
    if isinstance(leaf, jax.Array):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
    return leaf
