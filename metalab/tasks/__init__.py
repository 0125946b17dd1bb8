"""The task families, by name. A new one is a file here and a line in FAMILIES."""

from metalab.tasks.base import TaskFamily
from metalab.tasks.cross import Cross
from metalab.tasks.digit_tasks import PermutedMnist, RotatedMnist
from metalab.tasks.glyphs import Glyphs
from metalab.tasks.languages import Languages
from metalab.tasks.linear import Linear
from metalab.tasks.mixture import Mixture
from metalab.tasks.mnist import Mnist
from metalab.tasks.names import Names
from metalab.tasks.navigation import Navigation
from metalab.tasks.omniglot import Omniglot
from metalab.tasks.quadratic import Quadratic
from metalab.tasks.sinusoid import Sinusoid

FAMILIES: dict[str, type[TaskFamily]] = {
    "sinusoid": Sinusoid,
    "linear": Linear,
    "mixture": Mixture,
    "quadratic": Quadratic,
    "navigation": Navigation,
    "glyphs": Glyphs,
    "omniglot": Omniglot,
    "mnist": Mnist,
    "cross": Cross,
    "rotated_mnist": RotatedMnist,
    "permuted_mnist": PermutedMnist,
    "languages": Languages,
    "names": Names,
}
