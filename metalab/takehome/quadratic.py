"""The script's quadratic bowls, and the point that is moved on them: text of `metalab.tasks.quadratic`."""

TURNED = '''
def curvatures(n_tasks, rng):
    """Symmetric matrices (n_tasks, DIMENSION, DIMENSION), their axes evenly over all directions."""
    spectrum = between(CURVATURE, torch.rand(n_tasks, DIMENSION, generator=rng))
    q, r = torch.linalg.qr(torch.randn(n_tasks, DIMENSION, DIMENSION, generator=rng))
    q = q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None]  # without it some directions come more often
    matrix = q * spectrum[:, None] @ q.mT
    return (matrix + matrix.mT) / 2
'''
STRAIGHT = '''
def curvatures(n_tasks, rng):
    """Diagonal matrices (n_tasks, DIMENSION, DIMENSION)."""
    return torch.diag_embed(between(CURVATURE, torch.rand(n_tasks, DIMENSION, generator=rng)))
'''
DRAWN = """\
    optimum = between(OPTIMUM, torch.rand(n_tasks, DIMENSION, generator=rng))
    curvature = curvatures(n_tasks, rng)"""
LISTED = """\
    # Those of the list in random order, none twice more often than another.
    spectra, optima = (torch.tensor(listed).view(-1, DIMENSION) for listed in (CURVATURES, OPTIMA))
    rounds = -(-n_tasks // len(spectra))
    chosen = torch.cat([torch.randperm(len(spectra), generator=rng) for _ in range(rounds)])[:n_tasks]
    curvature, optimum = torch.diag_embed(spectra[chosen]), optima[chosen]"""

SAMPLE = '''
def sample_tasks(n_tasks, split, rng):
    """Bowls: support and query sets (x, y), x without numbers, y each bowl's curvature and optimum."""
{tasks}
    query_curvature = {query_curvature}
    query_optimum = scattered(optimum[:, None], QUERY_SHIFT, 1, rng)[:, 0]
    support = examples(curvature, scattered(optimum[:, None], NOISE, SHOTS, rng))
    return support, examples(query_curvature, scattered(query_optimum[:, None], NOISE, QUERIES, rng))


def scattered(centre, deviation, n, rng):
    """n points about each centre (n_tasks, 1, DIMENSION): (n_tasks, n, DIMENSION)."""
    around = centre.expand(-1, n, -1)
    return around + deviation * torch.randn(around.shape, generator=rng) if deviation > 0 else around


def examples(curvature, optimum):
    """Bowls of curvature (n_tasks, DIMENSION, DIMENSION) about optimum (n_tasks, n, DIMENSION), as (x, y)."""
    y = torch.cat([curvature.flatten(1)[:, None].expand(-1, optimum.shape[1], -1), optimum], -1)
    return y.new_zeros(*y.shape[:2], 0), y
'''
LOSS = '''
def task_loss(prediction, y):
    """Mean over examples of 1/2 (prediction - c)^T A (prediction - c), (n_tasks,)."""
    curvature, optimum = y.split([DIMENSION * DIMENSION, DIMENSION], -1)
    offset = prediction - optimum
    bent = (curvature.unflatten(-1, (DIMENSION, DIMENSION)) @ offset[..., None])[..., 0]
    return 0.5 * (offset * bent).sum(-1).mean(1)
'''

POINT = '''
def init_network(rng):
    """Where the point starts: a head without inputs, whose bias is all there is."""
    start = SPREAD * torch.randn(DIMENSION, generator=rng, dtype=torch.float64)
    return {"head.weight": torch.zeros(0, DIMENSION), "head.bias": start.float()}


def features(params, x):
    """Nothing: x (n_tasks, n, 0)."""
    return x
'''
