"""One colour for each algorithm, on every page: the Okabe-Ito set, which colour-blind people can tell apart.

Source: M. Okabe and K. Ito, "Color Universal Design" (2008).
"""

ALGORITHM_COLOURS = {
    "maml": "#0072B2",
    "fomaml": "#56B4E9",
    "reptile": "#D55E00",
    "pretrained": "#009E73",
    "scratch": "#999999",
}
FALLBACK_COLOURS = ("#CC79A7", "#E69F00", "#F0E442")  # the rest of the set, for algorithms to come
_DARKER_ON_WHITE = {"#56B4E9": "#2A93D0", "#999999": "#6E6E6E", "#E69F00": "#B87F00", "#F0E442": "#9C9000"}
_LIGHTER_ON_BLACK = {"#0072B2": "#3D9BDC", "#D55E00": "#F0803C", "#009E73": "#26BF94"}


def colour_of(name: str, order: int = 2, *, dark: bool = False) -> str:
    """The hex colour of an algorithm, adjusted where the page's background would swallow it.

    `name` is the algorithm's name in a config; MAML with `order` 1 is FOMAML. An algorithm that is not in the
    table gets one of the remaining colours, always the same one.
    """
    key = "fomaml" if name == "maml" and order == 1 else name
    colour = ALGORITHM_COLOURS.get(key) or FALLBACK_COLOURS[sum(key.encode()) % len(FALLBACK_COLOURS)]
    return (_LIGHTER_ON_BLACK if dark else _DARKER_ON_WHITE).get(colour, colour)
