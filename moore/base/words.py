"""Numbers as words for people: how long something takes."""


def duration(seconds: float) -> str:
    """Return `45 s`, `12 min`, `3.4 h` or `5.2 days`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
