"""The script's tasks: text that draws from the same generator, in the same order, as the family in `metalab.tasks`."""

BETWEEN = '''
def between(ends, share):
    """Shares in [0, 1) of the way from one end to the other."""
    return ends[0] + (ends[1] - ends[0]) * share
'''

SINUSOID = '''
def sample_tasks(n_tasks, split, rng):
    """Sine waves y = A sin({wx} - phase): support and query sets (x, y), each (tasks, points, 1). Splits are alike."""
{frequency}    u = torch.rand(n_tasks, SHOTS + QUERIES + 2, generator=rng)
    amplitude, phase = between(AMPLITUDE, u[:, 0]), between(PHASE, u[:, 1])
    x = between((-5.0, 5.0), u[:, 2:, None])
    y = amplitude[:, None, None] * torch.sin({wx} - phase[:, None, None])
{noise}    return (x[:, :SHOTS], y[:, :SHOTS]), (x[:, SHOTS:], y[:, SHOTS:])
'''
ONE_FREQUENCY = "    w = torch.full((n_tasks, 1, 1), FREQUENCY[0])\n"
MANY_FREQUENCIES = "    w = between(FREQUENCY, torch.rand(n_tasks, generator=rng))[:, None, None]\n"

LINEAR = '''
def sample_tasks(n_tasks, split, rng):
    """Straight lines y = w . x + b: support and query sets (x, y), (n_tasks, points, ...). All splits alike."""
    u = torch.rand(n_tasks, DIMENSION + 1 + (SHOTS + QUERIES) * DIMENSION, generator=rng)
    slope, intercept = between(SLOPE, u[:, :DIMENSION]), between(INTERCEPT, u[:, DIMENSION])
    x = between((-5.0, 5.0), u[:, DIMENSION + 1 :].unflatten(1, (SHOTS + QUERIES, DIMENSION)))
    y = x @ slope[..., None] + intercept[:, None, None]
{noise}    return (x[:, :SHOTS], y[:, :SHOTS]), (x[:, SHOTS:], y[:, SHOTS:])
'''
NOISE = "    y = y + NOISE * torch.randn(y.shape, generator=rng)\n"

MIXTURE = '''
# Of each kind of function what is drawn: amplitude, phase; slope, intercept; left, right, edge; all from low to high.
LOW = torch.tensor([[0.1, 0.0, 0.0], [-1.0, -1.0, 0.0], [-4.0, -4.0, -4.0]])
HIGH = torch.tensor([[5.0, math.pi, 0.0], [1.0, 1.0, 0.0], [4.0, 4.0, 4.0]])


def sample_tasks(n_tasks, split, rng):
    """Sine waves, lines and steps: support and query sets (x, y), each (tasks, points, 1). Splits are alike."""
    u = torch.rand(n_tasks, 4 + SHOTS + QUERIES, generator=rng)
    kind = torch.tensor(KINDS)[(u[:, 0] * len(KINDS)).long()]
    low, high = LOW[kind], HIGH[kind]
    first, second, third = (low + (high - low) * u[:, 1:4])[..., None, None].unbind(1)
    x = between((-5.0, 5.0), u[:, 4:, None])
    wave, line = first * torch.sin(x - second), first * x + second
    step = torch.where(x < third, first, second)
    kind = kind[:, None, None]
    y = torch.where(kind == 0, wave, torch.where(kind == 1, line, step))
{noise}    return (x[:, :SHOTS], y[:, :SHOTS]), (x[:, SHOTS:], y[:, SHOTS:])
'''

IMAGES = '''
def load_images():
    """Pictures (classes, drawers, 28, 28) of each split, ink 255 on 0, out of the file that lies beside this script."""
    images = torch.load(Path(__file__).with_name(DATA), weights_only=True)
{turned}    return images


def sample_tasks(n_tasks, split, rng):
    """WAYS random classes for each task: support and query sets (x, y), and the classes' numbers within the split."""
    images = IMAGES[split]
    classes = torch.rand(n_tasks, len(images), generator=rng).topk(WAYS).indices
    drawers = torch.rand(n_tasks, WAYS, images.shape[1], generator=rng).topk(SHOTS + QUERIES).indices
    rows = classes[..., None] * images.shape[1] + drawers
    return examples(images, rows[..., :SHOTS]), examples(images, rows[..., SHOTS:]), classes


def examples(images, rows):
    """x (n_tasks, WAYS * each, 1, 28, 28) in [0, 1] and labels y (n_tasks, WAYS * each), class after class."""
    n_tasks, ways, each = rows.shape
    x = images.flatten(0, 1)[rows.flatten()].float().div(255).view(n_tasks, ways * each, 1, 28, 28)
    return x, torch.arange(ways).repeat_interleave(each).repeat(n_tasks, 1)
'''
TURNED = """\
    # Each training character turned by 0, 90, 180 and 270 degrees: classes of their own.
    images["train"] = torch.cat([torch.rot90(images["train"], turns, (2, 3)) for turns in range(4)])
"""

NAMES = '''
def load_names():
    """Names as numbers of letters (names, 20), 0 behind the last; where each list of a split begins, and its length.

    They come out of the file that lies beside this script.
    """
    return torch.load(Path(__file__).with_name(DATA), weights_only=True)


NAMES = load_names()


def some_of(counts, n, rng):
    """n different places below each of counts (...): (..., n)."""
    u = torch.rand(*counts.shape, int(counts.max()), generator=rng)
    beyond = torch.arange(u.shape[-1]) >= counts[..., None]
    return u.masked_fill(beyond, 2.0).topk(n, largest=False).indices
'''
LANGUAGES = '''
def sample_tasks(n_tasks, split, rng):
    """WAYS random languages for each task: support and query sets (x, y), and their numbers within the split."""
    first, count = NAMES[split]["first"], NAMES[split]["count"]
    classes = torch.rand(n_tasks, len(first), generator=rng).argsort(1)[:, :WAYS]
    rows = first[classes][..., None] + some_of(count[classes], SHOTS + QUERIES, rng)
    return examples(rows[..., :SHOTS]), examples(rows[..., SHOTS:]), classes


def examples(rows):
    """Names x (n_tasks, WAYS * each, 20) and labels y (n_tasks, WAYS * each), language after language."""
    n_tasks, ways, each = rows.shape
    return NAMES["letters"][rows.flatten(1)].long(), torch.arange(ways).repeat_interleave(each).repeat(n_tasks, 1)
'''
WRITING = '''
def sample_tasks(n_tasks, split, rng):
    """One list of names for each task: support and query sets (x, y), what is read and the letters that follow."""
    first, count = NAMES[split]["first"], NAMES[split]["count"]
    lists = torch.randint(len(first), (n_tasks,), generator=rng)
    letters = NAMES["letters"][first[lists][:, None] + some_of(count[lists], SHOTS + QUERIES, rng)].long()
    boundary = torch.zeros_like(letters[..., :1])
    x, y = torch.cat([boundary, letters], -1), torch.cat([letters, boundary], -1)
    y = y.masked_fill((y == 0).cumsum(-1) > 1, -100)  # behind a name's end nothing counts
    return (x[:, :SHOTS], y[:, :SHOTS]), (x[:, SHOTS:], y[:, SHOTS:])


def task_loss(prediction, y):
    """Cross-entropy of each task in nats per letter, the end of a name counted as one; (n_tasks,)."""
    nats = F.cross_entropy(prediction.movedim(-1, 1), y, ignore_index=-100, reduction="none")
    return nats.sum((1, 2)) / (y != -100).sum((1, 2))
'''

REGRESSION_LOSS = '''
def task_loss(prediction, y):
    """Mean squared error of each task, (n_tasks,)."""
    return F.mse_loss(prediction, y, reduction="none").sum((1, 2)) / y.shape[1]
'''
CLASSIFICATION_LOSS = '''
def task_loss(prediction, y):
    """Cross-entropy of each task in nats, (n_tasks,)."""
    return F.cross_entropy(prediction.transpose(1, 2), y, reduction="none").mean(1)
'''
