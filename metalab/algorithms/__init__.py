"""The algorithms, by name. A new one is a file here and a line in ALGORITHMS."""

from metalab.algorithms.base import Algorithm
from metalab.algorithms.maml import MAML
from metalab.algorithms.pretrained import Pretrained
from metalab.algorithms.reptile import Reptile
from metalab.algorithms.scratch import Scratch

ALGORITHMS: dict[str, type[Algorithm]] = {
    "maml": MAML,
    "reptile": Reptile,
    "pretrained": Pretrained,
    "scratch": Scratch,
}
