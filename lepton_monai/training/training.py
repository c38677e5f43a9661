"""A training between two steps: everything that the next step depends on."""

import copy
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

import torch

from lepton_monai.core.errors import ConfigError
from lepton_monai.data.batch import Inputs, changed
from lepton_monai.plans.plan import Precision
from lepton_monai.plans.recipe import Recipe
from lepton_monai.training.groups import fitting, let_learn, parameter_groups, train_mode
from lepton_monai.training.ranks import mean_over_ranks
from lepton_monai.training.stages import Stages, first_steps, rate_factors, stages_of

PRECISIONS: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

MOMENTUM = 0.99
"""Of SGD with Nesterov's correction: nnU-Net's."""


Loss = Callable[[Any, torch.Tensor], torch.Tensor]
"""Of what the network gives and what is wanted of it."""


class Trained(Protocol):
    """A plan, of any task, that says how the weights move."""

    @property
    def training(self) -> Recipe:
        """Every number of it."""
        ...


class Training:
    """A network in training, with its running average, its optimizer and the step it is at.

    Parameters
    ----------
    plan
        Every number.
    device
        Where to compute.
    network
        To start from.
    loss
        To make small.
    pretrained
        Names of parameters that came from other weights.

    Attributes
    ----------
    step
        Steps done.
    losses
        Of the steps since the last line of the log.
    log
        Step, mean loss and learning rate, line by line.
    average
        The running average of the weights, which is the model.
    looks
        Step and validation loss of the average, where it was looked at.
    best
        The tensors of the average with the least of these losses.
    """

    def __init__(
        self,
        plan: Trained,
        device: torch.device,
        network: torch.nn.Module,
        loss: Loss,
        pretrained: Collection[str] = (),
    ) -> None:
        self.plan = plan
        self.pretrained = frozenset(pretrained)
        self.step = 0
        self.losses: list[float] = []
        self.log: list[tuple[int, float, float]] = []
        self.looks: list[tuple[int, float]] = []
        self.best: dict[str, torch.Tensor] = {}
        network = network.to(device)
        self._format = _memory_format(network, channels_last=plan.training.channels_last)
        network.to(memory_format=self._format)  # type: ignore[call-overload] # torch's stubs lack it alone
        stages = stages_of(network, self.pretrained)
        self._learns_from = _learns_from(network, stages, plan.training)
        self.network = network
        self.average = copy.deepcopy(network).eval()
        self._thaw()
        self._forward = _distributed(_compiled(self.network, plan.training), device)
        self._optimizer = _optimizer(self.network, plan.training, rate_factors(stages, plan.training))
        self._loss = loss
        precision = plan.training.precision
        self._autocast = torch.autocast(
            device.type, dtype=PRECISIONS[precision], enabled=precision != "float32"
        )
        self._scaler = torch.GradScaler(device.type, enabled=precision == "float16")

    def advance(self, inputs: Inputs, label: torch.Tensor) -> float:
        """Do one step and return its loss; NaN, and nothing moves, where loss or gradients aren't finite.

        In float16 infinite gradients are usual: the scaler leaves out the step and scales less.
        """
        training = self.plan.training
        if self.step in self._learns_from.values():
            self._thaw()
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(training, self.step) * group["factor"]
        self._optimizer.zero_grad(set_to_none=True)
        with self._autocast:
            outputs = self._forward(changed(inputs, self._laid_out))
        loss = self._loss(outputs, label)
        value = mean_over_ranks(loss.detach())
        if value - value != 0.0:  # NaN or infinite
            return value
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(self._optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), max_norm=training.clip_norm)
        if not self._scaler.is_enabled() and not bool(torch.isfinite(norm)):
            return float("nan")
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self.step += 1
        _move_average(self.average, self.network, min(training.average_decay, self.step / (self.step + 9)))
        return value

    def look(self, loss: float) -> None:
        """Note the validation loss of the average, and keep it where no earlier one was as good."""
        if not self.looks or loss < min(before for _, before in self.looks):
            self.best = {name: tensor.clone() for name, tensor in self.average.state_dict().items()}
        self.looks.append((self.step, loss))

    def take_best(self) -> None:
        """Let the best average be the model; without a look the last one stays it."""
        if self.best:
            self.average.load_state_dict(self.best)

    def _laid_out(self, tensor: torch.Tensor) -> torch.Tensor:
        """Lay an image out as the network has it; values have no channels to lay out."""
        return tensor.contiguous(memory_format=self._format) if tensor.ndim > 2 else tensor

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return all tensors that the next step depends on but the average, by unique names."""
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for number, state in self._optimizer.state_dict()["state"].items():
            for name, value in state.items():
                if value is not None:
                    tensors[f"optimizer.{number}.{name}"] = torch.as_tensor(value)
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        tensors["random.cpu"] = torch.random.get_rng_state()
        if torch.cuda.is_available():
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        return tensors

    def values(self) -> dict[str, Any]:
        """Return what is no tensor, as JSON has it."""
        return {
            "step": self.step,
            "losses": self.losses,
            "log": self.log,
            "looks": self.looks,
            "scaler": self._scaler.state_dict(),
            "pretrained": sorted(self.pretrained),
        }

    def restore(
        self,
        average: Mapping[str, torch.Tensor],
        tensors: Mapping[str, torch.Tensor],
        values: Mapping[str, Any],
    ) -> None:
        """Go back to where :meth:`tensors` and :meth:`values` were taken."""
        self.average.load_state_dict(dict(average))
        self.network.load_state_dict(_under(tensors, "network."))
        states: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in _under(tensors, "optimizer.").items():
            number, _, key = name.partition(".")
            states.setdefault(int(number), {})[key] = tensor
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": states, "param_groups": groups})
        self._scaler.load_state_dict(values["scaler"])
        torch.random.set_rng_state(tensors["random.cpu"])
        if "random.cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["random.cuda"])
        self.step = int(values["step"])
        self._thaw()
        self.losses = [float(one) for one in values["losses"]]
        self.log = [(int(step), float(loss), float(rate)) for step, loss, rate in values["log"]]
        self.looks = [(int(step), float(loss)) for step, loss in values.get("looks", [])]
        self.best = _under(tensors, "best.")

    def _thaw(self) -> None:
        """Let learn what learns at this step: the step alone decides, so a resumed training does it too."""
        names = {name for name, step in self._learns_from.items() if step <= self.step}
        let_learn(self.network, names)
        let_learn(self.average, names)  # whose norms are settled at the end, unless they are frozen
        train_mode(self.network)


def learning_rate(training: Recipe, step: int) -> float:
    """Return the rate of a step: a linear warm-up, then the schedule's fall to zero at the last one."""
    if step < training.warm_up_steps:
        return training.learning_rate * (step + 1) / training.warm_up_steps
    return float(training.learning_rate * SCHEDULES[training.schedule](step / training.steps))


def _polynomial(done: float) -> float:
    return float((1.0 - done) ** 0.9)


def _cosine(done: float) -> float:
    return float(0.5 + 0.5 * torch.cos(torch.tensor(torch.pi * done, dtype=torch.float64)))


SCHEDULES = {"polynomial": _polynomial, "cosine": _cosine}


def _learns_from(network: torch.nn.Module, stages: Stages, training: Recipe) -> dict[str, int]:
    """Return the step from which on each parameter learns, of those that ever do."""
    if training.fine_tuning == "gradual" and _has_ranks():
        message = (
            "plan.training.fine_tuning `gradual` is for one process: several agree on one set of "
            "parameters before the first step. Start it without torchrun, or with `all` or `probe`."
        )
        raise ConfigError(message)
    frozen = set(fitting(network, training.frozen))
    names = [name for name, _ in network.named_parameters() if name not in frozen]
    found = first_steps(names, stages, training)
    if not found:
        message = (
            f"plan.training leaves nothing to learn: `fine_tuning` is {training.fine_tuning}, "
            f"`frozen` is {', '.join(training.frozen) or 'empty'}."
        )
        raise ConfigError(message)
    return found


def _optimizer(
    network: torch.nn.Module, training: Recipe, factors: Mapping[str, float]
) -> torch.optim.Optimizer:
    groups = parameter_groups(network, factors, training.learning_rate, training.weight_decay)
    if training.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=training.learning_rate, momentum=MOMENTUM, nesterov=True)
    return torch.optim.AdamW(groups, lr=training.learning_rate)


def _memory_format(network: torch.nn.Module, *, channels_last: bool) -> torch.memory_format:
    if not channels_last:
        return torch.contiguous_format
    flat = all(parameter.ndim < 5 for parameter in network.parameters())
    return torch.channels_last if flat else torch.channels_last_3d


def _compiled(network: torch.nn.Module, training: Recipe) -> torch.nn.Module:
    return torch.compile(network) if training.compiled else network  # type: ignore[return-value]


def _has_ranks() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _distributed(network: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """Let the gradients of all ranks be averaged, where there are several."""
    if not _has_ranks():
        return network
    ids = [device] if device.type == "cuda" else None
    # MONAI's transformers have parameters that no output depends on: the ranks would wait for them.
    return torch.nn.parallel.DistributedDataParallel(network, device_ids=ids, find_unused_parameters=True)


def _move_average(average: torch.nn.Module, network: torch.nn.Module, decay: float) -> None:
    """Move the running average of the weights a little towards the network."""
    with torch.no_grad():
        for kept, new in zip(average.parameters(), network.parameters(), strict=True):
            kept.lerp_(new, 1.0 - decay)
        for held, current in zip(average.buffers(), network.buffers(), strict=True):
            held.copy_(current)


def _under(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}
