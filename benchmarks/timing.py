"""Times that can be compared on a machine that others use as well."""

import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping

import jax


def seconds(action: Callable) -> float:
    """How long one call takes, until its results are there."""
    start = time.perf_counter()
    jax.block_until_ready(action())
    return time.perf_counter() - start


def interleaved(actions: Mapping[str, Callable], rounds: int) -> dict[str, list[float]]:
    """Seconds of each action in each round; a round runs all of them in turn, so that drift hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            times[name].append(seconds(action))
    return times


def ratio(over: list[float], under: list[float]) -> float:
    """The median over rounds of the ratio of two actions' times."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def heap_peak(action: Callable) -> float:
    """The largest memory, MB, that NumPy holds during one call."""
    tracemalloc.start()
    action()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def compiled_peak(compiled) -> float:
    """The memory, MB, that a function compiled by JAX takes for its results and temporaries."""
    memory = compiled.memory_analysis()
    return (memory.temp_size_in_bytes + memory.output_size_in_bytes) / 1e6


def process_peak() -> float | None:
    """The largest resident memory, MB, of this process so far; none where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
