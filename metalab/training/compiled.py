"""A run's meta-gradient and its evaluations as machine code: prepared beside the run, taken up when ready, left out
where that cannot be. On a GPU they are recorded instead (`recording`), at once.

The run trains eagerly from its first step on. Meanwhile a process of its own (`translating`) makes a library of the
same meta-gradient; between two outer steps the run looks whether it is there. What was made is kept in the cache,
under all that it depends on, for the next run. A compiler that is missing, fails or is slow costs the run nothing.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metalab import places
from metalab.params import Params
from metalab.tasks.base import TaskBatch
from metalab.training.config import RunConfig
from metalab.training.evaluation import FEWEST, curves
from metalab.training.outer import ENTRIES, Aggregate, differentiated
from metalab.training.parallel import tasks_at_once

ROOT = Path(__file__).parents[2]
PATIENCE = 300.0
"""Seconds after which a compiler that has not finished is ended."""
KEPT = 40
"""Libraries' folders in the cache (about 1 MB each); the ones that were used longest ago go first."""
A_DAY = 86_400.0
WORKSHOP_BYTES = 256 << 20
"""Of what compilers leave behind; where it is more, all goes that no compiler can be at."""
MANIFEST = "manifest.json"
EVALUATION = "evaluation"
"""What the library of evaluations is called, as a file and in the manifest."""
ENGINE = ("tasks", "models", "algorithms")
"""Packages whose source decides what a library computes."""

Library = Callable[[list[Tensor]], list[Tensor]]
log = logging.getLogger(__name__)


def inputs(theta: Params, batch: TaskBatch) -> list[Tensor]:
    """What a library reads: theta's entries by name, then the tasks' x and y, support and query."""
    return [*(theta[name] for name in sorted(theta)), *batch.support, *batch.query]


def described(tensors: Sequence[Tensor]) -> list[list[Any]]:
    """[shape, strides, dtype] of each: what a library takes for granted of its inputs."""
    return [[list(t.shape), list(t.stride()), str(t.dtype)] for t in tensors]


def loaded(path: Path, at_once: int) -> Library:
    """The library as a function, for up to `at_once` threads at a time. Raises RuntimeError."""
    return torch._C._aoti.AOTIModelPackageLoader(str(path), "model", False, at_once, -1).run


def regrouped(values: Sequence[Tensor], names: Mapping[str, Sequence[str]], n_tasks: int) -> Aggregate:
    """The aggregate that a library's flat list stands for."""
    rest = iter(values)
    return Aggregate(n_tasks, **{part: {name: next(rest) for name in names[part]} for part in ENTRIES})


def evaluates(config: RunConfig) -> bool:
    """Whether a run's evaluations are compiled with it: of whole parts, of a network whose tasks go together."""
    return config.evaluation_tasks % FEWEST == 0 and tasks_at_once(config.model) is None


class MetaStep:
    """The meta-gradient of a run's config and its evaluations: eager, and compiled from when that is ready."""

    def __init__(self, config: RunConfig, device: torch.device, sizes: Sequence[int], threads: int) -> None:
        """`sizes`: the numbers of tasks in the parts of a meta-batch, of which `threads` are computed at a time."""
        self._config, self._device, self._sizes, self._threads = config, device, sorted(set(sizes)), threads
        self._steady = config.algorithm.steady_from
        self._names: dict[str, list[str]] = {}
        self._parts: dict[int, tuple[list[list[Any]], Library]] = {}
        self._recorded: Params | None = None
        """The theta that the libraries read where it is: on a GPU, where they are recordings."""
        self._curves: tuple[list[str], list[list[Any]], Library] | None = None
        self._began = time.monotonic()
        self._folder: Path | None = None
        """Where the libraries are, or will be; None where none is waited for."""
        self._child: Child | None = None
        self._to_record = False
        self._news = ""
        if config.compiled == "auto" and config.algorithm.trains:
            self._guarded(self._begin)

    def __call__(self, theta: Params, batch: TaskBatch, done: int) -> Aggregate:
        """What the tasks of a part come to after `done` outer steps; from any of the threads."""
        steady = self._steady is not None and done >= self._steady and self._reads(theta)
        known = self._parts.get(batch.n_tasks) if steady else None
        given = inputs(theta, batch)
        # theta was looked at when the library was taken up.
        if known is None or described(given[-4:]) != known[0][-4:]:
            in_rows = self._device.type == "cuda" or not self._parts
            return differentiated(self._config, theta, batch, done, in_rows=in_rows)
        return regrouped(known[1](given), self._names, batch.n_tasks)

    @property
    def evaluates(self) -> bool:
        """Whether evaluations are compiled now."""
        return self._curves is not None

    def curves(self, theta: Params, part: TaskBatch) -> Params:
        """Each metric of the tasks after each inner step of an evaluation, compiled where that is ready."""
        given, algorithm = inputs(theta, part), self._config.algorithm
        if self._curves is None or described(given) != self._curves[1] or not self._reads(theta):
            return curves(self._config.learner, algorithm, theta, part, algorithm.evaluation_steps)
        names, _, library = self._curves
        return dict(zip(names, library(given), strict=True))

    def _reads(self, theta: Params) -> bool:
        return self._recorded is None or self._recorded is theta

    def wait(self, theta: Params) -> str:
        """Wait for what is prepared; the sentence that `news` has then, empty where nothing is."""
        news = ""
        while self.pending and not (news := self.news(theta)):
            time.sleep(0.1)
        return news

    @property
    def pending(self) -> bool:
        """Whether there will be news."""
        return self._folder is not None or self._to_record or bool(self._news)

    def news(self, theta: Params) -> str:
        """A sentence once there is something to tell, ready or why not, else empty. Takes up what is ready."""
        if self._to_record:
            self._to_record = False
            self._guarded(lambda: self._record(theta))
        elif self._folder is not None and (self._child is None or self._child.over):
            self._guarded(lambda: self._take_up(theta))
        news, self._news = self._news, ""
        return news

    def close(self) -> None:
        """End a preparation that goes on, and let go of what is ready."""
        if self._child is not None:
            self._child.close()
        self._folder = self._child = self._curves = self._recorded = None
        self._to_record = False
        self._parts.clear()

    def _guarded(self, do: Callable[[], None]) -> None:
        """Whatever goes wrong, the run goes on eagerly, and says why."""
        try:
            do()
        except Exception as problem:
            log.info("A run is not compiled.", exc_info=not isinstance(problem, NotCompiled))
            self.close()
            self._news = f"not compiled: {in_short(problem)}"

    def _begin(self) -> None:
        if self._steady is None:
            raise NotCompiled(f"the meta-gradient of {self._config.algorithm.label} is another one at every outer step")
        if self._device.type == "cuda":
            self._to_record = True  # that takes less time than a process takes to start
            return
        self._folder = places.cache() / "compiled" / key(self._config, self._sizes)
        if not (self._folder / MANIFEST).is_file():
            self._child = Child(self._config, self._sizes, self._folder, self._steady)

    def _record(self, theta: Params) -> None:
        from metalab.training.recording import record

        assert self._steady is not None
        found = record(self._config, theta, self._device, self._steady)
        self._recorded, self._names, self._curves, self._news = theta, found.names, found.curves, found.news
        self._parts[self._config.meta_batch_size] = found.given, found.library

    def _take_up(self, theta: Params) -> None:
        folder, child = self._folder, self._child
        assert folder is not None
        missed = child.finish() if child is not None else "an earlier run's compiler did not get through with them"
        self._folder = self._child = None
        try:
            found = _read(folder / MANIFEST)
            if "refused" in found:
                raise Refused(found["refused"])
            expected = described([theta[name] for name in sorted(theta)])
            for size, promised in found["parts"].items():
                if promised[:-4] != expected:
                    raise NotCompiled("theta is of another shape than the library was made for")
                library = loaded(folder / f"{size}.pt2", self._threads)
                self._parts[int(size)] = promised, library
            self._names = found["names"]
            look = found.get(EVALUATION, {})
            if "names" in look:
                library = loaded(folder / f"{EVALUATION}.pt2", 1)
                self._curves = look["names"], look["given"], library
        except Refused:
            raise
        except Exception:
            shutil.rmtree(folder, ignore_errors=True)  # the next run makes it anew
            raise
        how = (
            f"compiled after {time.monotonic() - self._began:.0f} s"
            if child
            else "compiled, as kept from an earlier run"
        )
        self._news = how + (f", for outer steps from {self._steady + 1} on" if self._steady else "")
        interrupted = EVALUATION not in found and evaluates(self._config)
        why = missed if interrupted else look.get("refused", "")
        self._news += f"; evaluations are not: {why}" if why else ""
        if interrupted and time.time() - (folder / MANIFEST).stat().st_mtime > A_DAY:
            shutil.rmtree(folder, ignore_errors=True)  # the next run tries them again
        _tidy(folder)


class Child:
    """The process that makes the libraries of one config."""

    def __init__(self, config: RunConfig, sizes: Sequence[int], folder: Path, done: int) -> None:
        """Starts it; its work takes the name `folder` when it is whole. Raises NotCompiled, OSError."""
        self._folder = folder
        self._began = time.monotonic()
        environment = _environment()
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._part = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".part", dir=folder.parent))
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "metalab.training.translating"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        request = {
            "config": config.changed({"device": "cpu", "compiled": "off"}).model_dump(mode="json"),
            "sizes": list(sizes),
            "folder": str(self._part),
            "done": done,
        }
        assert self._process.stdin is not None
        with suppress(OSError):  # it has ended already: `finish` says so
            # The pipe stays open: its end tells the process that nobody waits any more.
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()

    @property
    def over(self) -> bool:
        """Whether it has ended, or has had its time."""
        return self._process.poll() is not None or time.monotonic() - self._began > PATIENCE

    def finish(self) -> str:
        """Take what it made, and what it says of anything that is missing. Raises NotCompiled with the reason where the
        meta-gradient is."""
        if self._process.poll() is None:
            self._end()
            answer = {"problem": f"the compiler did not finish within {PATIENCE:.0f} s"}
        else:
            said, _ = self._process.communicate()
            answer = json.loads(said) if said.strip() else {"problem": "the compiling process ended early"}
        problem, manifest = answer.get("problem", ""), self._part / MANIFEST
        if problem and not manifest.is_file():
            raise NotCompiled(problem)
        if manifest.is_file() and "names" not in _read(manifest).get(EVALUATION, {}):
            (self._part / f"{EVALUATION}.pt2").unlink(missing_ok=True)
        with suppress(OSError):  # another run was faster
            self._part.rename(self._folder)
        self.close()
        return str(problem)

    def close(self) -> None:
        """End it, with the C++ compiler that it started, and clear up."""
        self._end()
        with suppress(ValueError):  # its answer was taken
            self._process.communicate()
        shutil.rmtree(self._part, ignore_errors=True)

    def _end(self) -> None:
        if self._process.poll() is None:
            with suppress(OSError):  # it has just ended by itself
                if hasattr(os, "killpg"):
                    os.killpg(self._process.pid, signal.SIGKILL)
                else:
                    self._process.kill()
            self._process.wait()


class NotCompiled(RuntimeError):
    """Why a run is not compiled; the message ends the sentence "not compiled: ..."."""


class Refused(NotCompiled):
    """Why it is not, whenever it is tried: kept in the cache like a library."""


def in_short(problem: Exception) -> str:
    """What went wrong, in one line for the person whose run it is."""
    if isinstance(problem, NotCompiled | places.PlaceError):
        return str(problem)
    first = (str(problem).strip().splitlines() or [""])[0][:200]
    return f"{type(problem).__name__}: {first}" if first else type(problem).__name__


def _read(manifest: Path) -> dict[str, Any]:
    return dict(json.loads(manifest.read_text(encoding="utf-8")))


def compiler() -> str:
    """The C++ compiler of this machine: `CXX`, else the usual one. Raises NotCompiled."""
    usual = {"win32": ("cl",), "darwin": ("clang++",)}.get(sys.platform, ("g++", "clang++"))
    names = (os.environ["CXX"],) if os.environ.get("CXX") else usual
    found = next((name for name in names if shutil.which(name)), None)
    if found is None:
        raise NotCompiled(f"no C++ compiler was found on this machine (looked for {' and '.join(names)})")
    return found


def _environment() -> dict[str, str]:
    """The compiling process's. Raises NotCompiled, PlaceError."""
    settings = {
        "CXX": compiler(),
        "METALAB_HOME": str(places.home()),
        "METALAB_DATA": str(places.data()),
        "TORCHINDUCTOR_CACHE_DIR": str(places.cache() / "inductor"),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        "CUDA_VISIBLE_DEVICES": "",
    }
    return os.environ | settings


def key(config: RunConfig, sizes: Sequence[int]) -> str:
    """A name for everything that a library depends on: the run's settings, our source, torch and the processor."""
    settings = config.model_dump(mode="json", include={"family", "model", "algorithm", "meta_batch_size"})
    what = {
        "settings": settings | {"natural": config.outer_optimiser == "natural"},
        "sizes": sorted(sizes),
        "evaluates": evaluates(config),
        "torch": torch.__version__,
        "processor": _processor(),
        "source": _source(),
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]


@functools.cache
def _processor() -> str:
    """What the compiler fits its code to."""
    lines = []
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    told = {line for line in lines if line.lower().startswith(("flags", "features", "model name"))}
    return " ".join([platform.machine(), *(sorted(told) or [platform.processor(), platform.node()])])


@functools.cache
def _source() -> str:
    """A digest of the engine's source files."""
    here = ROOT / "metalab"
    files = [path for package in ENGINE for path in (here / package).glob("*.py")]
    files += [
        here / "params.py",
        *(here / "training" / f"{name}.py" for name in ("outer", "evaluation", "compiled", "translating")),
    ]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _tidy(used: Path) -> None:
    """Note that a folder was used just now; remove those that were not for longest, and what compilers left behind."""
    with suppress(OSError):
        os.utime(used)
        folders = sorted(used.parent.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
        workshop = list((used.parents[1] / "inductor").glob("*"))
        crowded = sum(_bytes(folder) for folder in workshop) > WORKSHOP_BYTES
        # Those with short names hold what was found out about the compiler: worth keeping while there is room.
        kept, longest = (0, PATIENCE) if crowded else (6, A_DAY)
        now = time.time()
        left = [each for each in workshop if len(each.name) > kept and now - each.stat().st_mtime > longest]
        for folder in [*folders[KEPT:], *left]:
            shutil.rmtree(folder, ignore_errors=True)


def _bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*"))
