"""The script's outer loop: text that evaluates and steps as `metalab.training` does."""

STREAM = '''
def stream(split):
    """The random stream of a split's tasks."""
    return torch.Generator().manual_seed(SEED * 3 + {"train": 1, "validation": 2, "test": 3}[split] + 2**40)
'''

EVALUATE = '''
def evaluate(theta, batch):
    """Means over held-out tasks of what the query set shows after {axis}."""
    support, (x, y) = batch[:2]
{start}    found = {{{found}}}
    for phi in {path}:
        with torch.no_grad():
            prediction = {predict}(phi, x)
            found["loss"].append(float(task_loss(prediction, y).double().mean()))
{figures}    return found
'''
FIGURES = {
    "loss": "",
    "accuracy": '            found["accuracy"].append(float((prediction.argmax(-1) == y).double().mean()))\n',
    "perplexity": '            found["perplexity"].append(float(task_loss(prediction, y).exp().double().mean()))\n',
    "return": '            found["return"].append(-found["loss"][-1])\n',
    "negative_log_likelihood": "            surprised = surprise(*distribution(phi, x), y)\n"
    '            found["negative_log_likelihood"].append(float(surprised.double().mean()))\n',
}
"""What else is known of a prediction, by name."""

TRAIN = '''
def train(steps=OUTER_STEPS, say=print):
    """`steps` outer steps: theta, the training loss of each step, and what `evaluate` found at each look."""
    theta = init(torch.Generator().manual_seed(SEED))
    rng, held_out = stream("train"), sample_tasks(EVALUATION_TASKS, "validation", stream("validation"))
{away}{optimiser}    losses, looks = [], {{}}
    for step in range(steps + 1):
{changes}        if step % EVALUATE_EVERY == 0 or step == OUTER_STEPS:
            looks[step] = evaluate(theta, held_out)
{looked_away}            say(told(step, losses, looks[step]))
        if step == steps:
            break
{gradient}{clip}{step}        losses.append(float(loss))
    return theta, losses, looks


def told(step, losses, look):
    """A look at the held-out tasks in one line."""
    trained = f"training loss {{losses[-1]:.4f}}, " if losses else ""
    before, after = (f"{{look[{metric!r}][k]:{form}}}" for k in (0, -1))
    return f"outer step {{step:6,}}: {{trained}}held-out {metric} {{before}} -> {{after}}"


if __name__ == "__main__":
{threads}    theta, _losses, _looks = train()
    torch.save(theta, "theta.pt")
    print("theta is in theta.pt")
'''
ONE_THREAD = "    torch.set_num_threads(1)  # so small a network is faster on one\n"
NO_TRAIN = """
if __name__ == "__main__":
{threads}    theta = init(torch.Generator().manual_seed(SEED))  # nothing is meta-trained: theta stays as it was drawn
    look = evaluate(theta, sample_tasks(EVALUATION_TASKS, "validation", stream("validation")))
    print(look)
"""
CHANGES = "        globals().update(CHANGES.get(step, {}))\n"
AWAY = '    away = sample_tasks(EVALUATION_TASKS, "test", stream("test"))\n'
LOOKED_AWAY = """\
            looks[step] |= {f"{name}_away": values for name, values in evaluate(theta, away).items()}
"""
OPTIMISER = "    optimiser = torch.optim.{kind}(list(theta.values()), lr=OUTER_LR, fused=True)\n"
STEP = """\
        for name, value in theta.items():
            value.grad = gradient[name]
        optimiser.param_groups[0]["lr"] = OUTER_LR{schedule}
        optimiser.step()
"""
ONE_GRADIENT = '        gradient, loss = meta_gradient(theta, sample_tasks(META_BATCH_SIZE, "train", rng){done})\n'
ACCUMULATED = """\
        parts = [meta_gradient(theta, sample_tasks(META_BATCH_SIZE, "train", rng){done}) for _ in range(ACCUMULATE)]
        gradient = {{name: sum(part[name] for part, _loss in parts) / ACCUMULATE for name in theta}}
        loss = sum(part_loss for _part, part_loss in parts) / ACCUMULATE
"""
FISHER = "    fisher = {name: torch.zeros_like(value) for name, value in theta.items()}\n"
NATURAL = """\
        lr = OUTER_LR{schedule}
        natural_step(theta, gradient, squares, fisher, step, lr)
"""
NATURAL_STEP = '''
def natural_step(theta, gradient, squares, fisher, step, lr):
    """theta <- theta - lr * gradient / (F + FISHER_DAMPING): the more the tasks' gradients vary, the shorter.

    F, the diagonal of the empirical Fisher matrix, is the running mean of the tasks' squared gradients, without the
    zeros that it began with.
    """
    begun = 1 - FISHER_DECAY ** (step + 1)
    for name, value in theta.items():
        fisher[name].mul_(FISHER_DECAY).add_(squares[name], alpha=1 - FISHER_DECAY)
        value.addcdiv_(gradient[name], fisher[name] / begun + FISHER_DAMPING, value=-lr)
'''
SQUARES_OF_TASKS = '''
def with_squares(theta, batch{done}):
    """The tasks' mean meta-gradient, the mean of its squares, and the loss."""
    each, loss = meta_gradient(theta, batch{done})
    mean = {{name: g.mean(0) for name, g in each.items()}}
    return mean, {{name: g.square().mean(0) for name, g in each.items()}}, loss
'''
SQUARES_ONE_BY_ONE = '''
def with_squares(theta, batch{done}):
    """The meta-gradient, the mean square of the tasks' own, one task after another, and the loss."""
    gradient, loss = meta_gradient(theta, batch{done})
    each = [meta_gradient(theta, tasks_of(batch, i, i + 1){done})[0] for i in range(len(batch[0][0]))]
    squares = {{name: torch.stack([g[name] for g in each]).square().mean(0) for name in theta}}
    return gradient, squares, loss
'''
ONE_WITH_SQUARES = """\
        batch = sample_tasks(META_BATCH_SIZE, "train", rng)
        gradient, squares, loss = with_squares(theta, batch{done})
"""
ACCUMULATED_WITH_SQUARES = """\
        batches = (sample_tasks(META_BATCH_SIZE, "train", rng) for _ in range(ACCUMULATE))
        parts = [with_squares(theta, batch{done}) for batch in batches]
        gradient = {{name: sum(part[0][name] for part in parts) / ACCUMULATE for name in theta}}
        squares = {{name: sum(part[1][name] for part in parts) / ACCUMULATE for name in theta}}
        loss = sum(part[2] for part in parts) / ACCUMULATE
"""
GRADIENT = {
    (False, False): ONE_GRADIENT,
    (False, True): ACCUMULATED,
    (True, False): ONE_WITH_SQUARES,
    (True, True): ACCUMULATED_WITH_SQUARES,
}
"""By whether the step is a natural-gradient one, and whether meta-batches are accumulated."""
CLIP = """\
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradient.values()]))
        shrink = (CLIP_NORM / (norm + 1e-12)).clamp(max=1.0)
        gradient = {name: g * shrink for name, g in gradient.items()}
"""
SCHEDULES = {
    "constant": "",
    "linear": " * (1 - step / OUTER_STEPS)",
    "cosine": " * (0.5 * (1 + math.cos(math.pi * (step / OUTER_STEPS))))",
}
