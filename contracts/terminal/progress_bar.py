"""What a person sees of long work."""

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from contracts.terminal.printing import plain_console


def progress_bar(has_time_left: bool = True) -> Progress:
    """A bar on stderr, so that stdout holds results alone; nothing where stderr is no terminal.

    Without the time that is left where the parts of the work are too unequal to tell it.
    """
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    if has_time_left:
        columns.append(TimeRemainingColumn())
    return Progress(*columns, console=plain_console(stderr=True))
