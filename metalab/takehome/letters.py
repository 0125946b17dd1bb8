"""The script's networks that read letters: text of the bag of pieces and the character transformer."""

NGRAMS = '''
def init_network(rng):
    """Fresh parameters of a hidden layer on counts of letter pieces and a linear head, without a task axis."""
    weight = torch.randn(BUCKETS, WIDTH, generator=rng, dtype=torch.float64).float()
    return {"pieces.weight": weight, "pieces.bias": torch.zeros(WIDTH)} | init_linear("head", WIDTH, WAYS, rng)


def features(params, x):
    """What the last layer reads, (n_tasks, n, WIDTH): params have a leading task axis, x is (n_tasks, n, letters)."""
    h = linear(params, "pieces", F.normalize(pieces(x), dim=-1))
    return (h * torch.rsqrt(h.square().mean(-1, keepdim=True) + 1e-6)).relu()


def pieces(x):
    """How often the names x (n_tasks, n, letters) have the pieces of each bucket: single letters, pairs and triples."""
    padded = F.pad(x, (1, 1))
    letters = (x != 0).sum(-1, keepdim=True)
    place = torch.arange(padded.shape[-1])
    found = torch.zeros(*x.shape[:2], BUCKETS)
    for length in (1, 2, 3):
        windows = padded.unfold(-1, length, 1)
        number = windows[..., 0]
        for i in range(1, length):
            number = number * 1_009 + windows[..., i]
        bucket = ((number + 1) * 2654435761 + length * 40503) % 4294967291 % BUCKETS
        # A piece lies between the boundary before the name and that after it; a boundary alone is none.
        inside = place[: bucket.shape[-1]] <= letters + 2 - length
        if length == 1:
            inside = inside & (windows[..., 0] != 0)
        found.scatter_add_(2, bucket, inside.float())
    return found
'''

CHAR_TRANSFORMER = '''
def init_network(rng):
    """Fresh parameters of a decoder-only transformer over letters, without a task axis."""
    params = {}
    for table, rows in (("letter", TOKENS), ("position", 1 + 20)):
        draw = torch.randn(rows, WIDTH, generator=rng, dtype=torch.float64)
        params[f"{table}.weight"] = (draw / math.sqrt(WIDTH)).float()
    for i in range(1, LAYERS + 1):
        params |= {f"norm{i}a.scale": torch.ones(WIDTH)} | init_linear(f"attention{i}", WIDTH, 3 * WIDTH, rng)
        params[f"others{i}"] = torch.zeros(HEADS)  # what a letter of another name weighs, for each head
        params |= init_linear(f"mix{i}", WIDTH, WIDTH, rng) | {f"norm{i}b.scale": torch.ones(WIDTH)}
        params |= init_linear(f"widen{i}", WIDTH, 4 * WIDTH, rng) | init_linear(f"narrow{i}", 4 * WIDTH, WIDTH, rng)
    return params | {"norm.scale": torch.ones(WIDTH)} | init_linear("head", WIDTH, TOKENS, rng)


def features(params, x):
    """What the last layer reads, (n_tasks, n, letters, WIDTH): params have a leading task axis."""
    return run(params, embedded(params, x), causal(x.shape[-1]))[0]


def embedded(params, x):
    """Letters x (n_tasks, n, letters) and their positions as vectors (n_tasks, n, letters, WIDTH)."""
    letter = looked_up(params["letter.weight"], x.flatten(1)).unflatten(1, x.shape[1:])
    return letter + params["position.weight"][:, None, : x.shape[-1]]


def looked_up(table, ids):
    """table (n_tasks, rows, WIDTH), ids (n_tasks, n) -> (n_tasks, n, WIDTH)."""
    return torch.bmm(F.one_hot(ids, table.shape[1]).float(), table)


def causal(n):
    """(n, n): -inf where a letter comes after, else 0."""
    return torch.full((n, n), -torch.inf).triu(1)


def normed(params, layer, h):
    """Each letter's vector with mean square 1, then scaled."""
    return h * torch.rsqrt(h.square().mean(-1, keepdim=True) + 1e-6) * params[f"{layer}.scale"][:, None, None]


def run(params, h, blocked{arguments}):
    """All blocks on h (n_tasks, n, letters, WIDTH): what the last layer reads, and each block's keys and values.

    blocked is -inf where one letter must not see another, else 0.{told}
    """
    kept, (n_tasks, n, letters, _width) = [], h.shape
    for i in range(1, LAYERS + 1):
        part = linear(params, f"attention{i}", normed(params, f"norm{i}a", h).flatten(1, 2))
        q, k, v = part.view(n_tasks, n, letters, 3, HEADS, WIDTH // HEADS).permute(3, 0, 1, 4, 2, 5)
        kept.append((k, v))
        q = q / math.sqrt(WIDTH // HEADS)
{attend}
        h = h + linear(params, f"mix{i}", seen.transpose(2, 3).reshape(n_tasks, n * letters, WIDTH)).view(h.shape)
        wide = linear(params, f"widen{i}", normed(params, f"norm{i}b", h).flatten(1, 2))
        h = h + linear(params, f"narrow{i}", F.gelu(wide)).view(h.shape)
    return normed(params, "norm", h), kept


def predict(params, x):
    """Logits (n_tasks, n, letters, TOKENS) of each next letter of the names x, every name by itself."""
    return logits(params, features(params, x))


def logits(params, h):
    """h (n_tasks, n, letters, WIDTH) -> (n_tasks, n, letters, TOKENS)."""
    return linear(params, "head", h.flatten(1, 2)).unflatten(1, h.shape[1:3])
'''
ALONE = {
    "arguments": "",
    "told": "",
    "attend": "        seen = torch.matmul((torch.matmul(q, k.mT) + blocked).softmax(-1), v)",
}
IN_CONTEXT = {
    "arguments": ", other=None, memory=None, absent=None",
    "told": """ other is 1 where they are of different names, else 0.
    memory: keys and values of names read before, which are seen too but where `absent` is -inf.""",
    "attend": """\
        bias = params[f"others{i}"][:, None, :, None, None]
        scores = torch.matmul(q, k.mT) + (blocked if other is None else blocked + bias * other)
        if memory is None:
            seen = torch.matmul(scores.softmax(-1), v)
        else:
            far = torch.matmul(q, memory[i - 1][0].mT) + (bias + absent)
            share = torch.cat([far, scores], -1).softmax(-1)
            seen = torch.matmul(share[..., : far.shape[-1]], memory[i - 1][1])
            seen = seen + torch.matmul(share[..., far.shape[-1] :], v)""",
}

PROMPTING = '''
def packed(x):
    """The names x (n_tasks, n, letters) one after another: letters, positions, and which name; -1 fills a row up."""
    inside = torch.cat([(x[..., 1:] != 0).any(-1, keepdim=True), x[..., 1:] != 0], -1).flatten(1)
    longest = max(int(inside.sum(1).max()), 1)
    order = (~inside).to(torch.int8).argsort(dim=1, stable=True)[:, :longest]
    name = torch.where(inside.gather(1, order), order // x.shape[-1], -1)
    return x.flatten(1).gather(1, order), order % x.shape[-1], name


def run_letters(params, tokens, position, name):
    """`run` on names one after another: every letter sees all letters before it, of its own name and of others."""
    h = looked_up(params["letter.weight"], tokens) + looked_up(params["position.weight"], position)
    other = (name[:, :, None] != name[:, None, :]).float()
    return run(params, h[:, None], causal(h.shape[1]), other=other[:, None, None])


def adapt(theta, support):
    """Yield theta with the first 0 .. SHOTS names: they stand in the context, and no parameter changes."""
    phi = with_task_axis(theta, len(support[0]))
    for k in range(SHOTS + 1):
        yield phi | {"context": support[0][:, :k]}


def in_context(phi, x):
    """Logits of each next letter of the names x (n_tasks, n, letters), each name after those of the context."""
    if phi["context"].shape[1] == 0:
        return predict(phi, x)
    seen = packed(phi["context"])
    memory = run_letters(phi, *seen)[1]
    absent = torch.where(seen[2] < 0, -torch.inf, 0.0)[:, None, None, None, :]
    return logits(phi, run(phi, embedded(phi, x), causal(x.shape[-1]), memory=memory, absent=absent)[0])


def one_after_another(params, x):
    """Logits (n_tasks, n, letters, TOKENS) of each next letter of x, each name after those before it in x."""
    tokens, position, name = packed(x)
    found = logits(params, run_letters(params, tokens, position, name)[0])[:, 0]
    n_tasks, n, letters = x.shape
    place = (torch.arange(n_tasks)[:, None] * n + name) * letters + position
    place = torch.where(name >= 0, place, n_tasks * n * letters)  # what fills a row up goes behind all others
    out = found.new_zeros(n_tasks * n * letters + 1, TOKENS)
    return out.index_put((place,), found)[:-1].view(n_tasks, n, letters, TOKENS)


def meta_gradient(theta, batch):
    """{of_tasks} the gradient of the loss of all names, each after those before it, and that loss."""
    x, y = (torch.cat(parts, 1) for parts in zip(*batch))
    own = {name: value.detach().requires_grad_() for name, value in with_task_axis(theta, len(x)).items()}
    losses = task_loss(one_after_another(own, x), y)
    found = torch.autograd.grad(losses.sum(), list(own.values()))
    return {zipped}own, found{end}, losses.detach().mean()
'''
