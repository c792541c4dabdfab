"""How long a training took, by the times in its own curves."""

from pathlib import Path


def recorded_seconds(folder: Path) -> float | None:
    """From the first to the last entry of each TensorBoard file of a model, summed over resumes.

    None where there is no record. Measures on held-out users after the last step are not in it.
    """
    files = sorted((folder / "tensorboard").glob("events.out.tfevents.*"))
    if not files:
        return None
    return sum(_seconds_of(path) for path in files)


def _seconds_of(path: Path) -> float:
    # TensorBoard takes a second to import, and few ask.
    from tensorboard.backend.event_processing.event_file_loader import TimestampedEventFileLoader

    times = [time for time, _ in TimestampedEventFileLoader(str(path)).Load()]
    return max(times) - min(times) if times else 0.0
