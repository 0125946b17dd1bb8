"""The script's joint training: text that learns all tasks as one, or side by side, as in `metalab.algorithms.joint`."""

JOINT_REGRESSION = '''
def meta_gradient(theta, batch):
    """Gradient of the mean loss on all examples of all tasks, as if they were one task, and that loss."""
    support, query = batch[:2]
    x, y = (torch.cat(parts, 1) for parts in zip(support, query))
    theta = {{name: value.detach().requires_grad_() for name, value in theta.items()}}
    loss = task_loss(predict(with_task_axis(theta, len(x)), x), y).mean()
    return dict(zip(theta, torch.autograd.grad(loss, list(theta.values()){unused}))), loss.detach()
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
    found = torch.autograd.grad(loss, list(theta.values()), materialize_grads=True)
    return dict(zip(theta, found)), loss.detach()
'''

TRAINING_TASKS = '''
def training_tasks():
    """TRAINING_TASKS tasks, each with fixed examples (x, y): what others draw anew is here to be learned by heart."""
    support, query = sample_tasks(TRAINING_TASKS, "train", torch.Generator().manual_seed(0))
    return tuple(torch.cat(parts, 1) for parts in zip(support, query))


POOL = training_tasks()
'''
SIDE_BY_SIDE = '''
def meta_gradient(theta, batch):
    """Gradient of the tasks' mean loss, with one body for all and a head for each, and that loss."""
    theta = {{name: value.detach().requires_grad_() for name, value in theta.items()}}
    weight, bias = theta["joint.weight"], theta["joint.bias"]
{tasks}
    found = features(with_task_axis(theta, 1), x.flatten(0, 1)[None])[0].unflatten(0, x.shape[:2])
    loss = task_loss(linear(heads, "joint", found), y).mean()
    found = torch.autograd.grad(loss, list(theta.values()), materialize_grads=True)
    return dict(zip(theta, found)), loss.detach()
'''
SIDE_BY_SIDE_REGRESSION = """\
    # Of the meta-batch only the last bits of its first inputs count: they draw among the training tasks.
    chosen = batch[0][0].flatten(1)[:, 0].contiguous().view(torch.int32) % TRAINING_TASKS
    x, y = (part[chosen] for part in POOL)
    heads = {"joint.weight": weight[chosen], "joint.bias": bias[chosen]}"""
SIDE_BY_SIDE_CLASSIFICATION = """\
    support, query, classes = batch
    x, y = (torch.cat(parts, 1) for parts in zip(support, query))
    heads = {"joint.weight": weight[:, classes].permute(1, 0, 2), "joint.bias": bias[classes]}"""

IN_PARTS = '''
def meta_gradient(theta, batch):
    """The mean of `part_gradient` over parts of {told}: batch normalisation sees one part at a time."""
    n = len(batch[2])
    n_parts = max(-(-n // {at_once}), min(n, 2))
    cuts = [i * n // n_parts for i in range(n_parts + 1)]
    mean, mean_loss = {{name: torch.zeros_like(value) for name, value in theta.items()}}, 0.0
    for first, last in zip(cuts, cuts[1:]):
        gradient, loss = part_gradient(theta, tasks_of(batch, first, last))
        mean = {{name: value + gradient[name] * ((last - first) / n) for name, value in mean.items()}}
        mean_loss += loss * ((last - first) / n)
    return mean, mean_loss
'''
TASKS_OF = '''
def tasks_of(batch, first, last):
    """The tasks from `first` to before `last` of a meta-batch."""
    support, query, *more = batch
    return tuple(p[first:last] for p in support), tuple(p[first:last] for p in query), *(p[first:last] for p in more)
'''

RIDGE = '''
def adapt(theta, support):
    """Yield phi_0 .. phi_INNER_STEPS_EVAL: from the first step on with the head that ridge regression gives at once.

    Least (1/n) sum |w f(x) + b - y|^2 + RIDGE |w|^2, b free; in double precision.
    """
    x, y = support
    phi = with_task_axis(theta, len(x))
    yield phi
    f, y = features(phi, x).double(), {targets}.double()
    mean_f, mean_y = f.mean(1, keepdim=True), y.mean(1, keepdim=True)
    f, y = f - mean_f, y - mean_y
    n = f.shape[1]
    weight = f.mT @ torch.linalg.solve(f @ f.mT + n * RIDGE * torch.eye(n, dtype=f.dtype), y)
    bias = (mean_y - mean_f @ weight)[:, 0]
    for _ in range(INNER_STEPS_EVAL):
        yield phi | {{"head.weight": weight.float(), "head.bias": bias.float()}}
'''
RIDGE_CLASSES, RIDGE_VALUES = "F.one_hot(y, WAYS)", "y"

INIT_JOINT = """\
    theta = init_network(rng)
    width = theta["head.weight"].shape[0]
    # A wide head for all training classes.
    return theta | init_linear("joint", width, {n_classes}, rng)"""
INIT_HEADS = """\
    theta = init_network(rng)
    fan_in, fan_out = theta["head.weight"].shape
    heads = [init_linear("joint", fan_in, fan_out, rng) for _ in range(TRAINING_TASKS)]
    return theta | {name: torch.stack([head[name] for head in heads]) for name in heads[0]}"""
START_JOINT = """\
    # A new task leaves the wide head behind.
    theta = {name: value for name, value in theta.items() if not name.startswith("joint.")}
"""
START_WIDE = """\
    # Label k is class k in every task: a new task starts from the wide head.
    wide = {f"head.{part}": theta[f"joint.{part}"] for part in ("weight", "bias")}
    theta = {name: value for name, value in theta.items() if not name.startswith("joint.")} | wide
"""
START_HEADS = """\
    # A new task starts from the mean of the training tasks' heads.
    mean = {f"head.{part}": theta[f"joint.{part}"].mean(0) for part in ("weight", "bias")}
    theta = {name: value for name, value in theta.items() if not name.startswith("joint.")} | mean
"""
