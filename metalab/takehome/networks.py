"""The script's network: text that draws the same initial parameters as the one in `metalab.models`."""

INIT_LINEAR = '''
def init_linear(layer, fan_in, fan_out, rng):
    """Weight (in, out) and bias (out,), both U(-1/sqrt(in), 1/sqrt(in))."""
    draw = torch.rand(fan_in + 1, fan_out, generator=rng, dtype=torch.float64)
    values = ((2 * draw - 1) * (1 / math.sqrt(fan_in))).float()
    return {f"{layer}.weight": values[:-1].clone(), f"{layer}.bias": values[-1].clone()}
'''
LINEAR = '''
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


def features(params, x):
    """What the last layer reads, (n_tasks, n, width): params have a leading task axis, x is (n_tasks, n, 1, 28, 28)."""
    each = [features_of_one({{name: value[i] for name, value in params.items()}}, x[i]) for i in range(len(x))]
    return torch.stack(each)


class MeanAndVariance(torch.autograd.Function):
    """Of (pixels, channels) over the pixels: (channels,) each. Differentiated in one pass, faster than step by step."""

    @staticmethod
    def forward(ctx, x):
        columns = math.gcd(len(x), 28)
        if x.is_cpu and len(x) >= 2_000 and columns > 1:  # many pixels: faster, and as exact, column by column
            found = torch.batch_norm_update_stats(x.reshape(-1, columns * x.shape[1]), None, None, 0.0)
            means, variances = (value.view(columns, -1) for value in found)
            mean = means.mean(0)
            variance = (means - mean).square().add(variances).mean(0)
        else:
            mean = x.mean(0)
            variance = (x - mean).square().mean(0)
        ctx.save_for_backward(x, mean)
        return mean, variance

    @staticmethod
    def backward(ctx, *grads):
        x, mean = ctx.saved_tensors
        of_mean, of_variance = (grad / len(x) for grad in grads)
        return torch.addcmul(of_mean - 2 * of_variance * mean, x, 2 * of_variance)


def features_of_one(params, h):
    """The same of one task: images h (n, 1, 28, 28) -> (n, width).

    Batch normalisation takes the mean and variance of all pixels of a task's images: it is transductive.
    """
    for i in range(1, 5):
        weight = params[f"conv{{i}}.weight"].view(3, 3, h.shape[1], FILTERS).permute(3, 2, 0, 1)
        h = F.conv2d(h, weight.contiguous(memory_format=torch.channels_last), stride=STRIDE, padding=1)
        pixels = h.permute(0, 2, 3, 1)
        mean, variance = MeanAndVariance.apply(pixels.flatten(0, 2))
        factor = torch.rsqrt(variance + 1e-5) * params[f"norm{{i}}.scale"]
        offset = torch.addcmul(params[f"norm{{i}}.shift"], mean, factor, value=-1)
        h = torch.addcmul(offset, pixels, factor).relu().permute(0, 3, 1, 2)
{pool}    return h.permute(0, 2, 3, 1).flatten(1)
'''
POOL = "        h = F.max_pool2d(h, 2)\n"
STRIDED_HALF, POOLED_HALF = "(side + 1) // 2", "side // 2"

PREDICT = '''
def predict(params, x):
    """Predictions (n_tasks, n, outputs): a linear head on the features."""
    return linear(params, "head", features(params, x))
'''
