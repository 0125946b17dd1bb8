"""The algorithms, by name. A new one is a file here and a line in ALGORITHMS."""

from metalab.algorithms.base import Algorithm
from metalab.algorithms.cnp import ConditionalNeuralProcess
from metalab.algorithms.in_context import InContext
from metalab.algorithms.linear_probe import LinearProbe
from metalab.algorithms.maml import MAML
from metalab.algorithms.multi_task import MultiTask
from metalab.algorithms.nearest_neighbour import NearestNeighbour
from metalab.algorithms.pretrained import Pretrained
from metalab.algorithms.prototypes import Prototypes
from metalab.algorithms.reptile import Reptile
from metalab.algorithms.scratch import Scratch

ALGORITHMS: dict[str, type[Algorithm]] = {
    "maml": MAML,
    "reptile": Reptile,
    "prototypes": Prototypes,
    "cnp": ConditionalNeuralProcess,
    "in_context": InContext,
    "multi_task": MultiTask,
    "pretrained": Pretrained,
    "linear_probe": LinearProbe,
    "nearest_neighbour": NearestNeighbour,
    "scratch": Scratch,
}
