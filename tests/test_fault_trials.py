"""The one loop of all trials, and a few of them: `make test-faults` runs all."""

import json

import pytest

from tests.faults.damage_trials import damage_trials
from tests.faults.suite import NUM_TRIALS
from tests.faults.surroundings_trials import SURROUNDINGS, surroundings_trials
from tests.faults.training_trials import DISTURBANCES, training_trials
from tests.faults.trials import Ending, Trial, compared, run_one, run_trials, summed_up

FEW = 12  # damaged files, of the 200 of the suite


def ended(*endings):
    return [Trial(kind, seed, lambda _, ending=ending: ending) for seed, (kind, ending) in
            enumerate(endings)]  # fmt: skip


def test_the_suite_makes_at_least_200_faults():
    assert sum(NUM_TRIALS.values()) >= 200
    assert len(NUM_TRIALS) >= 9
    assert NUM_TRIALS[surroundings_trials] >= 2 * len(SURROUNDINGS)
    assert NUM_TRIALS[training_trials] >= 5 * len(DISTURBANCES)


def test_endings_are_summed_up_by_kind_and_a_wrong_one_fails(capsys):
    trials = ended(
        ("a", Ending("clean", faults=2)),
        ("b", Ending("one line")),
        ("a", Ending("wrong", rows_lost=3, unchecked_reads=1)),
    )
    assert run_trials("trials", trials) == 1
    *lines, table_end, last = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["kind"] for line in lines[:3]] == ["a", "b", "a"]
    assert "| a | 3 | 2 | 0 | 1 | 3 | 0 | 1 |" in lines
    assert table_end == "| all | 4 | 2 | 1 | 1 | 3 | 0 | 1 |"
    assert json.loads(last)["agree"] is False
    assert run_trials("trials", trials[:2]) == 0


def test_a_trial_that_breaks_is_wrong_and_the_next_ones_run():
    def breaks(root):
        assert not root.exists()
        root.mkdir()
        raise ValueError("the disk is round")

    ending = run_one(Trial("a", 0, breaks))
    assert (ending.how, ending.detail) == ("wrong", "ValueError: the disk is round")
    assert summed_up([("a", ending), ("a", Ending("clean"))])[0]["tried"] == 2


def test_rows_that_are_lost_doubled_or_others_are_counted(tmp_path):
    import small_lake

    from contracts.paths import Places
    from contracts.tables import TITLES

    quiet, other = tmp_path / "quiet", tmp_path / "other"
    rows = [{"title_id": number, "title": "a"} for number in range(3)]
    small_lake.write(Places(quiet), "titles", rows)
    small_lake.write(Places(other), "titles", [rows[0], rows[0], rows[2] | {"title": "b"}])
    ending = compared(other, quiet, [TITLES], 1, "cut")
    assert (ending.how, ending.rows_lost, ending.rows_doubled) == ("wrong", 1, 1)
    assert ending.detail == "cut; differing: titles"
    assert compared(quiet, quiet, [TITLES], 1, "").how == "clean"


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    return list(damage_trials(range(FEW), tmp_path_factory.mktemp("damage")))


@pytest.mark.parametrize("seed", range(FEW))
def test_a_damaged_file_is_named_or_harmless(damaged, seed):
    ending = run_one(damaged[seed])
    assert ending.how in ("clean", "one line"), ending.detail
    assert not ending.unchecked_reads
