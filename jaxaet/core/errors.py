"""The one error a user's input can cause."""

from typing import Any


class InputError(ValueError):
    """Input that cannot be used: what was found, what is allowed, what to do, in one sentence.

    The command line prints the sentence without a traceback and ends with exit code 2.
    """


def known(condition: Any) -> bool:
    """Whether a condition on values holds already; while JAX traces a function no value is known."""
    from jax.core import Tracer

    return not isinstance(condition, Tracer) and bool(condition.any())
