"""The transformer over a support set: what images share is taken out, and it learns to read them in seconds."""

import torch

from metalab.models.transformer import Transformer
from metalab.training.config import parse_config
from metalab.training.events import Evaluated
from metalab.training.trainer import train

SMALL = Transformer(layers=1, heads=2, filters=4)
IMAGES = (1, 16, 16)


def _theta(seed=0):
    return SMALL.init(IMAGES, 3, torch.Generator().manual_seed(seed), torch.float64)


def test_what_all_embeddings_share_does_not_count():
    rng = torch.Generator().manual_seed(1)
    theta = _theta()
    x = torch.rand(2, 3, *IMAGES, generator=rng, dtype=torch.float64)
    y = torch.eye(3, dtype=torch.float64).expand(2, 3, 3)
    shifted = theta | {"embed2.bias": theta["embed2.bias"] + 7}
    found = SMALL.answer(theta, SMALL.read(theta, x, y), x)
    torch.testing.assert_close(SMALL.answer(shifted, SMALL.read(shifted, x, y), x), found)


def test_without_examples_it_answers_too():
    theta = _theta()
    x = torch.rand(2, 3, *IMAGES, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    known = SMALL.read(theta, x[:, :0], torch.zeros(2, 0, 3, dtype=torch.float64))
    assert SMALL.answer(theta, known, x).isfinite().all()


def test_at_first_a_query_attends_to_the_image_that_is_like_it():
    theta = _theta()
    weight = theta["attend1.weight"]
    d = SMALL.width
    torch.testing.assert_close(weight[:, :d], weight[:, d : 2 * d])


def test_it_learns_to_read_characters_in_seconds():
    """Five characters, one example of each: after 100 small outer steps far above chance, 0.2, on held-out ones."""
    config = parse_config(
        {
            "family": {"name": "glyphs", "queries": 3},
            "model": {"name": "transformer", "filters": 8, "layers": 1},
            "algorithm": "in_context",
            "meta_batch_size": 8,
            "outer_lr": 0.003,
            "outer_steps": 100,
            "evaluate_every": 100,
            "evaluation_tasks": 40,
        }
    )
    seen = [event for event in train(config, threads=1) if isinstance(event, Evaluated)]
    accuracy = seen[-1].curves["accuracy"][:, -1].double()
    assert float(accuracy.mean() - 1.96 * accuracy.std() / len(accuracy) ** 0.5) > 0.5
