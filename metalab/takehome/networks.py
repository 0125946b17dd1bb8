"""The script's network: text that draws the same initial parameters as the one in `metalab.models`."""

INIT_LINEAR = '''
def init_linear(layer, fan_in, fan_out, rng):
    """Weight (in, out) and bias (out,), both U(-1/sqrt(in), 1/sqrt(in))."""
    draw = torch.rand(fan_in + 1, fan_out, generator=rng, dtype=torch.float64)
    values = ((2 * draw - 1) * (1 / math.sqrt(fan_in))).float()
    return {f"{layer}.weight": values[:-1].clone(), f"{layer}.bias": values[-1].clone()}


def linear(params, layer, x):
    """x (n_tasks, n, in) -> (n_tasks, n, out): every task has a weight and a bias of its own."""
    return torch.baddbmm(params[f"{layer}.bias"][:, None], x, params[f"{layer}.weight"])
'''

MLP = '''
def init_network(rng):
    """Fresh parameters of a multi-layer perceptron, without a task axis."""
    sizes = [{inputs}, *WIDTHS]
    params = {{}}
    for i in range(len(WIDTHS)):
        params |= init_linear(f"layer{{i + 1}}", sizes[i], sizes[i + 1], rng)
    return params | init_linear("head", sizes[-1], {outputs}, rng)


def features(params, x):
    """What the last layer reads, (n_tasks, n, width): params have a leading task axis, x is (n_tasks, n, ...)."""
    h = x.flatten(2)
    for i in range(len(WIDTHS)):
        h = {activation}(linear(params, f"layer{{i + 1}}", h))
    return h
'''
ACTIVATIONS = {"relu": "torch.relu", "tanh": "torch.tanh", "softplus": "F.softplus"}

CONV4 = '''
def init_network(rng):
    """Fresh parameters of four convolutional blocks and a linear head, without a task axis."""
    params, channels, side = {{}}, 1, 28
    for i in range(1, 5):
        draw = torch.randn(9 * channels, FILTERS, generator=rng, dtype=torch.float64)
        params[f"conv{{i}}.weight"] = (draw * math.sqrt(2 / (9 * channels))).float()
        params[f"norm{{i}}.scale"] = torch.ones(FILTERS)
        params[f"norm{{i}}.shift"] = torch.zeros(FILTERS)
        channels, side = FILTERS, {halved}
    return params | init_linear("head", FILTERS * side * side, WAYS, rng)


def patches(h):
    """All 3x3 patches (images, rows, columns, 9 * channels) of h (images, rows, columns, channels), zeros around it."""
    padded, (rows, columns) = F.pad(h, (0, 0, 1, 1, 1, 1)), h.shape[1:3]
    # The last one first: gradients are then added up from the first one on, as in MetaLab.
    shifts = [padded[:, i : i + rows : STRIDE, j : j + columns : STRIDE] for i in (2, 1, 0) for j in (2, 1, 0)]
    return torch.cat(shifts[::-1], -1)


def features(params, x):
    """What the last layer reads, (n_tasks, n, width): params have a leading task axis, x is (n_tasks, n, 1, 28, 28).

    A convolution is a product of all 3x3 patches with a weight (9 * channels, filters), another one for each task.
    Batch normalisation takes the mean and variance of all pixels of a task's images: it is transductive.
    """
    n_tasks, n = x.shape[:2]
    h = x.flatten(0, 1).permute(0, 2, 3, 1)
    for i in range(1, 5):
        weight, scale, shift = (params[name] for name in (f"conv{{i}}.weight", f"norm{{i}}.scale", f"norm{{i}}.shift"))
        found = patches(h)
        pixels = torch.bmm(found.reshape(n_tasks, -1, found.shape[-1]), weight)
        centred = pixels - pixels.mean(1, keepdim=True)
        variance = centred.square().mean(1, keepdim=True)
        factor = torch.rsqrt(variance + 1e-5) * scale[:, None]
        h = torch.addcmul(shift[:, None], centred, factor).relu().reshape(*found.shape[:3], -1)
{pool}    return h.reshape(n_tasks, n, -1)
'''
POOL = "        h = F.max_pool2d(h.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)\n"
STRIDED_HALF, POOLED_HALF = "(side + 1) // 2", "side // 2"

PREDICT = '''
def predict(params, x):
    """Predictions (n_tasks, n, outputs): a linear head on the features."""
    return linear(params, "head", features(params, x))
'''
