"""Nothing that was done is lost: runs that are killed, told to stop, given other data, shared by ranks."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lepton_monai.config.load import load_config
from lepton_monai.core.errors import ConfigError, InputError
from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.plans.plan import read_plan
from lepton_monai.plans.run import Run
from lepton_monai.verbs.predict import predict
from lepton_monai.verbs.preparing import Cache
from lepton_monai.verbs.train import plan_only, train
from tests.verbs.exports import CONFIG, write_config, write_export, write_patient

NAMES = Pseudonyms(b"s" * 32)
CHECKOUT = Path(__file__).parents[2]

STEPS = 400
"""Enough that a process can be killed in their midst."""


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("export")
    write_export(root)
    return root


def task_file(folder: Path, root: Path, steps: int = STEPS) -> Path:
    path = folder / "task.yaml"
    text = CONFIG.format(root=root).replace("steps: 30", f"steps: {steps}")
    path.write_text(text.replace("validation: 0.3", "validation: 0.0"), encoding="utf-8")
    return path


def lepton(folder: Path, root: Path, run: Path, *more: str) -> list[str]:
    (folder / "salt").write_bytes(b"s" * 32)
    command = ["train", str(task_file(folder, root)), "--run", str(run), "--salt", str(folder / "salt")]
    return ["-m", "lepton_monai", *command, "--device", "cpu", "--cache", str(folder / "cache"), *more]


@contextmanager
def started(arguments: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start lepton as a process of its own, whose words on stderr go to a file."""
    with log.open("wb") as words:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=CHECKOUT,
            stdout=words,
            stderr=words,
            env=environment(),
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def finished(arguments: list[str], log: Path) -> None:
    with started(arguments, log) as process:
        assert process.wait() == 0, log.read_text(encoding="utf-8")


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}


def wait_for_step(process: subprocess.Popen[bytes], log: Path, run: Path, step: int) -> None:
    """Wait until the run's own log has come to a step."""
    rows: list[str] = []
    while not rows or int(rows[-1].split(",")[0]) < step:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        time.sleep(0.02)
        if (run / "log.csv").exists():
            rows = (run / "log.csv").read_text(encoding="utf-8").splitlines()[1:]


def final_bytes(run: Path) -> bytes:
    (path,) = run.glob("checkpoints/*/weights.safetensors")
    return path.read_bytes()


@pytest.mark.slow
def test_a_killed_and_a_terminated_run_end_in_the_bytes_of_one_that_was_never_cut(
    export: Path, tmp_path: Path
) -> None:
    whole, cut, log = tmp_path / "whole", tmp_path / "cut", tmp_path / "log"
    finished(lepton(tmp_path, export, whole), log)
    # Told to stop: a checkpoint within five seconds, and the code that says so.
    # Its workers are told too, as `timeout` and schedulers do it.
    plan = ["--plan", str(whole / "plan.yaml"), "--workers", "2"]
    with started(lepton(tmp_path, export, cut, *plan), log) as process:
        wait_for_step(process, log, cut, 100)
        told = time.time()
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM
    newest = Run(cut).checkpoints()[0]
    assert 100 <= newest.step < STEPS
    kept_after = (newest.folder / "state.json").stat().st_mtime - told
    print(f"told to stop, the checkpoint of step {newest.step} stood after {kept_after:.1f} s")
    assert kept_after < 5
    # Killed: what was kept before is there.
    with started(lepton(tmp_path, export, cut, "--resume"), log) as process:
        wait_for_step(process, log, cut, 200)
        process.kill()
    finished(lepton(tmp_path, export, cut, "--resume"), log)
    assert final_bytes(cut) == final_bytes(whole)
    for name in ("log.csv", "plan.yaml", "split.json"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.slow
def test_two_ranks_train_as_one_process_with_twice_the_batch(export: Path, tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    finished(lepton(tmp_path, export, alone, "--set", "plan.training.steps=50"), tmp_path / "log")
    one = ["--set", "plan.training.steps=50", "--set", "plan.training.batch_size=1"]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    # Behind `--`, or torchrun takes --run for an option of its own.
    _, module, *command = lepton(tmp_path, export, together, *one)
    finished([*launcher, "-m", "--", module, *command], tmp_path / "log")
    logs = [(run / "log.csv").read_text(encoding="utf-8").splitlines()[1] for run in (alone, together)]
    losses = [float(line.split(",")[1]) for line in logs]
    print(f"mean loss of 50 steps: {losses[0]} with a batch of 2, {losses[1]} by two ranks")
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_the_plan_is_told_without_a_training(export: Path, tmp_path: Path) -> None:
    plan = plan_only(write_config(tmp_path, export), pseudonyms=NAMES, device="cpu")
    assert plan.training.steps == 30
    assert plan.reasons["training.steps"] == "given by the user"


def test_a_run_is_resumed_by_its_own_config_alone(export: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, export)
    with pytest.raises(InputError, match="no training to resume"):
        train(config, tmp_path / "run", pseudonyms=NAMES, device="cpu", resume=True)
    assert not (tmp_path / "run").exists()
    train(config, tmp_path / "run", pseudonyms=NAMES, device="cpu")
    with pytest.raises(InputError, match="is finished"):
        train(config, tmp_path / "run", pseudonyms=NAMES, device="cpu", resume=True)


def test_a_run_is_not_resumed_by_another_config(export: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    log = tmp_path / "log"
    with started(lepton(tmp_path, export, run), log) as process:
        wait_for_step(process, log, run, 50)
    changed = write_config(tmp_path, export)
    with pytest.raises(ConfigError, match="made by another config: `split`, `plan` differ"):
        train(changed, run, pseudonyms=NAMES, device="cpu", resume=True)
    codes = "{category: [49755003, SCT, Morphologically Abnormal Structure], type: [4147007, SCT, Mass]}"
    shutil.copytree(export, tmp_path / "moved")
    moved = [f"data.labels.codes.ball={codes}", f"data.root={tmp_path / 'moved'}"]
    train(load_config(run / "config.yaml", moved), run, pseudonyms=NAMES, device="cpu", resume=True)
    kept = load_config(run / "config.yaml")
    assert (list(kept.class_codes()), kept.data.root) == (["ball"], tmp_path / "moved")


def test_a_run_is_not_resumed_on_changed_images(export: Path, tmp_path: Path) -> None:
    root, run, log = tmp_path / "export", tmp_path / "run", tmp_path / "log"
    shutil.copytree(export, root)
    with started(lepton(tmp_path, root, run), log) as process:
        wait_for_step(process, log, run, 50)
    split = json.loads((run / "split.json").read_text(encoding="utf-8"))
    key = json.loads((run / "key.json").read_text(encoding="utf-8"))
    name = split["train"][0]["case"]
    path = root / key[name]["patient_id"] / "ct" / "IM0003"
    path.write_bytes(path.read_bytes()[:-2] + b"\x00\x01")
    with pytest.raises(InputError, match=rf"have changed since .* began: {name}\."):
        train(load_config(tmp_path / "task.yaml"), run, pseudonyms=NAMES, device="cpu", resume=True)


def test_a_plan_of_another_task_is_refused(export: Path, tmp_path: Path) -> None:
    done = train(write_config(tmp_path, export), tmp_path / "run", pseudonyms=NAMES, device="cpu")
    other = write_config(tmp_path, export, **{'{ball: "Ball*"}': '{other: "Ball*"}'})
    with pytest.raises(ConfigError, match="another task than the config: classes ball, not other"):
        train(other, tmp_path / "other", pseudonyms=NAMES, plan_file=done.run.plan_path, device="cpu")


def test_a_run_that_was_cut_is_no_model(export: Path, tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    with started(lepton(tmp_path, export, run), log) as process:
        wait_for_step(process, log, run, 50)
    with pytest.raises(InputError, match="isn't finished"):
        predict(run, export, tmp_path / "out", pseudonyms=NAMES, device="cpu")


def test_what_is_replaced_under_its_path_is_read_anew(export: Path, tmp_path: Path) -> None:
    """Prepared cases are found by their voxels: a replaced file can't be mistaken for the old one."""
    root = tmp_path / "export"
    shutil.copytree(export, root)
    cache = Cache(tmp_path / "cache")
    config = write_config(tmp_path, root)
    first = train(config, tmp_path / "first", pseudonyms=NAMES, device="cpu", cache=cache)
    entries = {path.name for path in cache.folder.iterdir()}
    split = json.loads((first.run.folder / "split.json").read_text(encoding="utf-8"))
    key = json.loads((first.run.folder / "key.json").read_text(encoding="utf-8"))
    patient = key[split["train"][0]["case"]]["patient_id"]
    donor = write_patient(tmp_path / "scratch", 99)
    for path in (root / patient / "ct").iterdir():
        pixels = (tmp_path / "scratch" / donor.patient_id / "ct" / path.name).read_bytes()[-880:]
        path.write_bytes(path.read_bytes()[:-880] + pixels)
    again = train(
        config,
        tmp_path / "again",
        pseudonyms=NAMES,
        plan_file=first.run.plan_path,
        device="cpu",
        cache=cache,
    )
    assert len({path.name for path in cache.folder.iterdir()} - entries) == 1
    assert final_bytes(again.run.folder) != final_bytes(first.run.folder)
    assert read_plan(again.run.plan_path) == read_plan(first.run.plan_path)
