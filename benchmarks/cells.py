"""Cells of a sweep, independent of each other: on this machine's cores, or on Dask or Ray through joblib's backends.

A cell's own seed decides what it computes, with one thread, so that its numbers are the same on every backend. Results
come back in the order in which they are there: whoever keeps each at once loses nothing when a sweep is ended.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import torch
from joblib import Parallel, cpu_count, delayed, parallel_config
from joblib.parallel import get_active_backend
from secfwt.runtime.errors import SecfwtError
from secfwt.runtime.progress import clock
from threadpoolctl import threadpool_limits

R = TypeVar("R")
BACKENDS = ("loky", "threading", "sequential", "dask", "ray")


def add_cell_options(parser: argparse.ArgumentParser) -> None:
    """Where cells are computed."""
    parser.add_argument(
        "--backend", choices=BACKENDS, default="loky",
        help="joblib's processes (loky) or threads; dask and ray are packages of their own",
    )  # fmt: skip
    parser.add_argument("--jobs", type=int, default=cpu_count(), help="cells at a time; here: %(default)s")
    parser.add_argument("--scheduler", default="", help="address of Dask's or Ray's cluster; default: one started here")


def computed(
    call: Callable[..., R], cells: Sequence[tuple[Any, ...]], options: argparse.Namespace
) -> Iterator[tuple[int, R]]:
    """`call` of every cell's values, with the cell's number, as soon as each is there; a line of progress behind each.

    `call` is a function of a module, since other processes look it up there. Raises what it raises.
    """
    if not cells:
        return
    began = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(_backend(options))
        for done, found in enumerate(_results(call, cells, options.jobs), 1):
            yield found
            left = (time.monotonic() - began) / done * (len(cells) - done)
            print(f"{done} of {len(cells)} cells, {clock(left)} left", flush=True)


def _results(call: Callable[..., R], cells: Sequence[tuple[Any, ...]], jobs: int) -> Iterator[tuple[int, R]]:
    backend, _ = get_active_backend()
    tasks = [delayed(_alone)(call, number, cell) for number, cell in enumerate(cells)]
    if backend.supports_return_generator:
        yield from Parallel(return_as="generator_unordered")(tasks)
        return
    with Parallel() as parallel:  # Ray's: it answers when all that it was given are done
        for first in range(0, len(tasks), jobs):
            yield from parallel(tasks[first : first + jobs])


def _alone(call: Callable[..., R], number: int, cell: tuple[Any, ...]) -> tuple[int, R]:
    """One cell, in whatever process: sums of several threads would depend on how many there are."""
    torch.set_num_threads(1)
    threadpool_limits(1)
    return number, call(*cell)


def _backend(options: argparse.Namespace) -> Any:
    """joblib's configuration, with a cluster where one is needed."""
    stack = ExitStack()
    name = options.backend
    if options.scheduler and name not in ("dask", "ray"):
        raise SecfwtError(f"--scheduler is {options.scheduler}: --backend {name} has none")
    try:
        if name == "dask":
            from distributed import Client

            where = {"address": options.scheduler} if options.scheduler else {"n_workers": options.jobs, **LOCAL_DASK}
            stack.enter_context(Client(**where))
        elif name == "ray":
            import ray
            from ray.util.joblib import register_ray

            paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
            ray.init(
                address=options.scheduler or None, num_cpus=None if options.scheduler else options.jobs,
                runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(paths)}},
            )  # fmt: skip
            stack.callback(ray.shutdown)
            register_ray()
    except ModuleNotFoundError as error:
        raise SecfwtError(f"--backend is {name}: package {error.name} is missing") from None
    stack.enter_context(parallel_config(name, n_jobs=options.jobs))
    return stack


LOCAL_DASK = {"threads_per_worker": 1, "dashboard_address": None, "memory_limit": 0}
