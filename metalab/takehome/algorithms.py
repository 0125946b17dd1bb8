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
        at = [phi[name] for name in names]
        found = torch.autograd.grad(losses.sum(), at{create})
{direction}        phi = phi | {{name: {descended} for name, g in zip(names, {follow})}}
    yield phi
'''
PLAIN_RULE = "each step descends the support loss, phi <- phi - INNER_LR * grad L_support(phi)."
ADAM_RULE = "each step descends the support loss with Adam (beta1 = 0, beta2 = 0.999)."
META_SGD_RULE = "each step descends the support loss, every parameter at a learned rate of its own."
TRAIN_ARGUMENT = ", train=False"
ANNEALED_ARGUMENT = ", train=False, exact=True"
MAML_PLUS_PLUS_RULE = "each step descends the support loss, every layer at a learned rate of that step."
PROXIMAL_RULE = """each step descends the support loss plus PROXIMAL / 2 |phi - theta|^2,
    phi <- phi - INNER_LR * (grad L_support(phi) + PROXIMAL * (phi - theta))."""
TRAIN_NOTES = {
    2: "\n    With `train` an outer loss can be differentiated through the steps: second order.",
    1: "\n    With `train` an outer loss can be differentiated, with the inner gradients as constants: first order.",
}
ANNEALED_NOTE = """
    With `train` an outer loss can be differentiated: through the steps if `exact`, else with the inner gradients as
    constants."""
DETACH_UNLESS_TRAIN = """\
        if not train:
            phi = {name: value.detach().requires_grad_() for name, value in phi.items()}
"""
DETACH = "        phi = {name: value.detach().requires_grad_() for name, value in phi.items()}\n"
WHOLE_SET = "    x, y = support\n"
MINIBATCH = "        x, y = minibatch({support}, k)\n"
FRESH = "        x, y = fresh(support, k)\n"
ALL_NAMES = "list(phi)"
HEAD_NAMES = '[name for name in phi if name.startswith("head.")]  # the body stays as it is'
BODY_NAMES = '[name for name in phi if not name.startswith("head.")]  # the head stays as it is'
NETWORK_NAMES = '[name for name in phi if not name.startswith("rates.")]'

ADAM_DIRECTION = """\
        # Adam with beta1 = 0, starting afresh for each task.
        seconds = [0.999 * s + (1 - 0.999) * g.square() for s, g in zip(seconds or map(torch.zeros_like, found), found)]
        directions = [g / ((s / (1 - 0.999 ** (k + 1))).sqrt() + 1e-8) for g, s in zip(found, seconds)]
"""

FROM_THETA = "    first = phi\n"
PROXIMAL_DIRECTION = """\
        directions = [g + PROXIMAL * (phi[name] - first[name]) for name, g in zip(names, found)]
"""

RATE_OF_STEP = '''
def rate(phi, name, k):
    """The learned rate of an entry's layer at inner step k, one for each task; later steps take its last."""
    learned = phi["rates." + (name.rpartition(".")[0] or name)]
    return (INNER_LR * learned[:, min(k, learned.shape[1] - 1)]).view(-1, *[1] * (phi[name].dim() - 1))
'''

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

MEAN_OF_TASKS = {
    "of_tasks": "Mean over tasks of",
    "mean": ".mean(0)",
    "zipped": "{name: g.mean(0) for name, g in zip(",
    "end": ")}",
}
EACH_TASKS = {"of_tasks": "For every task", "mean": "", "zipped": "dict(zip(", "end": "))"}
"""Whether a meta-gradient is the tasks' mean, or keeps them apart."""
UNUSED = ", materialize_grads=True"

UNROLLED = '''
def meta_gradient(theta, batch):
    """{of_tasks} the gradient of the query loss after adaptation, and that loss."""
    support, (x, y) = batch[:2]
    own = {{name: value.detach().requires_grad_() for name, value in with_task_axis(theta, len(x)).items()}}
    for phi in inner_loop(own, support, INNER_STEPS, train=True):
        pass
    losses = task_loss(predict(phi, x), y)
    found = torch.autograd.grad(losses.sum(), list(own.values()){unused})
    return {zipped}own, found{end}, losses.detach().mean()
'''

IMPORTANCE_MOVES = '''
def importance(done):
    """Weights of the query losses after 0 .. INNER_STEPS inner steps: outer step by step they move to the last."""
    left = 1 - done / MULTI_STEP_UNTIL
    if left <= 0 or INNER_STEPS < 2:
        return [0.0] * INNER_STEPS + [1.0]
    early = left / INNER_STEPS
    return [0.0] + [early] * (INNER_STEPS - 1) + [1 - early * (INNER_STEPS - 1)]
'''
IMPORTANCE_LAST = '''
def importance(_done):
    """Weights of the query losses after 0 .. INNER_STEPS inner steps: the last one alone counts."""
    return [0.0] * INNER_STEPS + [1.0]
'''
WEIGHTED = '''
def meta_gradient(theta, batch, done):
    """{of_tasks} the gradient of the weighted query losses, and those; after `done` outer steps."""
    support, (x, y) = batch[:2]
    own = {{name: value.detach().requires_grad_() for name, value in with_task_axis(theta, len(x)).items()}}
    losses = []
    for weight, phi in zip(importance(done), inner_loop(own, support, INNER_STEPS, train=True{exact})):
        if weight:
            losses.append(weight * task_loss(predict(phi, x), y))
    total = sum(losses[1:], start=losses[0])
    found = torch.autograd.grad(total.sum(), list(own.values()), materialize_grads=True)
    return {zipped}own, found{end}, total.detach().mean()
'''
EXACT = ", exact=done >= FIRST_ORDER_UNTIL"

IMPLICIT = '''
def meta_gradient(theta, batch):
    """{of_tasks} {what} at phi_K, and the query loss there."""
    support, (x, y) = batch[:2]
    for phi in inner_loop(with_task_axis(theta, len(x)), support, INNER_STEPS):
        pass
    phi = {{name: value.detach().requires_grad_() for name, value in phi.items()}}
    losses = task_loss(predict(phi, x), y)
    slope = torch.autograd.grad(losses.sum(), list(phi.values()){unused})
    return {zipped}phi, {solved}{end}, losses.detach().mean()
'''
EXACTLY = {"what": "(I + H / (PROXIMAL + DAMPING))^-1 grad L_query", "solved": "solve(curvature(phi, support), slope)"}
FIRST_ORDER = {"what": "grad L_query (no conjugate-gradient steps)", "solved": "slope"}

CONJUGATE_GRADIENTS = '''
def curvature(phi, support):
    """vector -> (I + H / (PROXIMAL + DAMPING)) vector for each task, H the Hessian of the support loss at phi."""
    x, y = support
    at = list(phi.values())
    losses = task_loss(predict(phi, x), y)
    first = torch.autograd.grad(losses.sum(), at, create_graph=True, materialize_grads=True)

    def product(vector):
        along = torch.stack([(g * v).sum() for g, v in zip(first, vector)]).sum()
        bent = torch.autograd.grad(along, at, retain_graph=True, materialize_grads=True)
        return [v + h / (PROXIMAL + DAMPING) for v, h in zip(vector, bent)]

    return product


def solve(product, b):
    """x with product(x) = b by CG_STEPS conjugate-gradient steps from b; a task where the loss bends down stops."""
    x = b
    residual = plus(b, torch.tensor(-1.0), product(b))
    direction, square = residual, dot(residual, residual)
    least = torch.finfo(square.dtype).eps ** 2 * dot(b, b)
    going = torch.ones_like(square, dtype=torch.bool)
    for _ in range(CG_STEPS):
        image = product(direction)
        bend = dot(direction, image)
        going = going & (bend > 0.5 * dot(direction, direction)) & (square > least)
        length = torch.where(going, square / bend, 0.0)
        x = plus(x, length, direction)
        residual = plus(residual, -length, image)
        now = dot(residual, residual)
        direction = plus(residual, torch.where(going, now / square, 0.0), direction)
        square = now
    return x


def dot(one, other):
    """The inner product of each task."""
    return torch.stack([(a * b).flatten(1).sum(1) for a, b in zip(one, other)]).sum(0)


def plus(one, factor, other):
    """one + factor * other, with a factor for each task or one for all."""
    return [a + factor.view(-1, *[1] * (a.dim() - 1)) * b for a, b in zip(one, other)]
'''
REPTILE = '''
def meta_gradient(theta, batch):
    """{of_tasks} theta - phi_K, on support and query examples together, and the mean of the inner losses."""
    support, query = batch[:2]
    examples_of_all = tuple(torch.cat(parts, 1) for parts in zip(support, query))
    seen = []
    for phi in inner_loop(with_task_axis(theta, len(support[0])), examples_of_all, INNER_STEPS, seen):
        pass
    direction = {{name: (value - phi[name].detach()){mean} for name, value in theta.items()}}
    return direction, torch.stack(seen).mean()
'''
RECORD_ARGUMENT = ", seen=None"
RECORD_NOTE = "\n    `seen` receives the losses before each step."
RECORD = "\n        if seen is not None:\n            seen.append(losses.detach())"

INIT = '''
def init(rng):
    """theta before the first outer step."""
{body}
'''
INIT_PLAIN = "    return init_network(rng)"
INIT_BODY = """\
    return {name: value for name, value in init_network(rng).items() if not name.startswith("head.")}"""
INIT_MAML_PLUS_PLUS = """\
    theta = init_network(rng)
    layers = dict.fromkeys(name.rpartition(".")[0] or name for name in theta)
    return theta | {f"rates.{layer}": torch.ones(max(1, INNER_STEPS)) for layer in layers}"""
INIT_META_SGD = """\
    theta = init_network(rng)
    return theta | {f"rates.{name}": torch.full_like(value, INNER_LR) for name, value in theta.items()}"""
