"""Why this answer, in words."""

from __future__ import annotations

from metalab.analysis.decision import Decision, Evidence
from metalab.figures.images import class_name
from metalab.figures.style import Say, fixed
from metalab.tasks.cldr import decode


def named(found: Decision, label: int) -> str:
    """What a class is called."""
    return found.class_names[label] if found.class_names else class_name(label)


def answer(found: Decision, say: Say) -> str:
    """The answer to the page's question."""
    truth = int(found.query_y[found.query])
    verdict = say("which is right") if found.right else say("but it is {truth}").format(truth=named(found, truth))
    first = say("{contender} says {name} ({share}), {verdict}.").format(
        contender=found.label,
        name=named(found, found.said),
        share=f"{found.after.probabilities[found.said]:.0%}",
        verdict=verdict,
    )
    return f"{first} {resembles(found, say)} {counts(found, say)}"


def resembles(found: Decision, say: Say) -> str:
    """Which support example is most like the query, and which of another class comes next."""
    order = found.after.similarity.argsort()[::-1]
    best = int(order[0])
    label = int(found.support_y[best])
    rest = [int(i) for i in order if found.support_y[i] != label]
    sentence = say("Most alike is {what} (cosine {value}, {before} before adaptation)").format(
        what=_example(found, best, say),
        value=fixed(found.after.similarity[best], 2),
        before=fixed(found.before.similarity[best], 2),
    )
    if not rest:
        return sentence + "."
    second = say("; of another class the nearest is {what} ({value}).")
    return sentence + second.format(what=_example(found, rest[0], say), value=fixed(found.after.similarity[rest[0]], 2))


def _example(found: Decision, i: int, say: Say) -> str:
    name = named(found, int(found.support_y[i]))
    if found.tokens:
        return say("the name {example} of {name}").format(example=decode(found.support_x[i]), name=name)
    which = int((found.support_y[:i] == found.support_y[i]).sum()) + 1
    if int((found.support_y == found.support_y[i]).sum()) == 1:
        return say("the support image of {name}").format(name=name)
    return say("support image {which} of {name}").format(which=which, name=name)


def counts(found: Decision, say: Say) -> str:
    """What is to be covered for the largest loss, and what is lost."""
    after, name = found.after, named(found, found.said)
    change = say("the probability of {name} goes from {usual} to {covered}").format(
        name=name, usual=f"{after.probabilities[found.said]:.0%}", covered=f"{after.covered:.0%}"
    )
    if found.tokens:
        which = int(after.place[1])
        text = decode(found.query_x[found.query])
        sentence = say("Most depends on letter {number} of {text}, “{letter}”: without it {change}.")
        return sentence.format(number=which + 1, text=text, letter=text[which], change=change)
    return say("Most depends on its pixels {where}: with those covered {change}.").format(
        where=region(after, say), change=change
    )


def region(evidence: Evidence, say: Say) -> str:
    """Where the patch lies that counts most."""
    down, across = (min(int(3 * share), 2) for share in evidence.place)
    words = (
        (say("at the upper left"), say("at the top"), say("at the upper right")),
        (say("at the left"), say("in the middle"), say("at the right")),
        (say("at the lower left"), say("at the bottom"), say("at the lower right")),
    )
    return words[down][across]
