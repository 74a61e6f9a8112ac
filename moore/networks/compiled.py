"""Compiled steps: an update is traced once as a function of tensors, and torch's compiler makes a library of it.

The element-wise operations of a small network's update take longer than its products; the compiler fuses them. A
library is kept between processes, and serves any number of runs unless the step asks for it. It differs from the plain
path, the reference, by rounding only.
"""

import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Hashable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from moore.base.files import write_json
from moore.base.lock import locked
from moore.base.machine import processor
from moore.networks.state import State
from moore.networks.tracing import Untraceable, tracing

T = TypeVar("T")
Place = tuple[State, str]  # an attribute that is a tensor
CACHED = 2**18  # numbers in a layer's activations that a thread computes at once: a megabyte, half of a core's cache
SOURCES = ("networks", "agents", "algorithm")  # packages whose code a step may call


class Traced(NamedTuple):
    """A step as a graph of operations."""

    graph: torch.fx.GraphModule
    inputs: list[Tensor]  # without contents
    keys: list[str]  # of the dictionary that the step returns
    any_runs: bool  # traced with more than one, it holds for any number of runs


class Compiled:
    """Calls steps through their libraries, which are built where they are missing, unless `builds` is False.

    A step is a `functools.partial` whose State arguments hold what it changes. It returns a dictionary of tensors.
    Where it cannot be traced or compiled, it is called as it is. activations: numbers that one run has in a layer; a
    library is called for so many runs at once as the cache holds.
    """

    def __init__(self, settings: str, activations: int = 0) -> None:
        self._settings, self._activations = [settings, _code()], activations
        self.builds = True
        self._steps: dict[Hashable, Callable[[tuple[Tensor, ...]], Any] | None] = {}

    def __call__(self, key: Hashable, function: Callable[..., T], *inputs: Tensor) -> T:
        """function(*inputs); the inputs' leading axis is the run axis."""
        whole = (key, *(tuple(x.shape) for x in inputs))
        if whole not in self._steps:
            self._steps[whole] = self._prepare(key, function, inputs)
        step = self._steps[whole]
        return function(*inputs) if step is None else step(inputs)

    @property
    def in_use(self) -> bool:
        """Tell whether any step is called through its library."""
        return any(step is not None for step in self._steps.values())

    def _prepare(
        self, key: Hashable, function: Callable[..., Any], inputs: Sequence[Tensor]
    ) -> Callable[[tuple[Tensor, ...]], Any] | None:
        """Return a function of the inputs that calls the library; None if there can be none."""
        assert isinstance(function, partial)
        places = _places([x for x in function.args if isinstance(x, State)])
        tensors = [*(getattr(*alias[0]) for alias in places), *inputs]
        runs = len(inputs[0])
        shapes = [(tuple(x.shape[int(x.shape[:1] == (runs,)) :]), str(x.dtype)) for x in tensors]
        try:
            name = hashlib.sha256(repr([self._settings, key, shapes, _environment()]).encode()).hexdigest()[:24]
            found = _find(name, runs)
            if not found and not self.builds:
                return None
            found = found or _build(name, runs, function, places, inputs)
            run = torch._C._aoti.AOTIModelContainerRunnerCpu(str(cache_folder() / found["library"]), 1).run
        except Untraceable:
            return None
        except Exception as error:  # whatever keeps a step from being compiled, the plain one can go on
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            print(f"moore: updates are not compiled ({reason}); the plain ones go on", file=sys.stderr, flush=True)
            return None
        keys, parts = found["keys"], self._parts(runs) if found["any_runs"] else 1
        sliced = [_has_runs(place, x, runs) for place, x in zip(places, tensors, strict=False)] + [True] * len(inputs)

        def call(inputs: tuple[Tensor, ...]) -> Any:
            now = [*(getattr(*alias[0]) for alias in places), *(x.contiguous() for x in inputs)]
            if parts == 1:  # cutting costs a twentieth of a small update
                out = run(now)
            else:
                pieces = [x.tensor_split(parts) if cut else [x] * parts for x, cut in zip(now, sliced, strict=True)]
                outs = [run(list(part)) for part in zip(*pieces, strict=True)]
                out = [torch.cat(each) for each in zip(*outs, strict=True)]
            return dict(zip(keys, out, strict=True))

        return call

    def _parts(self, runs: int) -> int:
        """Return in how many calls a library serves all runs."""
        at_once = max(1, CACHED * torch.get_num_threads() // self._activations) if self._activations else runs
        return -(-runs // at_once)


def compiler() -> str:
    """Return the command of the C++ compiler that torch calls."""
    return os.environ.get("CXX", "g++")


def cache_folder() -> Path:
    """Return where libraries are kept: in the user's cache, ~/.cache by default."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "moore"


def trace(function: partial[Any], places: Sequence[Sequence[Place]], inputs: Sequence[Tensor], runs: int) -> Traced:
    """Record function(*inputs) as a function of the tensors at `places` and the inputs, for any number of runs.

    Its Python is run with tensors that have shapes only, the leading axis a symbol; where the code needs its number,
    the graph is for that number.
    """
    from torch._dynamo.source import ConstantSource
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

    mode: Any = FakeTensorMode(shape_env=ShapeEnv())
    axis: Any = runs
    if runs > 1:  # torch compiles for 1 apart
        symbol: Any = StatelessSymbolicContext(dynamic_sizes=[DimDynamic.DYNAMIC])
        axis = mode.from_tensor(torch.empty(runs), symbolic_context=symbol, source=ConstantSource("runs")).shape[0]

    def empty(x: Tensor, has_runs: bool) -> Tensor:
        return torch.empty((axis, *x.shape[1:]) if has_runs else x.shape, dtype=x.dtype)

    state = [getattr(*alias[0]) for alias in places]
    keys: list[str] = []

    def put(tensors: Sequence[Tensor]) -> None:
        for alias, tensor in zip(places, tensors, strict=False):
            for place in alias:
                setattr(*place, tensor)

    def step(*tensors: Tensor) -> tuple[Tensor, ...]:
        try:
            put(tensors)
            out = function(*tensors[len(places) :])
            for alias, tensor in zip(places, tensors, strict=False):
                assert all(getattr(*place) is tensor for place in alias), f"{alias[0][1]}: a step changes it in place"
        finally:
            put(state)
        keys[:] = out
        return tuple(out.values())

    with mode, tracing():
        fakes = [empty(x, _has_runs(place, x, runs)) for place, x in zip(places, state, strict=True)]
        fakes += [empty(x, True) for x in inputs]
        graph = make_fx(step)(*fakes)
    # a guard is a condition that the code asked of the number of runs
    any_runs = runs > 1 and axis.node.maybe_as_int() is None and not mode.shape_env.guards
    return Traced(graph, fakes, keys, any_runs)


def _places(owners: Sequence[State]) -> list[list[Place]]:
    """Return where the tensors of these objects and of those that they own are; places of one tensor together."""
    found: dict[int, list[Place]] = {}
    waiting = list(owners)
    while waiting:
        owner = waiting.pop(0)
        for attribute, value in vars(owner).items():
            if isinstance(value, State):
                waiting.append(value)
            elif isinstance(value, Tensor):
                found.setdefault(id(value), []).append((owner, attribute))
    return list(found.values())


def _has_runs(alias: Sequence[Place], x: Tensor, runs: int) -> bool:
    """Tell whether a tensor has the run axis; one whose name begins with an underscore is a constant of all runs."""
    return alias[0][1][0] != "_" and x.shape[:1] == (runs,)


def _find(name: str, runs: int) -> dict[str, Any] | None:
    """Return what is known of a step, for any number of runs or for this one: its library, the keys of its outputs."""
    # its own first: the choice must not change when another process builds the other
    for entry in (cache_folder() / f"{name}-{runs}.step", cache_folder() / f"{name}.step"):
        if entry.exists():
            found: dict[str, Any] = json.loads(entry.read_text())
            if (cache_folder() / found["library"]).exists():
                return found
    return None


def _build(
    name: str, runs: int, function: partial[Any], places: Sequence[Sequence[Place]], inputs: Sequence[Tensor]
) -> dict[str, Any]:
    """Trace a step, and compile it unless another one has the same operations; once, whoever asks for it meanwhile."""
    with locked(cache_folder() / f"{name}.lock", "a compilation", math.inf):
        if found := _find(name, runs):
            return found
        traced = trace(function, places, inputs, runs)
        options = {"aot_inductor.compile_wrapper_opt_level": "O0"}  # it only calls kernels
        shapes = [(str(x.shape), str(x.dtype)) for x in traced.inputs]
        what = repr([traced.graph.code, shapes, options, _environment()])
        library = cache_folder() / f"{hashlib.sha256(what.encode()).hexdigest()[:24]}.so"
        if not library.exists():
            with tempfile.TemporaryDirectory(dir=cache_folder()) as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's own, about itself
                made = torch._inductor.aot_compile(
                    traced.graph,
                    tuple(traced.inputs),
                    options=options | {"aot_inductor.output_path": f"{folder}/step.so"},
                )
                os.replace(str(made), library)
        found = {"library": library.name, "keys": traced.keys, "any_runs": traced.any_runs}
        write_json(cache_folder() / (f"{name}.step" if traced.any_runs else f"{name}-{runs}.step"), found)
        return found


@cache
def _code() -> str:
    """Hash our sources, once for a process: a later edit is not what it runs."""
    root = Path(__file__).parents[1]
    files = sorted(file for package in SOURCES for file in (root / package).glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


@cache
def _environment() -> list[Any]:
    """Return what else a library depends on: torch, the compiler, the processor, the number of threads."""
    version = subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=True).stdout
    threads = torch.get_num_threads()
    return [torch.__version__, version, processor(), torch.backends.cpu.get_cpu_capability(), threads]
