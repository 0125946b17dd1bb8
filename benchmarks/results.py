"""The results in README.md: meta-train on the command line, evaluate on meta-test tasks, print a table.

    python benchmarks/results.py                       # all, about two hours on 2 cores
    python benchmarks/results.py sinusoid              # 5 minutes
    METALAB_DATA=... python benchmarks/results.py omniglot budget --jobs 2

Each line is two commands anyone can run by hand; they are printed before their figures. In the sections `budget`,
`budget5`, `functions`, `languages` and `names` every algorithm gets the same processor time (`--cpu-seconds`): how many
outer steps that buys is measured first, and printed. Published numbers: Finn et al. 2017 (arXiv:1703.03400), figure 5,
table 1 and section 5.3; Nichol et al. 2018 (arXiv:1803.02999), table 1.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

PROBES = (40, 120, 400, 1200, 4000)
"""Outer steps of the short runs that say what one costs: the first that takes long enough."""
LONG_ENOUGH = 6.0
"""Seconds."""


@dataclass(frozen=True)
class Result:
    """One row: how it is trained and evaluated, and what was published for it."""

    title: str
    train: str
    evaluate: str
    steps: tuple[int, ...]
    """Inner steps (or shots) that are shown; negative ones count from the end."""
    published: str = ""
    within_budget: bool = False
    """Whether it trains as many outer steps as the processor time buys."""


PAPER = "--outer-steps 70000 --evaluate-every 1000 --seed 0"
OMNIGLOT = "--family omniglot --seed 0"
SEEN_SELDOM = "--set evaluate_every=100000 --set evaluation_tasks=20"


def omniglot(shots: int) -> list[Result]:
    """The algorithms on 5-way tasks, each from its recommended settings, in equal processor time."""
    chosen = {
        "MAML": ("maml", "", (1, 3)),
        "FOMAML": ("maml", "--set algorithm.order=1", (1, 3)),
        "Reptile (transductive)": ("reptile", "", (5, 20)),
        "ANIL": ("anil", "", (1, 3)),
        "Meta-SGD": ("meta_sgd", "", (1, 3)),
        "MAML++": ("maml_plus_plus", "", (1, 3)),
        "MAML++, one inner step": ("maml_plus_plus", "--set algorithm.inner_steps=1", (1, 3)),
        "Prototypes": ("prototypes", "", (-1,)),
    }
    return [
        Result(
            f"Omniglot 5-way {shots}-shot: {title}",
            f"{OMNIGLOT} --algorithm {name} --set family.shots={shots} --set family.queries=5 {words} {SEEN_SELDOM}",
            "--tasks 600 --queries 15" + (f" --inner-steps {steps[-1]}" if steps[-1] > 0 else ""),
            steps,
            within_budget=True,
        )
        for title, (name, words, steps) in chosen.items()
    ]


def functions() -> list[Result]:
    """Every algorithm that learns functions, on sine waves, in equal processor time."""
    stepping = {
        "MAML": "maml",
        "FOMAML": "maml --set algorithm.order=1",
        "Reptile": "reptile",
        "ANIL": "anil",
        "BOIL": "boil",
        "MAML++": "maml_plus_plus",
        "iMAML": "imaml",
    }
    transfer = {"Pre-trained": "pretrained", "Linear probe": "linear_probe", "Multi-task": "multi_task"}
    rows = [(title, words, (1, 5, 10), " --inner-steps 10") for title, words in stepping.items()]
    rows += [
        (f"{title}, tuned rate", words, (1, 5, 10), " --inner-steps 10 --tune-inner-lr")
        for title, words in transfer.items()
    ]
    # Its rates are learned for one step: further ones diverge.
    rows += [("Meta-SGD", "meta_sgd", (0, 1), "")]
    rows += [("Neural process", "cnp", (5, 10), ""), ("In-context transformer", "in_context", (5, 10), "")]
    return [
        Result(
            f"Sinusoid, 10-shot MSE: {title}",
            f"--family sinusoid --seed 0 --algorithm {words} {SEEN_SELDOM}",
            f"--tasks 600{more}",
            steps,
            within_budget=True,
        )
        for title, words, steps, more in rows
    ]


def languages(shots: int) -> list[Result]:
    """Telling five unknown languages apart, each from its recommended settings, in equal processor time."""
    chosen = {
        "MAML": ("maml", " --inner-steps 5", (1, 5)),
        "Meta-SGD": ("meta_sgd", " --inner-steps 5", (1, 5)),
        "Reptile": ("reptile", " --inner-steps 10", (1, 10)),
        "Prototypes": ("prototypes", "", (-1,)),
        "Pre-trained, tuned rate": ("pretrained", " --inner-steps 10 --tune-inner-lr", (1, 10)),
        "Linear probe, tuned rate": ("linear_probe", " --inner-steps 10 --tune-inner-lr", (1, 10)),
        "Nearest neighbour": ("nearest_neighbour", "", (-1,)),
    }
    return [
        Result(
            f"Languages, 5-way {shots}-shot: {title}",
            f"--family languages --seed 0 --algorithm {name} --set family.shots={shots} {SEEN_SELDOM}",
            f"--tasks 600{more}",
            steps,
            within_budget=True,
        )
        for title, (name, more, steps) in chosen.items()
    ]


def names() -> list[Result]:
    """Perplexity of names in unknown languages, in equal processor time; what is chosen is chosen on others.

    Every rate is the best of a grid after the same number of inner steps, which is the last that is shown.
    """
    steps = (0, 1, 3)
    stepping = f"--inner-steps {steps[-1]}"
    tuned = f"{stepping} --tune-inner-lr"
    chosen = {
        "MAML": ("maml", tuned, steps),
        "FOMAML": ("maml --set algorithm.order=1", tuned, steps),
        "Meta-SGD": ("meta_sgd", stepping, steps),
        "Reptile": ("reptile", tuned, steps),
        "Pre-trained, fine-tuned": ("pretrained", tuned, steps),
        "Prompting": ("prompting", "", (0, 1, 5, 10)),
    }
    return [
        Result(
            f"Names, 10 examples, perplexity: {title}",
            f"--family names --seed 0 --algorithm {words} --evaluate-every 100",
            f"--tasks 600 --best-checkpoint 200 {more}",
            steps,
            within_budget=True,
        )
        for title, (words, more, steps) in chosen.items()
    ]


def navigation() -> list[Result]:
    """The return after each gradient step, from the recommended settings; the paper trained with one step."""
    chosen = {
        "MAML": ("maml", (0, 1), "-40.41 / -11.68"),
        "FOMAML": ("maml --set algorithm.order=1", (0, 1), ""),
        "MAML, trained with two steps": (
            "maml --set algorithm.inner_steps=2 --set algorithm.inner_lr=0.3", (0, 1, 2), "-40.41 / -11.68 / -3.33",
        ),
        "Reptile": ("reptile", (0, 1, 2), ""),
        "Pre-trained": ("pretrained", (0, 1), ""),
        "Random initialisation": ("scratch", (0, 1, 2, 3), "-82.66 / -57.96 / -53.84 / -46.81"),
    }  # fmt: skip
    return [
        Result(
            f"2-D navigation, return: {title}",
            f"--family navigation --seed 0 --algorithm {words}",
            f"--tasks 600 --inner-steps {steps[-1]}",
            steps,
            published,
        )
        for title, (words, steps, published) in chosen.items()
    ]


ROWS: dict[str, list[Result]] = {
    "sinusoid": [
        Result(
            "Sinusoid, 5-shot MSE: MAML",
            f"--family sinusoid --algorithm maml {PAPER}",
            "--shots 5 --inner-steps 10 --tasks 600 --best-checkpoint 4000",
            (1, 5, 10),
            ".67 / .38 / .35",
        ),
        Result(
            "Sinusoid, 5-shot MSE: pre-trained, fine-tuned with the best rate of a grid",
            f"--family sinusoid --algorithm pretrained {PAPER}",
            "--shots 5 --inner-steps 10 --tasks 600 --best-checkpoint 4000 --tune-inner-lr",
            (1, 5, 10),
            "2.41 / 2.23 / 2.19",
        ),
    ],
    "omniglot": [
        Result(
            "Omniglot 5-way 1-shot accuracy: MAML, second order",
            f"{OMNIGLOT} --algorithm maml --outer-steps 12000 --evaluate-every 500 --set family.queries=5",
            "--inner-steps 3 --tasks 600 --queries 15",
            (1, 3),
            "98.7 ± .4 (60,000 steps of 32 tasks)",
        ),
        Result(
            "Omniglot 5-way 1-shot accuracy: Reptile (transductive)",
            f"{OMNIGLOT} --algorithm reptile --outer-steps 20000 --evaluate-every 2000",
            "--inner-steps 20 --tasks 600 --queries 15",
            (5, 20),
            "97.68 ± .04 (100,000 steps of 5 tasks)",
        ),
    ],
    "prototypes": [
        Result(
            "Omniglot 5-way 1-shot accuracy: prototypes, trained 20-way",
            f"{OMNIGLOT} --algorithm prototypes --outer-steps 5000 --evaluate-every 1000"
            " --set family.ways=20 --set family.queries=5 --set meta_batch_size=2",
            "--tasks 600 --ways 5 --queries 15",
            (-1,),
            "98.8 (trained 60-way)",
        ),
    ],
    "budget": omniglot(1),
    "budget5": omniglot(5),
    "functions": functions(),
    "languages": [*languages(5), *languages(1)],
    "names": names(),
    "navigation": navigation(),
}


def metalab(command: str, arguments: str, *, told: bool = True) -> dict:
    """Run one command of the command line and return the JSON object it ends with."""
    line = [sys.executable, "-m", "metalab", command, *shlex.split(arguments), "--json"]
    if told:
        print("$ python -m metalab", command, arguments, file=sys.stderr, flush=True)
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"python -m metalab {command} {arguments}: {done.stderr[-400:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def affordable(train: str, cpu_seconds: float) -> str:
    """The number of outer steps that the processor time buys, to the hundred below."""
    start = metalab("train", f"{train} --outer-steps 1", told=False)["cpu_seconds"]
    for steps in PROBES:
        taken = metalab("train", f"{train} --outer-steps {steps}", told=False)["cpu_seconds"] - start
        if taken > LONG_ENOUGH:
            break
    return f"--outer-steps {max(1, int(cpu_seconds / taken * (steps - 1) / 100)) * 100}"


def measured(row: Result, cpu_seconds: float, threads: str) -> str:
    """Train and evaluate one row: a line of the table."""
    train = f"{row.train}{threads}"
    if row.within_budget:
        train += f" {affordable(train, cpu_seconds)}"
    run = metalab("train", train)
    found = metalab("evaluate", f"{run['run']} {row.evaluate} --seed 1{threads}")
    last = len(found["by_inner_step"])
    steps = [k if k >= 0 else last + k for k in row.steps]
    pairs = [(found["by_inner_step"][k], found["ci95"][k]) for k in steps]
    figures = " / ".join("diverged" if mean is None else f"{mean:.4f} ± {ci95:.4f}" for mean, ci95 in pairs)
    shown = " / ".join(map(str, steps)) + (" shots" if found["axis"] == "shot" else "")
    return f"| {row.title} | {shown} | {figures} | {row.published} | {run['steps']:,} | {run['cpu_seconds'] / 60:.1f} |"


def attempted(row: Result, cpu_seconds: float, threads: str) -> str:
    """The row's line, or why there is none."""
    try:
        return measured(row, cpu_seconds, threads)
    except RuntimeError as problem:
        return f"| {row.title} | | failed: {str(problem).splitlines()[-1]} | | | |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(ROWS)} (default: all)")
    parser.add_argument("--cpu-seconds", type=float, default=150, help="for each row within a budget (default 150)")
    parser.add_argument("--jobs", type=int, default=1, help="rows at a time; with more than one, one thread each")
    parser.add_argument("--threads", type=int, help="for each row (default: as many as there are cores)")
    parser.add_argument("--only", default="", metavar="WORD", help="only rows whose title has this word")
    options = parser.parse_args()
    unknown = sorted(set(options.sections) - set(ROWS))
    if unknown:
        parser.error(f"{unknown[0]!r}: expected some of {', '.join(ROWS)}")
    print("| what | inner steps | here (95% interval) | published | outer steps | processor minutes |")
    print("|---|---|---|---|---|---|", flush=True)
    rows = [row for name in options.sections or ROWS for row in ROWS[name] if options.only in row.title]
    count = 1 if options.jobs > 1 else options.threads
    threads = f" --threads {count}" if count else ""
    with ThreadPoolExecutor(options.jobs) as pool:
        for line in pool.map(lambda row: attempted(row, options.cpu_seconds, threads), rows):
            print(line, flush=True)


if __name__ == "__main__":
    main()
