"""The price of noise as a picture: scores and re-identification by epsilon."""

from pathlib import Path

from contracts.errors import BadInput
from downstream.privacy.noise_costs import CLIPPED, NoiseCost
from downstream.privacy.privacy_card import PrivacyCard

_FORMATS = (".png", ".svg")


def check_picture(path: Path, has_noise: bool) -> None:
    """`BadInput` before anything is measured where there would be nothing to draw, or nowhere."""
    if path.suffix not in _FORMATS or not path.absolute().parent.is_dir():
        raise BadInput(
            f"--picture {path}: name a file that ends in {' or '.join(_FORMATS)} in a folder that "
            "is there"
        )
    if not has_noise:
        raise BadInput("--picture draws the table of noise: give --noise, too")


def draw_noise(card: PrivacyCard, path: Path) -> None:
    """Left the tasks' scores, right the share of users who are found; dashed: clipped, no noise."""
    noisy = [each for each in card.noise if each.epsilon is not None]
    from matplotlib.figure import Figure

    clipped = next(each for each in card.noise if each.export == CLIPPED)
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    epsilons = [each.epsilon for each in noisy]
    for place, name in enumerate(clipped.scores):
        scores = [each.scores[name] for each in noisy]
        left.plot(epsilons, scores, marker="o", color=f"C{place}", label=name)
        left.axhline(clipped.scores[name], color=f"C{place}", linestyle="--", linewidth=0.8)
    for name, color in (("top_1", "C0"), ("top_10", "C1")):
        shares = [_share(each, name) for each in noisy]
        label = "nearest" if name == "top_1" else "ten nearest"
        right.plot(epsilons, shares, marker="o", color=color, label=label)
        right.axhline(_share(clipped, name), color=color, linestyle="--", linewidth=0.8)
    for axes, title in ((left, "score of the linear head"), (right, "users who are found")):
        axes.set_xscale("log")
        axes.set_xlabel("epsilon of one export")
        axes.set_title(title, fontsize=10)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=100, metadata=None if path.suffix == ".svg" else {"Software": None})


def _share(cost: NoiseCost, name: str) -> float:
    return cost.top_1 if name == "top_1" else cost.top_10
