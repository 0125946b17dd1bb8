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
            found["loss"].append(float(task_loss(prediction, y).mean()))
{accuracy}    return found
'''
ACCURACY = '            found["accuracy"].append(float((prediction.argmax(-1) == y).double().mean()))\n'

TRAIN = '''
def train(steps=OUTER_STEPS, say=print):
    """`steps` outer steps: theta, the training loss of each step, and what `evaluate` found at each look."""
    theta = init(torch.Generator().manual_seed(SEED))
    rng, held_out = stream("train"), sample_tasks(EVALUATION_TASKS, "validation", stream("validation"))
    optimiser = torch.optim.{optimiser}(list(theta.values()), lr=OUTER_LR, fused=True)
    losses, looks = [], {{}}
    for step in range(steps + 1):
{changes}        if step % EVALUATE_EVERY == 0 or step == OUTER_STEPS:
            looks[step] = evaluate(theta, held_out)
            say(told(step, losses, looks[step]))
        if step == steps:
            break
{gradient}{clip}        for name, value in theta.items():
            value.grad = gradient[name]
        optimiser.param_groups[0]["lr"] = OUTER_LR{schedule}
        optimiser.step()
        losses.append(float(loss))
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
ONE_GRADIENT = '        gradient, loss = meta_gradient(theta, sample_tasks(META_BATCH_SIZE, "train", rng){done})\n'
ACCUMULATED = """\
        parts = [meta_gradient(theta, sample_tasks(META_BATCH_SIZE, "train", rng){done}) for _ in range(ACCUMULATE)]
        gradient = {{name: sum(part[name] for part, _loss in parts) / ACCUMULATE for name in theta}}
        loss = sum(part_loss for _part, part_loss in parts) / ACCUMULATE
"""
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
