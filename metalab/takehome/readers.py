"""The script's networks that read the support set: text of the neural process and the transformer in `metalab.models`.

They have the same weights for every task, without a task axis.
"""

SHARED_LINEAR = '''
def linear(theta, layer, x):
    """x (..., in) -> (..., out), with the same weight and bias for every task."""
    return F.linear(x, theta[f"{layer}.weight"].mT, theta[f"{layer}.bias"])
'''

CNP = '''
def init_network(rng):
    """Fresh parameters of an encoder of examples (x, y) and a decoder of queries."""
    params = {{}}
    for part, size in (("encoder", {inputs} + 1), ("decoder", {inputs} + WIDTH)):
        for i in range(LAYERS):
            params |= init_linear(f"{{part}}{{i + 1}}", WIDTH if i else size, WIDTH, rng)
    return params | init_linear("head", WIDTH, 2, rng)


def read(theta, support):
    """The mean (n_tasks, WIDTH) of what the encoder makes of each example; 0 without any."""
    x, y = support
    h = torch.cat([x, y], -1)
    for i in range(LAYERS):
        h = linear(theta, f"encoder{{i + 1}}", h)
        h = h.relu() if i < LAYERS - 1 else h
    return {{"known": h.sum(1) / max(h.shape[1], 1)}}


def distribution(phi, x):
    """Mean and standard deviation of y at x (n_tasks, n, inputs), (n_tasks, n, 1) each."""
    h = torch.cat([x, phi["known"][:, None].expand(-1, x.shape[1], -1)], -1)
    for i in range(LAYERS):
        h = linear(phi, f"decoder{{i + 1}}", h).relu()
    mean, spread = linear(phi, "head", h).chunk(2, -1)
    return mean, 0.1 + (1 - 0.1) * F.softplus(spread)


def predict(phi, x):
    """Predictions (n_tasks, n, 1): the means."""
    return distribution(phi, x)[0]
'''

TRANSFORMER = '''
def init_network(rng):
    """Fresh parameters of a transformer whose tokens are examples."""
    d = 16 * HEADS
{embedding}
    params |= init_linear("label", {outputs}, d, rng)
    draw = torch.randn(2, d, generator=rng, dtype=torch.float64) / math.sqrt(d)
    params |= {{"token.first": draw[0].float(), "token.query": draw[1].float()}}
    for i in range(1, LAYERS + 1):
        params |= init_linear(f"attend{{i}}", d, 3 * d, rng) | init_linear(f"gather{{i}}", d, d, rng)
        params |= init_linear(f"widen{{i}}", d, 2 * d, rng) | init_linear(f"narrow{{i}}", 2 * d, d, rng)
{alike}        params |= init_norm(f"before{{i}}", d) | init_norm(f"between{{i}}", d)
    return params | init_norm("last", d) | init_linear("head", d, {outputs}, rng)


def init_norm(layer, width):
    """Layer normalisation's scale and shift."""
    return {{f"{{layer}}.scale": torch.ones(width), f"{{layer}}.shift": torch.zeros(width)}}


def normalised(theta, layer, h):
    """Each token with mean 0 and variance 1, then scaled and shifted."""
    return F.layer_norm(h, h.shape[-1:], theta[f"{{layer}}.scale"], theta[f"{{layer}}.shift"])


{embedded}


def compared(theta, i, h):
    """Query, key and value of tokens h (n_tasks, n, width) in layer i: (n_tasks, HEADS, n, 16) each."""
    both = linear(theta, f"attend{{i}}", normalised(theta, f"before{{i}}", h))
    return both.unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4).unbind(0)


def block(theta, i, h, query, key, value):
    """Tokens after layer i: what they gathered by attention, then a perceptron on each."""
    gathered = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
    h = h + linear(theta, f"gather{{i}}", gathered)
    wide = F.gelu(linear(theta, f"widen{{i}}", normalised(theta, f"between{{i}}", h)))
    return h + linear(theta, f"narrow{{i}}", wide)


def read(theta, support):
    """Keys and values of each layer: all that queries attend to. A learned token stands before the examples."""
    x, y = support
    h, known = theta["token.first"].expand(len(x), 1, -1), {{}}
{examples}
    for i in range(1, LAYERS + 1):
        query, key, value = compared(theta, i, h)
        known |= {{f"key{{i}}": key, f"value{{i}}": value}}
        if i < LAYERS:
            h = block(theta, i, h, query, key, value)
    return known


def predict(phi, x):
    """Predictions (n_tasks, n, {outputs}): each query attends to the examples, and to no other query."""
{queries}
    for i in range(1, LAYERS + 1):
        query, _key, _value = compared(phi, i, h)
        h = block(phi, i, h, query, phi[f"key{{i}}"], phi[f"value{{i}}"])
    return linear(phi, "head", normalised(phi, "last", h))
'''
OF_POINTS = {
    "outputs": "1",
    "embedding": '    params = init_linear("embed1", {inputs}, d, rng) | init_linear("embed2", d, d, rng)',
    "alike": "",
    "embedded": '''\
def embedded(theta, x):
    """x (n_tasks, n, inputs) -> (n_tasks, n, width)."""
    return linear(theta, "embed2", F.gelu(linear(theta, "embed1", x)))''',
    "examples": '    h = torch.cat([h, embedded(theta, x) + linear(theta, "label", y)], 1)',
    "queries": '    h = embedded(phi, x) + phi["token.query"]',
}
OF_IMAGES = {
    "outputs": "WAYS",
    "embedding": """\
    params, channels = {}, 1
    for i in range(1, 5):
        draw = torch.randn(FILTERS, channels, 3, 3, generator=rng, dtype=torch.float64)
        params[f"conv{i}.weight"] = (draw * math.sqrt(2 / (9 * channels))).float()
        params[f"conv{i}.bias"] = torch.zeros(FILTERS)
        channels = FILTERS
    params |= init_linear("embed2", FILTERS * 2 * 2, d, rng)  # 28 x 28 pixels, halved four times""",
    "alike": """\
        weight = params[f"attend{i}.weight"]
        weight[:, d : 2 * d] = weight[:, :d]  # keys as queries: at first alike attends to alike
""",
    "embedded": '''\
def embedded(theta, x):
    """Images x (n_tasks, n, 1, 28, 28) -> (n_tasks, n, width), without batch normalisation."""
    h = x.flatten(0, 1)
    for i in range(1, 5):
        h = F.conv2d(h, theta[f"conv{i}.weight"], theta[f"conv{i}.bias"], stride=2, padding=1).relu()
    return linear(theta, "embed2", h.flatten(1)).unflatten(0, x.shape[:2])''',
    "examples": """\
    h_x = embedded(theta, x)
    mean = h_x.mean(1, keepdim=True)  # what the images have in common is taken out
    spread = ((h_x - mean).square().mean((1, 2), keepdim=True) + 1e-5).sqrt()
    known = {"mean": mean, "spread": spread}
    label = linear(theta, "label", F.one_hot(y, WAYS).float())
    h = torch.cat([h, (h_x - mean) / spread + label], 1)""",
    "queries": """\
    if "mean" not in phi:
        return torch.zeros(*x.shape[:2], WAYS)
    h = (embedded(phi, x) - phi["mean"]) / phi["spread"] + phi["token.query"]""",
}
