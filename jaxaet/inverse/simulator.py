"""The images and derivatives of a forward model that is dear, each made once, image by image."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxaet.forward import Forward
from jaxaet.inverse.linearised import Linearised, joined, linearised
from jaxaet.inverse.problem import Model

Stage = Callable[[str, Callable[[], dict]], dict]
Progress = Callable[[int, str], AbstractContextManager[Callable[[int], None]]]


class Simulator:
    """A dear forward model that remembers what it has simulated.

    `stage(name, make)`: gives what `make()` gives, a dictionary of arrays, perhaps from a file where it was kept the
    last time; a method keeps its own results by it too. `progress(steps, title)`: a context with a function that is
    told of each step.
    """

    def __init__(self, forward: Forward, stage: Stage | None = None, progress: Progress | None = None):
        self.forward = forward
        self.stage: Stage = stage or (lambda name, make: make())
        self._progress: Progress = progress or (lambda steps, title: nullcontext(lambda step: None))
        self._known: list[tuple[Model, Array]] = []

    def images(self, model: Model) -> Float[Array, "k ny nx"]:
        """The images of the model."""
        for known, images in self._known:
            if known is model:
                return images
        number = len(self._known)
        made = self._each(model, number, "image", lambda view, _: {"image": np.asarray(_see(self.forward, view))})
        images = jnp.asarray(np.concatenate([one["image"] for one in made]))
        self._known.append((model, images))
        return images

    def linearised(self, model: Model) -> Linearised:
        """The images of the model and their derivative for every atom."""
        images = self.images(model)
        number = next(i for i, (known, _) in enumerate(self._known) if known is model)

        def slopes(view, index):
            found = linearised(self.forward, view, images[index : index + 1])
            return {name: np.asarray(leaf) for name, leaf in vars(found).items()}

        made = self._each(model, number, "derivative", slopes)
        return joined([Linearised(**jax.tree.map(jnp.asarray, one)) for one in made])

    def _each(self, model: Model, number: int, kind: str, make: Callable[[Model, int], dict]) -> list[dict]:
        """What `make(view, index)` gives for each image of the model."""
        total, made = len(model.microscope.tilts.angles), []
        with self._progress(total, f"series {number}, {kind}s") as tick:
            for index in range(total):
                view = Model(model.atoms, model.microscope.view(index))
                name = f"series_{number}_{kind}_{index + 1}"
                made.append(self.stage(name, lambda view=view, index=index: make(view, index)))
                tick(index + 1)
        return made


@eqx.filter_jit
def _see(forward: Forward, model: Model) -> Float[Array, "1 ny nx"]:
    return forward(model.atoms, model.microscope).data
