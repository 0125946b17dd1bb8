"""Waiting for what a page comes to rest at: links and pictures pass through states that nobody asked about."""

QUIET_MS = 1000
"""So long nothing may have changed; a page that is busy still shows its next state sooner than that."""
MOST_LOOKS = 45


def settled(page, expression):
    """The value of a JavaScript expression once it has been the same for `QUIET_MS`."""
    value = page.evaluate(expression)
    for _ in range(MOST_LOOKS):
        page.wait_for_timeout(QUIET_MS)
        before, value = value, page.evaluate(expression)
        if value == before:
            return value
    raise AssertionError(f"{expression} does not come to rest: {value!r}")
