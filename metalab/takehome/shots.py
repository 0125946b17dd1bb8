"""The script's algorithms that read the support set at once: text of `metalab.algorithms.shot_based` and its heirs."""

FIRST_SHOTS = '''
def first_shots(support, k):
    """The first k examples of every class."""
    return tuple(part.unflatten(1, (WAYS, SHOTS))[:, :, :k].flatten(1, 2) for part in support)
'''

PROTOTYPES = '''
def read(body, support):
    """The body, and the linear head that the classes' mean features are: of {head}"""
    x, y = support
    member = F.one_hot(y, WAYS).float()
    centre = torch.bmm(member.mT, {features}(body, x)) / member.sum(1)[..., None]
    weight, bias = {weight}, {bias}
    return body | {{"head.weight": weight.mT, "head.bias": bias}}


def adapt(theta, support):
    """Yield what is known after 0 .. SHOTS examples of every class. After none, all classes are equally likely."""
    body = with_task_axis(theta, len(support[0]))
    one = read(body, first_shots(support, 1))
    yield one | {{name: torch.zeros_like(one[name]) for name in ("head.weight", "head.bias")}}
    for k in range(1, SHOTS + 1):
        yield read(body, first_shots(support, k))


def meta_gradient(theta, batch):
    """{of_tasks} the gradient of the query loss with the support set's prototypes, and that loss."""
    support, (x, y) = batch[:2]
    own = {{name: value.detach().requires_grad_() for name, value in with_task_axis(theta, len(x)).items()}}
    losses = task_loss(predict(read(own, support), x), y)
    found = torch.autograd.grad(losses.sum(), list(own.values()))
    return {zipped}own, found{end}, losses.detach().mean()
'''
EUCLIDEAN = {
    "head": "squared distances -|f - c|^2.",
    "features": "features",
    "weight": "2 * centre",
    "bias": "-centre.square().sum(-1)",
}
COSINE = {
    "head": "10 times the cosine of the angle.",
    "features": "unit_features",
    "weight": "10.0 * F.normalize(centre, dim=-1)",
    "bias": "centre.new_zeros(centre.shape[:2])",
}
UNIT_FEATURES = '''
def unit_features(params, x):
    """Features of length one."""
    return F.normalize(features(params, x), dim=-1)
'''
PREDICT_BY_COSINE = '''
def predict(params, x):
    """Predictions (n_tasks, n, WAYS): the cosines between features and prototypes, times 10."""
    return linear(params, "head", unit_features(params, x))
'''

KEEPING = '''
def adapt(theta, support):
    """Yield what is known after 0 .. SHOTS examples of every class: their {kept}, and labels."""
    phi = with_task_axis(theta, len(support[0]))
    for k in range(SHOTS + 1):
        x, y = first_shots(support, k)
        found = {features}(phi, x) if k else torch.zeros(len(x), 0, 1)
        yield phi | {{"seen": found, "labels": F.one_hot(y, WAYS).float()}}
'''
AT_LENGTH_ONE = {"kept": "features, at length one", "features": "unit_features"}
AS_THEY_ARE = {"kept": "features", "features": "features"}
VOTE = '''
def vote(phi, x):
    """Log-probabilities: each example seen votes for its class, by the softmax of its cosine to x."""
    if phi["seen"].shape[1] == 0:
        return torch.zeros(*x.shape[:2], WAYS)
    cosine = unit_features(phi, x) @ phi["seen"].mT
    return (cosine.exp() @ phi["labels"] + 1e-12).log()
'''
NEAREST = '''
def nearest(phi, x):
    """Scores: of a class minus the squared distance to the nearest of its examples, so that the nearest of all wins."""
    if phi["seen"].shape[1] == 0:
        return torch.zeros(*x.shape[:2], WAYS)
    distance = torch.cdist(features(phi, x), phi["seen"], compute_mode="donot_use_mm_for_euclid_dist").square()
    others = phi["labels"][:, None] == 0
    return -distance[..., None].masked_fill(others, torch.inf).amin(2)
'''

FIRST_POINTS = '''
def first_shots(support, k):
    """The first k examples of every task."""
    return tuple(part[:, :k].contiguous() for part in support)
'''
READING = '''
def adapt(theta, support):
    """Yield theta with what is known after 0 .. SHOTS examples{of_class}: no weight changes."""
{undecided}    for k in range(SHOTS + 1):
        yield theta | {known}


def meta_gradient(theta, batch{done}):
    """Gradient of the mean {loss} after reading {practised}, and the loss."""
    support, (x, y) = batch[:2]
    theta = {{name: value.detach().requires_grad_() for name, value in theta.items()}}
    phi = theta | read(theta, first_shots(support, {k}))
{descended}
    found = torch.autograd.grad(descended, list(theta.values()), materialize_grads=True)
    return dict(zip(theta, found)), losses.detach().mean()
'''
READ_POINTS = {"of_class": "", "undecided": "", "known": "read(theta, first_shots(support, k))"}
READ_CLASSES = {
    "of_class": " of every class",
    "undecided": "    # After none, all classes are equally likely.\n",
    "known": "(read(theta, first_shots(support, k)) if k else {})",
}
ALL_SHOTS = {"done": "", "practised": "all shots", "k": "SHOTS"}
VARIED_POINTS = {"done": ", done", "practised": "SHOTS .. 0 shots in turn", "k": "SHOTS - done % (SHOTS + 1)"}
VARIED_CLASSES = {"done": ", done", "practised": "SHOTS .. 1 shots in turn", "k": "SHOTS - done % SHOTS"}
QUERY_LOSS = {
    "loss": "query loss",
    "descended": "    losses = task_loss(predict(phi, x), y)\n    descended = losses.mean()",
}
QUERY_SURPRISE = {
    "loss": "-log N(y; mean, spread^2)",
    "descended": "    mean, spread = distribution(phi, x)\n"
    "    losses, descended = task_loss(mean, y), surprise(mean, spread, y).mean()",
}
SURPRISE = '''
def surprise(mean, spread, y):
    """-log N(y; mean, spread^2) of each task, in nats: a sum over the entries of y, a mean over queries; (n_tasks,)."""
    each = 0.5 * ((y - mean) / spread).square() + spread.log() + 0.5 * math.log(2 * math.pi)
    return each.sum(-1).mean(-1)
'''
