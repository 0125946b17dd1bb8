"""The script's digits in another guise: text that turns and shuffles as `metalab.tasks.digit_tasks` does."""

PICTURES = '''
def load_images():
    """Pictures (digits, each, 28, 28) of each split, ink 255 on 0, out of the file that lies beside this script."""
    return torch.load(Path(__file__).with_name(DATA), weights_only=True)


IMAGES = load_images()


def pictures(n_tasks, split, rng):
    """Some of each digit: (n_tasks, WAYS, SHOTS + QUERIES, 28, 28) in [0, 1]."""
    images = IMAGES[split]
    chosen = torch.rand(n_tasks, WAYS, images.shape[1], generator=rng).topk(SHOTS + QUERIES).indices
    rows = torch.arange(WAYS)[:, None] * images.shape[1] + chosen
    return images.flatten(0, 1)[rows.flatten()].float().div(255).view(n_tasks, WAYS, -1, 28, 28)


def as_sets(x):
    """Support and query sets (x, y), and each task's classes: label k is digit k in all of them."""
    sets = []
    for part in (x[:, :, :SHOTS], x[:, :, SHOTS:]):
        y = torch.arange(WAYS).repeat_interleave(part.shape[2]).repeat(len(x), 1)
        sets.append((part.reshape(len(x), -1, 1, 28, 28), y))
    return *sets, torch.arange(WAYS).repeat(len(x), 1)
'''

ROTATED = '''
def sample_tasks(n_tasks, split, rng):
    """Digits turned by a task's angle. Of each four neighbouring 24ths of TURN two are for training, one held out."""
    share = torch.rand(n_tasks, generator=rng)
    mine = torch.tensor([sector for sector in range(24) if sector % 4 in {"train": (0, 1), "validation": (2,)}[split]])
    place = share * len(mine)
    angle = (mine[place.long()] + place % 1) * (TURN / 24)
    x = pictures(n_tasks, split, rng)
    return as_sets(rotated(x.flatten(1, 2), angle).view_as(x))


def rotated(images, angle):
    """Images (n_tasks, n, 28, 28) turned anticlockwise by their task's angle in degrees, bilinear between pixels."""
    radians = angle * (math.pi / 180)
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    back = torch.stack([torch.stack([cos, -sin, zero], -1), torch.stack([sin, cos, zero], -1)], -2)
    grid = F.affine_grid(back, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
'''

PERMUTED = '''
def sample_tasks(n_tasks, split, rng):
    """Digits whose pixels stand in each task's order: numbers 0 .. 999 are for training, the next 100 are held out."""
    first, last = {"train": (0, 1_000), "validation": (1_000, 1_100)}[split]
    numbers = torch.randint(first, last, (n_tasks,), generator=rng)
    x = pictures(n_tasks, split, rng)
    order = torch.stack([pixel_order(number) for number in numbers.tolist()])
    pixels = x.view(n_tasks, -1, 28 * 28)
    return as_sets(pixels.gather(2, order[:, None].expand_as(pixels)).view_as(x))


def pixel_order(number):
    """Which pixel stands where (784,): always the same for the same number."""
    return torch.randperm(28 * 28, generator=torch.Generator().manual_seed(784_000_000 + number))
'''
