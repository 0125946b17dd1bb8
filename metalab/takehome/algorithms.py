"""The script's algorithm: text with the same inner loop and meta-gradient as the one in `metalab.algorithms`."""

TASK_AXIS = '''
def with_task_axis(theta, n_tasks):
    """theta once for each task: views (n_tasks, ...)."""
    return {name: value.expand(n_tasks, *value.shape) for name, value in theta.items()}
'''

INNER_LOOP = '''
def inner_loop(phi, support, steps{train_argument}):
    """Yield phi_0 .. phi_steps: {rule}

    phi has a leading task axis. Tasks do not touch each other, so the gradient of the summed losses holds every task's
    own.{train_note}
    """
{begin}    for {k} in range(steps):
        yield phi
{examples}{detach}        names = {names}
        losses = task_loss(predict(phi, x), y){record}
        found = torch.autograd.grad(losses.sum(), [phi[name] for name in names]{create})
{direction}        phi = phi | {{name: phi[name] - {rate} * g for name, g in zip(names, {follow})}}
    yield phi
'''
PLAIN_RULE = "each step descends the support loss, phi <- phi - INNER_LR * grad L_support(phi)."
ADAM_RULE = "each step descends the support loss with Adam (beta1 = 0, beta2 = 0.999)."
META_SGD_RULE = "each step descends the support loss, every parameter at a learned rate of its own."
TRAIN_ARGUMENT = ", train=False"
TRAIN_NOTES = {
    2: "\n    With `train` an outer loss can be differentiated through the steps: second order.",
    1: "\n    With `train` an outer loss can be differentiated, with the inner gradients as constants: first order.",
}
DETACH_UNLESS_TRAIN = """\
        if not train:
            phi = {name: value.detach().requires_grad_() for name, value in phi.items()}
"""
DETACH = "        phi = {name: value.detach().requires_grad_() for name, value in phi.items()}\n"
WHOLE_SET = "    x, y = support\n"
MINIBATCH = "        x, y = minibatch(support, k)\n"
ALL_NAMES = "list(phi)"
HEAD_NAMES = '[name for name in phi if name.startswith("head.")]  # the body stays as it is'
BODY_NAMES = '[name for name in phi if not name.startswith("head.")]  # the head stays as it is'
NETWORK_NAMES = '[name for name in phi if not name.startswith("rates.")]'

ADAM_DIRECTION = """\
        # Adam with beta1 = 0, starting afresh for each task.
        seconds = [0.999 * s + (1 - 0.999) * g.square() for s, g in zip(seconds or map(torch.zeros_like, found), found)]
        directions = [g / ((s / (1 - 0.999 ** (k + 1))).sqrt() + 1e-8) for g, s in zip(found, seconds)]
"""

MINIBATCHES = '''
def minibatch(support, k):
    """INNER_BATCH examples for inner step k: each epoch runs through a shuffle in which the classes take turns."""
    x, y = support
    n = x.shape[1]
    if n <= INNER_BATCH:
        return x, y
    per_epoch = n // INNER_BATCH
    shuffle = torch.randperm(n, generator=torch.Generator().manual_seed(k // per_epoch))
    start = (k % per_epoch) * INNER_BATCH
{chosen}
'''
MINIBATCH_REGRESSION = """\
    chosen = shuffle[start : start + INNER_BATCH]
    return x[:, chosen], y[:, chosen]"""
MINIBATCH_CLASSIFICATION = """\
    shuffled = y[:, shuffle]
    occurrence = (shuffled[:, :, None] == shuffled[:, None, :]).tril(-1).sum(2)
    chosen = shuffle[occurrence.argsort(dim=1, stable=True)][:, start : start + INNER_BATCH]
    tasks = torch.arange(len(chosen))[:, None]
    return x[tasks, chosen], y[tasks, chosen]"""

UNROLLED = '''
def meta_gradient(theta, batch):
    """Mean over tasks of the gradient of the query loss after adaptation, and that loss."""
    support, (x, y) = batch[:2]
    own = {name: value.detach().requires_grad_() for name, value in with_task_axis(theta, len(x)).items()}
    for phi in inner_loop(own, support, INNER_STEPS, train=True):
        pass
    losses = task_loss(predict(phi, x), y)
    found = torch.autograd.grad(losses.sum(), list(own.values()))
    return {name: g.mean(0) for name, g in zip(own, found)}, losses.detach().mean()
'''

REPTILE = '''
def meta_gradient(theta, batch):
    """Mean over tasks of theta - phi_K, on support and query examples together, and the mean of the inner losses."""
    support, query = batch[:2]
    examples_of_all = tuple(torch.cat(parts, 1) for parts in zip(support, query))
    seen = []
    for phi in inner_loop(with_task_axis(theta, len(support[0])), examples_of_all, INNER_STEPS, seen):
        pass
    direction = {name: (value - phi[name].detach()).mean(0) for name, value in theta.items()}
    return direction, torch.stack(seen).mean()
'''
RECORD_ARGUMENT = ", seen=None"
RECORD_NOTE = "\n    `seen` receives the mean loss before each step."
RECORD = "\n        if seen is not None:\n            seen.append(losses.detach().mean())"

JOINT_REGRESSION = '''
def meta_gradient(theta, batch):
    """Gradient of the mean loss on all examples of all tasks, as if they were one task, and that loss."""
    support, query = batch[:2]
    x, y = (torch.cat(parts, 1) for parts in zip(support, query))
    theta = {name: value.detach().requires_grad_() for name, value in theta.items()}
    loss = task_loss(predict(with_task_axis(theta, len(x)), x), y).mean()
    return dict(zip(theta, torch.autograd.grad(loss, list(theta.values())))), loss.detach()
'''
JOINT_CLASSIFICATION = '''
def meta_gradient(theta, batch):
    """Gradient of the loss on all examples of all tasks, told apart as classes of one wide head, and that loss."""
    support, query, classes = batch
    x, y = (torch.cat(parts, 1) for parts in zip(support, query))
    theta = {name: value.detach().requires_grad_() for name, value in theta.items()}
    shared = with_task_axis(theta, 1)
    prediction = linear(shared, "joint", features(shared, x.flatten(0, 1)[None]))
    loss = F.cross_entropy(prediction[0], classes.gather(1, y).flatten())
    found = torch.autograd.grad(loss, list(theta.values()), allow_unused=True)
    return {name: torch.zeros_like(theta[name]) if g is None else g for name, g in zip(theta, found)}, loss.detach()
'''

JOINT_IN_PARTS = '''
def meta_gradient(theta, batch):
    """The mean of `part_gradient` over parts of at most four tasks: batch normalisation sees one part at a time."""
    n = len(batch[2])
    n_parts = max(-(-n // 4), min(n, 2))
    cuts = [i * n // n_parts for i in range(n_parts + 1)]
    mean, mean_loss = {name: torch.zeros_like(value) for name, value in theta.items()}, 0.0
    for first, last in zip(cuts, cuts[1:]):
        support, query, classes = batch
        part = tuple(p[first:last] for p in support), tuple(p[first:last] for p in query), classes[first:last]
        gradient, loss = part_gradient(theta, part)
        mean = {name: value + gradient[name] * ((last - first) / n) for name, value in mean.items()}
        mean_loss += loss * ((last - first) / n)
    return mean, mean_loss
'''

INIT = '''
def init(rng):
    """theta before the first outer step."""
{body}
'''
INIT_PLAIN = "    return init_network(rng)"
INIT_JOINT = """\
    theta = init_network(rng)
    width = theta["head.weight"].shape[0]
    return theta | init_linear("joint", width, len(IMAGES["train"]), rng)  # a wide head for all training classes"""
INIT_META_SGD = """\
    theta = init_network(rng)
    return theta | {f"rates.{name}": torch.full_like(value, INNER_LR) for name, value in theta.items()}"""

START_JOINT = """\
    # A new task leaves the wide head behind.
    theta = {name: value for name, value in theta.items() if not name.startswith("joint.")}
"""
