"""Which settings are tried for a method, and what is chosen."""

import pytest

from openjepa.errors import UsageError
from openjepa.files import write_json
from openjepa.methods.registry import METHODS
from openjepa.studies.compare.contenders import contenders, fitting
from openjepa.studies.compare.tuning import MOST, StoredTrial, Tuning, next_changes, read_tuning


def tried(method, count, accuracy):
    """The changes of all trials of a method, in which `accuracy` maps changes to what they reach."""
    base, done = fitting("laptop", {}, contenders([method], "own")[0], 0), Tuning(steps=1, trials=[])
    while (changes := next_changes(base, done, count)) is not None:
        trial = StoredTrial.of(changes, accuracy(base, changes))
        done = Tuning(steps=1, trials=[*done.trials, trial])
    return base, done


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gets_as_many_trials_and_one_setting_of_its_own(method):
    for count in (3, 5, MOST):
        base, done = tried(method, count, lambda _, changes: 0.5)
        assert len(done.trials) == count and done.chosen == {}  # of equals the recipe
        own = {name for trial in done.trials for name in trial.changes} - {"lr"}
        assert len(own) == 1 and own <= {"ema_momentum", "crop_scale"}
        rates = [trial.changes["lr"] for trial in done.trials if "lr" in trial.changes]
        assert base.lr not in rates and len(rates) == len({*rates}) >= 1


def test_the_setting_of_its_own_is_tried_with_the_best_rate_and_failed_runs_are_not_chosen():
    base, done = tried("byol", 5, lambda base, c: {3: 0.6, 1: 0.5}.get(round(c.get("lr", base.lr) / base.lr)))
    assert [len(trial.changes) for trial in done.trials] == [0, 1, 1, 2, 2]
    assert done.chosen == {"lr": pytest.approx(3 * base.lr)} and done.trials[2].linear is None
    assert tried("byol", 3, lambda *_: None)[1].chosen == {}


@pytest.mark.parametrize("changes", [{"batch_size": 4}, {"lr": -1}, {"lr": "x"}, {"crop_scale": [2, 3]}])
def test_what_is_no_trial_is_refused(tmp_path, changes):
    base = fitting("laptop", {}, contenders(["mae"], "own")[0], 0)
    write_json(tmp_path / "x.json", {"steps": 1, "trials": [{"changes": changes, "linear": 0.5}]})
    with pytest.raises(UsageError, match="is damaged") as error:
        read_tuning(tmp_path / "x.json", base)
    assert "\n" not in str(error.value)
