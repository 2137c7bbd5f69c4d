"""What a run says while it goes on."""

from openjepa.console import TrainingDisplay


def test_an_accuracy_is_shown_with_the_step_it_was_measured_at():
    display = TrainingDisplay(steps=100, done=0)
    display({"step": 0, "rank": 9.0, "status": "early", "verdict": "too early to say", "knn": 0.25})
    display({"step": 40, "loss": 0.5, "images_per_second": 120.0})
    assert display.line() == "120 images/s · loss 0.5000 · rank 9.0 · early · k-NN 25.0% at step 0"
    display({"step": 50, "knn": 0.5})
    assert display.line().endswith("k-NN 50.0% at step 50")
