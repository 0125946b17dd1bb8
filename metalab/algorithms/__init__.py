"""The algorithms, by name. A new one is a file here and a line in ALGORITHMS."""

from metalab.algorithms.anil import ANIL
from metalab.algorithms.base import Algorithm
from metalab.algorithms.boil import BOIL
from metalab.algorithms.cnp import ConditionalNeuralProcess
from metalab.algorithms.imaml import IMAML
from metalab.algorithms.in_context import InContext
from metalab.algorithms.linear_probe import LinearProbe
from metalab.algorithms.maml import MAML
from metalab.algorithms.maml_plus_plus import MAMLPlusPlus
from metalab.algorithms.meta_sgd import MetaSGD
from metalab.algorithms.multi_task import MultiTask
from metalab.algorithms.nearest_neighbour import NearestNeighbour
from metalab.algorithms.nil import NIL
from metalab.algorithms.pretrained import Pretrained
from metalab.algorithms.prompting import Prompting
from metalab.algorithms.prototypes import Prototypes
from metalab.algorithms.reptile import Reptile
from metalab.algorithms.scratch import Scratch

ALGORITHMS: dict[str, type[Algorithm]] = {
    "maml": MAML,
    "reptile": Reptile,
    "anil": ANIL,
    "boil": BOIL,
    "nil": NIL,
    "meta_sgd": MetaSGD,
    "maml_plus_plus": MAMLPlusPlus,
    "imaml": IMAML,
    "prototypes": Prototypes,
    "cnp": ConditionalNeuralProcess,
    "in_context": InContext,
    "prompting": Prompting,
    "multi_task": MultiTask,
    "pretrained": Pretrained,
    "linear_probe": LinearProbe,
    "nearest_neighbour": NearestNeighbour,
    "scratch": Scratch,
}
