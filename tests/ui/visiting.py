"""The cookies of visitors who have been here."""

from metalab.ui.visitors import guestbook


def cookie(token: str) -> str:
    """What a browser sends whose cookie holds this token."""
    book = guestbook()
    return f"{book.cookie}={book.signed(token)}"
