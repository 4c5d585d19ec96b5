"""Trained numbers in a file, half precision, with what they were trained for."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxaet.core import InputError
from jaxaet.gombnet.networks import GombNet, UNet

FOLDER = Path(__file__).parent / "weights"


def save_weights(path: Path, network: nnx.Module, about: dict) -> None:
    """Write all numbers of a network in float16; `about`: what rebuilds it: layers, classes, filters, kind."""
    named: dict[str, Any] = {
        jax.tree_util.keystr(where): np.asarray(leaf, np.float16) for where, leaf in _leaves(network)
    }
    np.savez_compressed(path, about=json.dumps(about), **named)


def load_weights(path: Path | str) -> tuple[GombNet | UNet, dict]:
    """A trained network, and what it was trained for: `classes` by name, `layers`, `filters`, `pixel` in Å, `kind`.

    `error_factor` is for `decode`, 2 where a file does not say it.
    `path`: a file of `save_weights`, or "graphene" or "ws2" for those that come with the package.
    Raises `InputError` for a file that is none or does not fit.
    """
    shipped = {file.stem: file for file in FOLDER.glob("*.npz")}
    file = shipped.get(str(path), Path(path))
    try:
        stored = np.load(file, allow_pickle=False)
        about = {"error_factor": 2.0} | json.loads(str(stored["about"]))
        size = about["layers"], len(about["classes"]), jax.random.key(0), tuple(about["filters"])
        kind = {"gombnet": GombNet, "unet": UNet}[about.get("kind", "gombnet")]
        structure, state = nnx.split(nnx.eval_shape(lambda: kind(*size)))  # shapes alone: nothing is drawn
        leaves, tree = jax.tree_util.tree_flatten_with_path(state)
        numbers = [jnp.asarray(stored[jax.tree_util.keystr(where)], leaf.dtype) for where, leaf in leaves]
        if any(new.shape != leaf.shape for new, (_, leaf) in zip(numbers, leaves, strict=True)):
            raise KeyError("shape")
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} holds no weights of a Gomb-Net; "
            f"give a file of save_weights, or one of {', '.join(sorted(shipped))}."
        ) from error
    return nnx.merge(structure, jax.tree.unflatten(tree, numbers)), about


def _leaves(network: nnx.Module):
    return jax.tree_util.tree_flatten_with_path(nnx.split(network)[1])[0]
