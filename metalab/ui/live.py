"""The live panel: charts and transport buttons that follow running runs without a script rerun.

The browser's part is assets/live*.js, which reads the event streams of metalab.ui.stream by itself. Python runs
only when a transport button is pressed.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import streamlit as st

from metalab.figures.style import colour_of, spare_colour
from metalab.takehome import charts
from metalab.ui.i18n import _, language
from metalab.ui.routes import base_path
from metalab.ui.stream import RUNS_PER_STREAM

CommandName = Literal["resume", "pause", "step", "stop", "reset"]

# What the buttons may ask for in each state of a run. "resume" also starts a run that waits at step 0.
COMMANDS: Mapping[str, tuple[CommandName, ...]] = {
    "queued": ("pause", "stop"),
    "running": ("pause", "stop", "reset"),
    "paused": ("resume", "step", "stop", "reset"),
    "stopped": ("resume", "step", "reset"),
    "interrupted": ("resume", "step", "reset"),
    "failed": ("resume", "step", "reset"),
    "finished": ("reset",),
}

_LOG = logging.getLogger(__name__)
_ASSETS = Path(__file__).resolve().parents[2] / "assets"
_SCRIPTS = ("chart_library.js", "saved_key.js", "live_data.js", "live_charts.js", "live_rows.js", "live.js")


@dataclass(frozen=True)
class LiveRun:
    """A run to follow: its id, what to call it, whose colour it wears (see `colour_of`), what its adaptation counts."""

    id: str
    name: str
    algorithm: str
    order: int = 2
    axis: Literal["inner step", "shot"] = "inner step"


@dataclass(frozen=True)
class Command:
    """A transport button that was pressed. Whether its user may do this is for the service to check."""

    run_id: str
    name: CommandName


def live_panel(
    runs: Sequence[LiveRun],
    *,
    key: str,
    metric: str = "loss",
    loss_label: str = "",
    height: int = 400,
) -> Command | None:
    """Draw the live charts of `runs` and return the transport button that was pressed for this rerun, if any.

    At most six runs are followed; the rest are named as left out. `metric` is what is shown first where the
    runs have it, `loss_label` says what the loss is ("mean squared error"), `height` is that of a chart in pixels.
    """
    followed, left_out = list(runs[:RUNS_PER_STREAM]), list(runs[RUNS_PER_STREAM:])
    result = _component()(
        key=key,
        data={
            "runs": [
                {"id": run.id, "name": run.name, "axis": run.axis, "colours": colours}
                for run, colours in zip(followed, _colours(followed), strict=True)
            ],
            "left_out": [run.name for run in left_out],
            "most": RUNS_PER_STREAM,
            "commands": COMMANDS,
            "metric": metric,
            "loss_label": loss_label,
            "height": height,
            "language": language().replace("_", "-"),
            "base": base_path(),
            "plotly": plotly_address(),
            "texts": _texts(),
        },
        on_command_change=lambda: None,
    )
    return _checked(result.command, followed)


@cache
def plotly_address() -> str:
    """Where the browser finds what draws lines and maps; the version keeps it from using an older server's copy."""
    return f"{base_path()}/metalab/plotly-cartesian.js?v={charts.VERSION}"


@cache
def whole_plotly_address() -> str:
    """Where the browser finds the whole of plotly.js, for pictures in 3-D."""
    from importlib.metadata import version

    return f"{base_path()}/metalab/plotly.js?v={version('plotly')}"


def _checked(value: Any, runs: Sequence[LiveRun]) -> Command | None:
    """What the browser sent as a command, or None for no press and for what no button of ours sends."""
    if value is None:
        return None
    if isinstance(value, dict) and value.get("name") in get_args(CommandName):
        for run in runs:
            if run.id == value.get("run"):
                return Command(run.id, value["name"])
    _LOG.warning("A browser sent an unknown command to the live panel: %.200r", value)
    return None


def _colours(runs: Sequence[LiveRun]) -> list[dict[str, str]]:
    """Each run's algorithm's colour; further runs of an algorithm that has been seen take the spare ones."""
    seen: set[str] = set()
    repeated, found = 0, []
    for run in runs:
        pair = {side: colour_of(run.algorithm, run.order, dark=side == "dark") for side in ("light", "dark")}
        if pair["light"] in seen:
            pair = {side: spare_colour(repeated, dark=side == "dark") for side in ("light", "dark")}
            repeated += 1
        seen.add(pair["light"])
        found.append(pair)
    return found


@cache
def _component() -> Any:
    scripts = "\n".join((_ASSETS / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    css = (_ASSETS / "live.css").read_text(encoding="utf-8")
    return st.components.v2.component("metalab_live", css=css, js=scripts, isolate_styles=False)


def _texts() -> dict[str, str]:
    """Every word that the panel shows, in the page's language; {names} are filled in by the browser."""
    return {
        "title_learning": _("Is it learning?"),
        "title_adaptation": _("How does it adapt?"),
        "title_functions": _("What does it predict?"),
        "loss": _("Loss"),
        "accuracy": _("Accuracy"),
        "return": _("Return"),
        "perplexity": _("Perplexity"),
        "negative_log_likelihood": _("Log-likelihood"),
        "gradient_norm": _("Meta-gradient"),
        "gradient_agreement": _("Agreement"),
        "metric": _("What the charts show"),
        "outer_step": _("outer step"),
        "inner_step": _("inner step"),
        "shot": _("shot"),
        "after_shots": _("{run}, after {shots} shots"),
        "loss_axis": _("query loss"),
        "accuracy_axis": _("query accuracy"),
        "return_axis": _("return of query trajectories"),
        "perplexity_axis": _("query perplexity"),
        "negative_log_likelihood_axis": _("negative log-likelihood, nats"),
        "gradient_norm_axis": _("length of the meta-gradient"),
        "gradient_agreement_axis": _("cosine of two tasks' meta-gradients"),
        "at_outer_step": _("outer step {step}"),
        "note": _("Outer step {step}: {text}"),
        **_state_texts(),
        **_button_texts(),
        **_key_texts(),
        **_summary_texts(),
    }


def _state_texts() -> dict[str, str]:
    return {
        "state_queued": _("Queued"),
        "state_running": _("Running"),
        "state_paused": _("Paused"),
        "state_finished": _("Finished"),
        "state_stopped": _("Stopped"),
        "state_failed": _("Failed"),
        "state_interrupted": _("Interrupted"),
        "state_deleted": _("Deleted"),
        "step_of": _("outer step {step} of {steps}"),
        "rate": _("{rate} steps/s"),
        "eta": _("{time} left"),
        "queue_place": _("place {place} in the queue"),
        "seconds": _("{seconds} s"),
        "minutes": _("{minutes} min {seconds} s"),
        "hours": _("{hours} h {minutes} min"),
        "progress": _("Progress of {run}"),
        "waiting": _("Waiting for the first step …"),
        "waiting_time": _("Waiting for the first step … {time}"),
        "not_kept": _("These numbers were not kept: the run is over."),
        "queued": _("Place {place} in the queue: starts when a worker is free … {time}"),
        "reconnecting": _("The connection was lost. Reconnecting …"),
        "gone": _("This run no longer exists on the server."),
        "too_many": _("Too many live views are open. Close some tabs; this one tries again by itself."),
        "no_plotly": _("The chart library could not be loaded from this server. Reload the page."),
        "left_out": _("{run} is not drawn: at most {most} runs are followed at once."),
    }


def _button_texts() -> dict[str, str]:
    return {
        "transport": _("Controls of {run}"),
        "start": _("Start"),
        "resume": _("Resume"),
        "pause": _("Pause"),
        "step": _("Step"),
        "stop": _("Stop"),
        "reset": _("Reset"),
        "resume_help": _("Go on training from here"),
        "pause_help": _("Hold the training after this outer step"),
        "step_help": _("Train for one outer step"),
        "stop_help": _("End the training and keep what was learned"),
        "reset_help": _("Start again from the same initialisation"),
        "not_yours": _("Only whoever started this run controls it"),
        "save_png": _("Download as a picture"),
        "save_svg": _("Download as a drawing that can be enlarged"),
        "save_csv": _("Download the numbers"),
        "smoothing": _("Smoothing"),
        "smoothing_help": _("How much of the noise of single meta-batches is averaged away"),
        "log_x": _("log x"),
        "log_x_help": _("Logarithmic outer steps: the beginning in more detail"),
        "log_y": _("log y"),
        "log_y_help": _("Logarithmic losses: small ones in more detail"),
        "log_loss": _("log loss"),
        "log_loss_help": _("Logarithmic losses: small ones in more detail"),
        "loss_help": _("Show the loss, which training lowers"),
        "accuracy_help": _("Show the share of right predictions"),
        "return_help": _("Show the reward that an episode earns"),
        "perplexity_help": _("Show among how many letters the model hesitates"),
        "negative_log_likelihood_help": _(
            "Show how surprised the model is by the answers: its negative log-likelihood"
        ),
        "gradient_norm_help": _("Show how long the meta-gradient of each outer step is"),
        "gradient_agreement_help": _("Show how far tasks pull the same way: 1 fully, 0 not at all"),
        "scrubber": _("Evaluation to show"),
        "scrubber_help": _("Go back to how the run adapted at an earlier outer step"),
        "functions_of": _("Whose functions are drawn"),
        "functions_help": _("Draw the functions of this run"),
        "play": _("Play the evaluations in order"),
        "live": _("Live"),
        "live_help": _("Follow the newest evaluation"),
    }


def _key_texts() -> dict[str, str]:
    return {
        "train": _("meta-train"),
        "before": _("held-out, before adaptation"),
        "after": _("held-out, after adaptation"),
        "away": _("away from home: tasks of another family"),
        "away_after": _("away from home, after adaptation"),
        "train_short": _("meta-train"),
        "before_short": _("before"),
        "after_short": _("after"),
        "away_short": _("away"),
        "mean": _("mean of held-out tasks"),
        "band": _("95% interval"),
        "tasks": _("each task"),
        "ghosts": _("earlier"),
        "truth": _("true function"),
        "support": _("support points"),
        "unadapted": _("before adaptation, f with θ"),
        "adapted": _("after 1, 2, … inner steps, f with φ"),
        "adapted_shots": _("after 1, 2, … shots, f with φ"),
        "at_once": _("without inner steps: after all its shots"),
    }


def _summary_texts() -> dict[str, str]:
    return {
        "learning_empty": _("{run}: no held-out result yet."),
        "learning_summary_loss": _(
            "{run}: at outer step {step} the held-out loss falls from {before} before to {after} after adaptation."
        ),
        "learning_summary_accuracy": _(
            "{run}: at outer step {step} the held-out accuracy goes from {before} before to {after} after adaptation."
        ),
        "learning_summary_return": _(
            "{run}: at outer step {step} the held-out return goes from {before} before to {after} after adaptation."
        ),
        "learning_summary_perplexity": _(
            "{run}: at outer step {step} the held-out perplexity goes from {before} before to {after} after adaptation."
        ),
        "learning_summary_negative_log_likelihood": _(
            "{run}: at outer step {step} the held-out negative log-likelihood goes from {before} before to {after} "
            "after adaptation."
        ),
        "away_summary": _("Away from home, on another family's tasks, it reaches {value}."),
        "outer_empty": _("{run}: nothing is known of this."),
        "outer_summary_gradient_norm": _("{run}: at outer step {step} the meta-gradient has length {value}."),
        "outer_summary_gradient_agreement": _(
            "{run}: at outer step {step} two tasks' meta-gradients have a mean cosine of {value}."
        ),
        "adaptation_empty": _("{run}: no evaluation yet."),
        "adaptation_summary_loss": _(
            "{run}, outer step {step}: the mean query loss goes from {before} at {axis} 0 to {after} "
            "(95% interval {low} to {high}) at {axis} {inner}."
        ),
        "adaptation_summary_accuracy": _(
            "{run}, outer step {step}: the mean query accuracy goes from {before} at {axis} 0 to {after} "
            "(95% interval {low} to {high}) at {axis} {inner}."
        ),
        "adaptation_summary_return": _(
            "{run}, outer step {step}: the mean return goes from {before} at {axis} 0 to {after} "
            "(95% interval {low} to {high}) at {axis} {inner}."
        ),
        "adaptation_summary_perplexity": _(
            "{run}, outer step {step}: the mean query perplexity goes from {before} at {axis} 0 to {after} "
            "(95% interval {low} to {high}) at {axis} {inner}."
        ),
        "adaptation_summary_negative_log_likelihood": _(
            "{run}, outer step {step}: the mean negative log-likelihood goes from {before} at {axis} 0 to {after} "
            "(95% interval {low} to {high}) at {axis} {inner}."
        ),
        "functions_summary": _(
            "{run}: predictions on {tasks} tasks at outer step {step}, before and after adaptation."
        ),
    }
