"""The command line: `python -m metalab train|evaluate|runs|bench|export`, one file a command.

A command's module offers `arguments(parser)` and `run(options)`, which returns the exit code. Bad input ends with
one line on stderr and exit code 2, anything unexpected with one line and exit code 1. Neither this module nor the
parsing of most commands imports torch, so that help and mistakes are answered at once.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from metalab.allocator import keep_freed_memory
from metalab.cli.parsing import BadInput, Parser, closest

COMMANDS = {
    "train": "meta-train a model and keep the run, as the app does",
    "evaluate": "adapt a run's checkpoint to held-out tasks and measure it",
    "runs": "list the runs, or remove some",
    "bench": "measure meta-steps per second on this machine",
    "export": "write a run's config, figures and parameters into a folder",
}
BAD_INPUT = (
    ("metalab.cli.parsing", "BadInput"),
    ("metalab.places", "PlaceError"),
    ("metalab.training.config", "ConfigError"),
    ("metalab.tasks.base", "DataMissing"),
    ("metalab.training.service", "CommandError"),
    ("metalab.store", "StoreError"),
    ("metalab.store", "RunNotFound"),
    ("metalab.store", "CheckpointError"),
)
"""Errors whose message is one sentence for the person who typed the command; looked up only once they are loaded."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code; argparse's own exits (`--help`) are returned too."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name's letters that this terminal does not know are shown as marks: no run ends for that.
            stream.reconfigure(errors="replace")
    handler = _log_to_stderr(debug)
    keep_freed_memory()
    try:
        return _run([word for word in words if word != "--debug"])
    except SystemExit as finished:
        return int(finished.code or 0)
    except KeyboardInterrupt:
        print("metalab: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output (`| head`) has gone; keep the interpreter from complaining at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            raise
        line = " ".join(str(error).split())
        if _is_bad_input(error):
            print(f"metalab: {line}", file=sys.stderr)
            return 2
        print(f"metalab: {type(error).__name__}: {line} (--debug shows where)", file=sys.stderr)
        return 1
    finally:
        logging.getLogger("metalab").removeHandler(handler)


def _run(words: list[str]) -> int:
    top = Parser(
        prog="python -m metalab",
        description="Meta-train, evaluate and export from the command line. The runs are those that the app shows.",
        epilog="commands:\n" + "\n".join(f"  {name:<10}{what}" for name, what in COMMANDS.items()),
    )
    top.add_argument("command", metavar="command", help="one of those below; each has a --help of its own")
    top.add_argument("--debug", action="store_true", help="show the traceback of an error")
    command = words[0] if words else None
    if command in ("-h", "--help"):
        top.print_help()
        return 0
    expected = f"expected one of {', '.join(COMMANDS)}"
    if command is None:
        raise BadInput(f"no command was given: {expected}")
    if command not in COMMANDS:
        raise BadInput(f"command = {command!r}: {expected}{closest(command, COMMANDS)}")
    module = import_module(f"metalab.cli.{command}")
    summary = COMMANDS[command]
    parser = Parser(prog=f"python -m metalab {command}", description=f"{summary[0].upper()}{summary[1:]}.")
    module.arguments(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return module.run(parser.parse_args(words[1:]))


def _log_to_stderr(debug: bool) -> logging.Handler:
    """Warnings in one line each; what comes with a traceback only for `debug`: the run's message says it too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("metalab: %(message)s"))
    if not debug:
        handler.addFilter(lambda record: not record.exc_info)
    logging.getLogger("metalab").addHandler(handler)
    return handler


def _is_bad_input(error: Exception) -> bool:
    known = (getattr(sys.modules.get(module), name, None) for module, name in BAD_INPUT)
    return isinstance(error, tuple(cls for cls in known if cls is not None))
