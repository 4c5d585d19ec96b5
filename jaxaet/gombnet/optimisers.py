"""The optimisers and learning rates that a training can be asked for by name."""

import optax

OPTIMISERS = {"adam": optax.adam, "adamw": optax.adamw, "sgd": optax.sgd}


def optimiser_named(
    name: str, rate: float, schedule: str = "constant", warmup: int = 0, steps: int = 1
) -> optax.GradientTransformation:
    """Adam, AdamW or gradient descent: `name` adam, adamw or sgd.

    `rate`: largest learning rate, reached after `warmup` steps and then constant, or with the `schedule` cosine falling
    to a hundredth of it at the last of `steps`.
    """
    if schedule == "cosine":
        decay = optax.cosine_decay_schedule(rate, max(steps - warmup, 1), 0.01)
    else:
        decay = optax.constant_schedule(rate)
    rates = optax.join_schedules([optax.linear_schedule(0.0, rate, warmup), decay], [warmup]) if warmup else decay
    return OPTIMISERS[name](rates)
