"""The script's navigation: text that acts and follows the policy gradient as in `metalab.tasks.navigation`."""

TASKS = '''
def sample_tasks(n_tasks, split, rng):
    """Goals to find: support and query sets (x, y). Splits are alike.

    x (n_tasks, trajectories, HORIZON + 1, 2) holds the chance of each trajectory, normal numbers, and last its goal; y
    is the goal.
    """
    goal = (2 * torch.rand(n_tasks, 2, generator=rng) - 1) * 0.5
    noise = torch.randn(n_tasks, SHOTS + QUERIES, HORIZON, 2, generator=rng)
    goal = goal[:, None].expand(-1, SHOTS + QUERIES, -1)
    x = torch.cat([noise, goal[:, :, None]], 2)
    return (x[:, :SHOTS], goal[:, :SHOTS]), (x[:, SHOTS:], goal[:, SHOTS:])


def fresh(support, k):
    """Other trajectories for each inner step: the same numbers, dealt out in another order."""
    x, y = support
    if k == 0:
        return x, y
    noise, goal = x[:, :, :-1], x[:, :, -1:]
    order = torch.randperm(noise.shape[1] * HORIZON, generator=torch.Generator().manual_seed(k))
    noise = noise.flatten(1, 2)[:, order].unflatten(1, noise.shape[1:3])
    return torch.cat([noise, goal], 2), y
'''

POLICY = '''
def init_network(rng):
    """Fresh parameters of a Gaussian policy, without a task axis: Glorot's weights, biases of zero."""
    sizes, params = [2, *WIDTHS, 2], {{}}
    for i, layer in enumerate([*(f"layer{{i + 1}}" for i in range(len(WIDTHS))), "head"]):
        draw = torch.rand(sizes[i], sizes[i + 1], generator=rng, dtype=torch.float64)
        params[f"{{layer}}.weight"] = ((2 * draw - 1) * math.sqrt(6 / (sizes[i] + sizes[i + 1]))).float()
        params[f"{{layer}}.bias"] = torch.zeros(sizes[i + 1])
    return params | {{"head.log_std": torch.zeros(2)}}


def policy(params, at):
    """Mean and standard deviation of the action at each position (n_tasks, n, 2), in the same shape."""
    h = at / (0.5 / 3**0.5)
    for i in range(len(WIDTHS)):
        h = {activation}(linear(params, f"layer{{i + 1}}", h))
    mean = linear(params, "head", h)
    return mean, STD * params["head.log_std"][:, None].expand(mean.shape).clamp(-3.0, 1.5).exp()
'''

POLICY_OF_MLP = '''
def policy(params, at):
    """Mean and standard deviation of the action at each position (n_tasks, n, 2), in the same shape."""
    mean, log_std = linear(params, "head", features(params, at / (0.5 / 3**0.5))).chunk(2, -1)
    return mean, STD * log_std.clamp(-3.0, 1.5).exp()
'''

ACT = '''
@torch.no_grad()
def walk(params, noise, goal):
    """Act: actions and positions (n_tasks, n, HORIZON, 2), rewards, and 1 while it goes on, (n_tasks, n, HORIZON)."""
    at, going = torch.zeros_like(goal), torch.ones_like(goal[..., 0])
    steps = []
    for t in range(HORIZON):
        mean, std = policy(params, at)
        action = mean + std * noise[:, :, t]
        at = at + 0.1 * action.clamp(-1, 1) * going[..., None]
        off = at - goal
        steps.append((action, at, -off.norm(dim=-1) * going, going))
        going = going * (off.abs().amax(-1) >= 0.01)
    return [torch.stack(parts, 2) for parts in zip(*steps)]


def predict(params, x):
    """Trajectories (n_tasks, n, HORIZON, 5): positions, log-probability of the action, reward, count."""
    actions, positions, rewards, counts = walk(params, x[:, :, :-1], x[:, :, -1])
    mean, std = (part.unflatten(1, actions.shape[1:3]) for part in policy(params, start_of(positions).flatten(1, 2)))
    log_prob = -(((actions - mean) / std).square() / 2 + std.log()).sum(-1)  # of actions that are constants
    return torch.cat([positions, torch.stack([log_prob, rewards, counts], -1)], -1)


def start_of(positions):
    """Where each step to the positions (n_tasks, n, HORIZON, 2) began."""
    return torch.cat([torch.zeros_like(positions[..., :1, :]), positions[..., :-1, :]], -2)


def task_loss(prediction, _goal):
    """Minus the mean return of each task, (n_tasks,); its gradient is the policy gradient."""
    log_prob, rewards, counts = prediction[..., 2:].unbind(-1)
    rewards, counts = rewards.detach(), counts.detach()
    cost = -rewards.sum(-1).mean(1)
    if not prediction.requires_grad:
        return cost
    advantage = advantages(start_of(prediction[..., :2].detach()), rewards, counts)
    terms = ({surrogate}).sum(2).mean(1)
    sought = {sought}
    return cost + sought - sought.detach()


@torch.no_grad()
def advantages(before, rewards, counts):
    """How much better than usual it went on from each time step, (n_tasks, n, HORIZON): usual is what a fit says."""
    returns, ahead = torch.empty_like(rewards), torch.zeros_like(rewards[..., 0])
    for t in range(HORIZON - 1, -1, -1):
        ahead = rewards[..., t] + DISCOUNT * ahead
        returns[..., t] = ahead
    better = returns - baseline(before, returns, counts)
{scaled}


def baseline(before, returns, counts):
    """Least squares of the returns on position, its square, time and its powers, for each task; in double precision."""
    o = before.clamp(-10, 10)
    t = (torch.arange(o.shape[-2]).float() / 100.0)[:, None].expand(*o.shape[:-1], 1)
    f = torch.cat([o, o.square(), t, t**2, t**3, torch.ones_like(t)], -1).flatten(1, 2).double()
    weighted = f * counts.flatten(1, 2)[..., None]
    normal = weighted.mT @ f + 1e-5 * torch.eye(f.shape[-1], dtype=f.dtype)
    fit = torch.linalg.solve(normal, weighted.mT @ returns.flatten(1, 2)[..., None].double())
    return (f @ fit)[..., 0].float().view_as(returns)
'''
SURROGATES = {
    "log": "log_prob * advantage",
    "ratio": "(log_prob - log_prob.detach()).exp() * advantage",
    "dice": "boxes(log_prob) * advantage",
}
BOXES = '''
def boxes(log_prob):
    """The product of the actions' ratios so far, less that before the last: DiCE."""
    upto = log_prob.cumsum(-1)
    before = upto - log_prob
    return (upto - upto.detach()).exp() - (before - before.detach()).exp()
'''
NORMALISED = {
    "sought": "-terms / counts.sum(2).mean(1)",
    "scaled": """\
    size = counts.sum((1, 2), keepdim=True).clamp(min=1)
    centred = (better - (better * counts).sum((1, 2), keepdim=True) / size) * counts
    return centred / (centred.square().sum((1, 2), keepdim=True) / size + 1e-8).sqrt()""",
}
AS_IT_IS = {"sought": "-terms", "scaled": "    return better * counts"}
