"""The loop that fine-tunes a network, cross-validated: it gives held-out outputs of all samples.

A network is trained without each fold, then on all samples. The number of epochs is that of the
least held-out log-loss after calibration. In a group of processes each takes its share of every
batch and the gradients are averaged, so that the result is as that of one process.

Suffixes: N samples, E epochs, C outputs, B rows of a batch.
"""

import random
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from umc_ray.methods.group import all_sum, place
from umc_ray.records import FloatArray, IntArray
from umc_ray.specialists.full import Full
from umc_ray.specialists.network import Network
from umc_ray.specialists.specialist import Epoch, OnEpoch, Tensors
from umc_ray.tasks.task import Targets, TaskKind

BATCH = 16
FOLDS, READER_FOLDS = 3, 2
"""At most: with each more, all of it takes a training longer, and readers take long."""

OUTPUT_RATE = 1e-3
"""Of the new layer, which is not pretrained."""

WARM_UP, WEIGHT_DECAY, MAX_NORM = 0.1, 0.01, 1.0

SORTED_BATCHES = 8
"""Batches among which samples are sorted by length: texts are padded to the longest of a batch."""


@dataclass(frozen=True)
class Tuned:
    """A trained network, and what its cross-validation said."""

    network: Network
    held_out_NC: FloatArray
    epochs: int
    loss: float


def most_folds(kind: TaskKind) -> int:
    """Return into how many folds the samples of a kind are divided at most."""
    return READER_FOLDS if kind.learned_from == "tokens" else FOLDS


class FineTuning:
    """Fine-tunes a network on samples of which `tuning` knows the payloads."""

    def __init__(
        self,
        tuning: Full,
        kind: TaskKind,
        targets: Targets,
        weights_N: FloatArray,
        folds_N: IntArray,
        sizes_N: Sequence[int],
        *,
        training_weights_N: FloatArray,
        epochs: int,
        learning_rate: float,
        accumulate: int,
        seed: int,
        on_epoch: OnEpoch,
        resume: Tensors | None = None,
    ) -> None:
        self.tuning, self.kind, self.sizes_N = tuning, kind, sizes_N
        self.device = tuning.encoder.device
        self.targets = torch.from_numpy(targets).to(self.device)
        self.weights_N = torch.from_numpy(weights_N)
        self.training_weights_N = torch.from_numpy(training_weights_N).to(self.device)
        self.folds_N = folds_N % most_folds(kind)
        self.epochs, self.learning_rate, self.seed = epochs, learning_rate, seed
        self.accumulate = accumulate
        self.on_epoch, self.resume = on_epoch, resume
        self.held_out_ENC = torch.zeros(epochs, len(targets), kind.outputs)
        self.losses_EN = torch.zeros(epochs, len(targets))  # held out, of networks that write
        if resume is not None:
            self.held_out_ENC, self.losses_EN = resume["held_out"], resume["losses"]

    def run(self) -> Tuned:
        """Train without each fold, choose the number of epochs, and train on all samples."""
        folds = np.unique(self.folds_N).tolist()
        began = 0 if self.resume is None else int(self.resume["place"][0])
        with torch.random.fork_rng():
            for stage, fold in enumerate(folds):
                if stage >= began:
                    held_out = np.flatnonzero(self.folds_N == fold).tolist()
                    rows = np.flatnonzero(self.folds_N != fold).tolist()
                    self._train(stage, rows or held_out, held_out, self.epochs)
            losses_E = self._losses()
            best = int(np.argmin(losses_E))
            network = self._train(len(folds), list(range(len(self.folds_N))), [], best + 1)
        return Tuned(network, self.held_out_ENC[best].numpy(), best + 1, losses_E[best])

    def _losses(self) -> list[float]:
        """Return the held-out log-loss after each epoch, calibrated."""
        targets, weights_N = self.targets.cpu(), self.weights_N
        if self.tuning.answers.writes:
            mean_E: list[float] = (self.losses_EN @ weights_N / weights_N.sum()).tolist()
            return mean_E
        losses = []
        for outputs_NC in self.held_out_ENC:
            fitted = self.kind.calibrate(outputs_NC.numpy(), targets.numpy(), weights_N.numpy())
            probs_NC = self.kind.activation([fitted])(outputs_NC[None])[0]
            loss_N = self.kind.log_loss(probs_NC, targets)
            losses.append(float(loss_N @ weights_N / weights_N.sum()))
        return losses

    def _train(
        self, stage: int, rows: Sequence[int], held_out: Sequence[int], epochs: int
    ) -> Network:
        torch.manual_seed(hash((self.seed, stage)))
        network = self.tuning.network(self.tuning.answers.width(self.kind)).to(self.device)
        module = _distributed(network)
        optimizer = _optimizer(network, self.learning_rate)
        begun = self._restore(stage, network, optimizer)
        per_epoch = len(range(0, len(rows), BATCH * self.accumulate))
        steps = self.epochs * per_epoch
        for epoch in range(begun, epochs):
            torch.manual_seed(hash((self.seed, stage, epoch)))
            started, losses = time.perf_counter(), []
            module.train()
            step = epoch * per_epoch
            for number, batches in enumerate(self._steps(rows, stage, epoch)):
                losses.append(self._step(module, optimizer, batches, _rate(step + number, steps)))
            module.eval()
            self._predict(module, held_out, epoch)
            speed = len(rows) / (time.perf_counter() - started)
            done = Epoch(stage, epoch, float(np.mean(losses)), len(rows), speed)
            self.on_epoch(done, partial(self._state, stage, epoch + 1, network, optimizer))
        return network

    def _step(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        batches: Sequence[Sequence[int]],
        rate: float,
    ) -> float:
        """Take one step on some batches as if they were one.

        Returns the weighted mean loss of the batches, of all processes.
        """
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * rate
        optimizer.zero_grad()
        weight = torch.stack([self.training_weights_N[batch].sum() for batch in batches]).sum()
        losses = []
        for number, batch in enumerate(batches, 1):
            with _averaging(module, number == len(batches)):
                losses.append(self._add_gradient(module, batch, weight))
        nn.utils.clip_grad_norm_(_trained(module), MAX_NORM)
        optimizer.step()
        return float(all_sum(torch.stack(losses).sum()))

    def _add_gradient(self, module: nn.Module, batch: Sequence[int], weight: Tensor) -> Tensor:
        """Add the gradient of this process's share of a batch to those that are there.

        Returns its share of the step's loss, of which all samples have the weight.
        """
        rank, world = place()
        mine = batch[rank::world] or batch[:1]
        # The batch's first row stands in where there are fewer rows than processes.
        counts = float(len(batch) > rank)
        with self.tuning.encoder.autocast():
            logits = self.tuning.outputs(module, mine).float()
        samples, targets = self.tuning.samples(mine), self.targets[mine]
        losses_B = self.tuning.answers.losses(logits, samples, targets, self.kind)
        share = (losses_B @ self.training_weights_N[mine]) * counts / weight
        # Processes average their gradients, whose sum is wanted.
        (share * world).backward()  # type: ignore[no-untyped-call]
        return share.detach()

    @torch.inference_mode()
    def _predict(self, module: nn.Module, rows: Sequence[int], epoch: int) -> None:
        """Store the outputs of held-out rows; the processes share them.

        Networks that write do so only where they have become better: it takes them long.
        """
        if not rows:
            return
        network, (rank, world) = _plain(module), place()
        by_length = sorted(rows, key=self.sizes_N.__getitem__)
        batches = [by_length[start : start + BATCH] for start in range(0, len(rows), BATCH)]
        mine = batches[rank::world]
        if self.tuning.answers.writes and not self._improves(network, rows, mine, epoch):
            self.held_out_ENC[epoch, rows] = self.held_out_ENC[epoch - 1, rows]
            return
        found_NC = torch.zeros(len(self.folds_N), self.kind.outputs, device=self.device)
        for batch in mine:
            with self.tuning.encoder.autocast():
                found_NC[batch] = self.tuning.answer(network, batch)
        self.held_out_ENC[epoch] += all_sum(found_NC).cpu()

    def _improves(
        self, network: Network, rows: Sequence[int], mine: Sequence[Sequence[int]], epoch: int
    ) -> bool:
        """Store the losses of held-out rows; return whether they are lower than ever before."""
        losses_N = torch.zeros(len(self.folds_N), device=self.device)
        for batch in mine:
            with self.tuning.encoder.autocast():
                logits = self.tuning.outputs(network, batch).float()
            samples, targets = self.tuning.samples(batch), self.targets[batch]
            losses_N[batch] = self.tuning.answers.losses(logits, samples, targets, self.kind)
        self.losses_EN[epoch] += all_sum(losses_N).cpu()
        mean_E = self.losses_EN[: epoch + 1, rows].mean(1)
        return int(mean_E.argmin()) == epoch

    def _steps(self, rows: Sequence[int], stage: int, epoch: int) -> list[list[list[int]]]:
        """Shuffle rows into batches of similar length; returns those of each step."""
        draw = random.Random(f"{self.seed} {stage} {epoch}")
        shuffled = draw.sample(rows, len(rows))
        size = SORTED_BATCHES * BATCH
        batches = []
        for start in range(0, len(rows), size):
            block = sorted(shuffled[start : start + size], key=self.sizes_N.__getitem__)
            batches += [block[i : i + BATCH] for i in range(0, len(block), BATCH)]
        draw.shuffle(batches)
        return [batches[i : i + self.accumulate] for i in range(0, len(batches), self.accumulate)]

    def _state(
        self, stage: int, epoch: int, network: Network, optimizer: torch.optim.Optimizer
    ) -> Tensors:
        """Return all that is needed to resume after an epoch, as flat tensors."""
        moments = {
            f"optimizer.{number}.{name}": value
            for number, values in optimizer.state_dict()["state"].items()
            for name, value in values.items()
        }
        trained = {f"network.{n}": p for n, p in network.named_parameters() if p.requires_grad}
        place = {"place": torch.tensor([stage, epoch]), "held_out": self.held_out_ENC}
        place |= {"losses": self.losses_EN}
        tensors = {**moments, **trained, **place}
        return {name: value.detach().cpu().clone() for name, value in tensors.items()}

    def _restore(self, stage: int, network: Network, optimizer: torch.optim.Optimizer) -> int:
        """Continue where the state to resume from was taken; returns the epochs that are done."""
        state = self.resume
        if state is None or int(state["place"][0]) != stage:
            return 0
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if parameter.requires_grad:
                    parameter.copy_(state[f"network.{name}"])
        moments: dict[int, Tensors] = {}
        for name, value in state.items():
            if name.startswith("optimizer."):
                _, number, moment = name.split(".")
                moments.setdefault(int(number), {})[moment] = value
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": moments, "param_groups": groups})
        return int(state["place"][1])


def _distributed(network: Network) -> nn.Module:
    if place()[1] == 1:
        return network
    # A network may have parameters that the embedding does not go through.
    return DistributedDataParallel(network, find_unused_parameters=True)


def _averaging(module: nn.Module, last: bool) -> AbstractContextManager[None]:
    """Have processes average their gradients after the last batch of a step only."""
    if last or not isinstance(module, DistributedDataParallel):
        return nullcontext()
    waiting: AbstractContextManager[None] = module.no_sync()
    return waiting


def _plain(module: nn.Module) -> Network:
    """Return the network itself: processes that predict do not wait for each other."""
    plain = module.module if isinstance(module, DistributedDataParallel) else module
    assert isinstance(plain, Network)
    return plain


def _trained(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def _optimizer(network: Network, learning_rate: float) -> torch.optim.Optimizer:
    output = list(network.output.parameters())
    groups = [
        {"params": output, "peak": OUTPUT_RATE},
        {"params": _trained(network.model), "peak": learning_rate},
    ]
    return torch.optim.AdamW(groups, lr=0.0, weight_decay=WEIGHT_DECAY)


def _rate(step: int, steps: int) -> float:
    """Return the share of the peak learning rate: a short rise, then a fall to zero."""
    rise = (step + 1) / (WARM_UP * steps + 1)
    return min(rise, (steps - step) / steps)
