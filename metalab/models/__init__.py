"""The networks, by name. A new one is a file here and a line in MODELS."""

from metalab.models.base import Model
from metalab.models.char_transformer import CharTransformer
from metalab.models.cnp import CNP
from metalab.models.conv4 import Conv4
from metalab.models.mlp import MLP
from metalab.models.ngrams import NGrams
from metalab.models.point import Point
from metalab.models.policy import Policy
from metalab.models.transformer import Transformer

MODELS: dict[str, type[Model]] = {
    "mlp": MLP,
    "conv4": Conv4,
    "point": Point,
    "policy": Policy,
    "cnp": CNP,
    "transformer": Transformer,
    "ngrams": NGrams,
    "char_transformer": CharTransformer,
}
