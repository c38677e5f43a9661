"""Recipes of fine-tuning, step by step: what moves, when a training ends, that a cut changes nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lepton_monai.core.errors import ConfigError, InputError
from lepton_monai.data.batch import Inputs
from lepton_monai.data.inputs import Sample
from lepton_monai.inference.classifier import logits_of
from lepton_monai.networks.classifiers import build_classifier
from lepton_monai.plans.classification import ClassificationPlan
from lepton_monai.plans.run import Run
from lepton_monai.training.checkpoint import newest_checkpoint, restore, write_checkpoint
from lepton_monai.training.classification import (
    classification_training,
    images_of,
    looking_at,
    settle_norms,
)
from lepton_monai.training.loop import Feeding, Looking, run_training
from lepton_monai.training.seeds import deterministic, seeded
from lepton_monai.training.training import Training
from tests.plans.class_examples import example_classification

CPU = torch.device("cpu")


def _samples(count: int, seed: int = 5, labels: tuple[int | None, ...] = (0, 1)) -> list[Sample]:
    """Return pictures, those of class 1 brighter at their left."""
    generator = np.random.default_rng(seed)
    found = []
    for at in range(count):
        label = labels[at % len(labels)]
        array = generator.random((16, 12, 1))
        array[:5] += 2.0 * (label or 0)
        target = None if label is None else np.eye(2, dtype=np.float32)[label]
        found.append(Sample(f"PIC-{at}", "P", None, 0.0, target, array.astype(np.float16)))
    return found


def _pretrained(plan: ClassificationPlan) -> Training:
    """Return a training whose weights all count as pretrained, but for the last layer."""
    network = build_classifier(plan.network, plan.input, 2)
    return classification_training(plan, CPU, network, [name for name, _ in network.named_parameters()])


def _trained(
    plan: ClassificationPlan,
    looking: Looking | None = None,
    *,
    run: Run | None = None,
    cut_after: int | None = None,
) -> Training:
    """Train to the end; with a run from its newest checkpoint, or to where it is cut."""
    samples = _samples(8)
    with deterministic(1), seeded(0):
        training = _pretrained(plan)
        if run is not None and cut_after is None:
            restore(training, newest_checkpoint(run))
        source, feeding = images_of(samples, plan), Feeding(CPU)
        advance = training.advance

        def counted(inputs: Inputs, label: torch.Tensor) -> float:
            if run is not None and training.step == cut_after:
                write_checkpoint(run, training)
                raise InterruptedError
            return advance(inputs, label)

        training.advance = counted  # type: ignore[method-assign] # where the process is killed
        run_training(
            training,
            source,
            feeding,
            on_log=lambda _: None,
            on_checkpoint=lambda _: None,
            looking=looking,
        )
        settle_norms(training, source, feeding)
    return training


def _state(training: Training) -> dict[str, torch.Tensor]:
    average = {f"average.{name}": one for name, one in training.average.state_dict().items()}
    return {name: one.clone() for name, one in (training.tensors() | average).items()}


def _require_equal(whole: Training, resumed: Training) -> None:
    assert (resumed.step, resumed.looks, resumed.log) == (whole.step, whole.looks, whole.log)
    expected, found = _state(whole), _state(resumed)
    assert expected.keys() == found.keys()
    assert [name for name, one in expected.items() if not torch.equal(one, found[name])] == []


def _changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor], prefix: str) -> set[str]:
    names = {name for name in before if name.startswith(prefix)}
    return {name.removeprefix(prefix) for name in names if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_probe_moves_the_last_layer_alone_and_no_figure_of_a_norm(optimizer: str) -> None:
    plan = example_classification(fine_tuning="probe", optimizer=optimizer, weight_decay=0.5)
    with seeded(0):
        before = _state(_pretrained(plan))
    done = _trained(plan)
    assert done.step == 6
    for prefix in ("network.", "average."):
        assert _changed(before, _state(done), prefix) == {"fc.weight", "fc.bias"}
    with_gradients = {name for name, one in done.network.named_parameters() if one.grad is not None}
    assert with_gradients == {"fc.weight", "fc.bias"}


def test_a_gradual_training_thaws_a_stage_at_a_time_and_its_norms_with_it() -> None:
    plan = example_classification(fine_tuning="gradual", thawing=1.0, steps=10, weight_decay=0.5)
    order = ["fc", "layer4", "layer3", "layer2", "layer1", "conv1"]
    with seeded(0):
        training = _pretrained(plan)
        for step in range(10):
            before = _state(training)
            training.advance(torch.randn(4, 1, 16, 12), torch.eye(2).repeat(2, 1))
            changed = _changed(before, _state(training), "network.")
            moving = {name.partition(".")[0].replace("bn1", "conv1") for name in changed}
            # The first stage would thaw with the end of the steps: it still learns in the last one.
            assert moving == set(order if step == 9 else order[: step // 2 + 1]), step
            assert any(name.endswith("running_mean") for name in changed) == (step >= 2)


def test_a_training_cut_while_it_thaws_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    plan = example_classification(
        fine_tuning="gradual", thawing=0.8, steps=14, layer_decay=0.5, mixup=0.3, sampling="balanced"
    )
    whole = _trained(plan)
    for cut in (4, 5, 12):  # stages thaw at the steps 2, 4, 7, 9 and 11
        run = Run(tmp_path / f"{cut}")
        with pytest.raises(InterruptedError):
            _trained(plan, run=run, cut_after=cut)
        _require_equal(whole, _trained(plan, run=run))


def _scripted(losses: list[float], patience: int, every: int = 2) -> Looking:
    """Return a look whose losses are known beforehand, each after so many steps."""
    return Looking(lambda _: losses.pop(0), every, patience)


def test_a_training_ends_after_so_many_looks_without_a_better_loss_and_the_best_average_is_the_model() -> (
    None
):
    losses, averages = [0.1, 0.6, 0.5, 0.7, 0.5, 0.9], []

    def noted(average: torch.nn.Module) -> float:
        averages.append({name: one.detach().clone() for name, one in average.named_parameters()})
        return losses.pop()

    done = _trained(example_classification(steps=40), Looking(noted, 2, 3))
    assert done.step == 10  # the least, 0.5, was first seen after step 4; then three looks were no better
    assert done.looks == [(2, 0.9), (4, 0.5), (6, 0.7), (8, 0.5), (10, 0.6)]
    assert all(torch.equal(one, averages[1][name]) for name, one in done.average.named_parameters())
    assert not torch.equal(averages[1]["fc.weight"], averages[4]["fc.weight"])
    assert [step for step, _, _ in done.log] == [2, 4, 6, 8, 10]


def test_the_last_step_is_looked_at_too() -> None:
    done = _trained(example_classification(steps=7), _scripted([0.4, 0.3], 5, every=4))
    assert done.looks == [(4, 0.4), (7, 0.3)]
    assert torch.equal(done.best["fc.weight"], done.average.state_dict()["fc.weight"])


def test_a_validation_loss_that_is_no_number_stops_the_training() -> None:
    with pytest.raises(InputError, match="The loss on the validation samples is nan after step 2"):
        _trained(example_classification(), _scripted([float("nan")], 1))


def _looking(plan: ClassificationPlan) -> Looking:
    found = looking_at(_samples(6, seed=9), plan)
    assert found is not None
    return found


def test_a_training_with_patience_cut_anywhere_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    plan = example_classification(steps=40, patience=2, validate_every=2, learning_rate=0.2)
    whole = _trained(plan, _looking(plan))
    assert 4 < whole.step < 40
    for cut in (1, whole.step - 1):
        run = Run(tmp_path / f"{cut}")
        with pytest.raises(InterruptedError):
            _trained(plan, _looking(plan), run=run, cut_after=cut)
        _require_equal(whole, _trained(plan, _looking(plan), run=run))


def test_a_training_kept_after_its_last_look_does_no_further_step(tmp_path: Path) -> None:
    plan = example_classification(steps=40, patience=2, validate_every=2, learning_rate=0.2)
    with deterministic(1), seeded(0):
        training = _pretrained(plan)
        for training.step, loss in ((2, 0.1), (4, 0.2), (6, 0.3)):
            training.look(loss)
        write_checkpoint(Run(tmp_path), training)
    assert _trained(plan, _looking(plan), run=Run(tmp_path)).step == 6


def test_a_look_is_the_training_loss_of_whole_validation_images() -> None:
    plan = example_classification(patience=1, label_smoothing=0.2, class_weights=(1.0, 3.0))
    samples = _samples(5, seed=9, labels=(0, 1, None))
    with seeded(0):
        network = _pretrained(plan).average
    looking = looking_at(samples, plan)
    assert looking is not None
    known = [one for one in samples if one.target is not None]
    assert [one.case for one in known] == ["PIC-0", "PIC-1", "PIC-3", "PIC-4"]
    logits = logits_of(network, known, plan, CPU)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    shares = 0.8 * np.eye(2)[[0, 1, 0, 1]] + 0.1
    wanted = -(logs * shares * np.array([1.0, 3.0])).sum(axis=1).mean()
    assert looking.loss(network) == pytest.approx(wanted, rel=1e-6)


def test_patience_wants_validation_samples_and_without_it_nothing_is_looked_at() -> None:
    assert looking_at(_samples(4), example_classification()) is None
    with pytest.raises(ConfigError, match=r"plan\.training\.patience wants a validation side"):
        looking_at(_samples(4, labels=(None,)), example_classification(patience=1))
