#!/usr/bin/env python3
"""The PyTorch side of a comparison: a program that is told what to run, so that it can take turns with another one.

Requests come as JSON lines on standard input; each gets one JSON line on standard output. Before the first one,
`{"torch": version, "threads": count}` is printed.

  {"prepare": {"case": name, ...parameters}}  ->  {"ready": true, "units": units of work in a repetition}
  {"run": repetitions}                        ->  {"seconds": time of these repetitions}
  anything that fails                         ->  {"error": text}

A case is a function of `CASES` below, the parameters are its arguments; preparing one frees the last and warms the new one up. Every
repetition takes the next of the prepared batches, round and round. One unit is a sample, a sequence, or a looked-up row.

The models are those of facebookresearch's DLRM and TBSM: one `nn.EmbeddingBag` with sparse gradients per table, one id per bag, a loss on
logits, one optimizer for all parameters. Left out is what costs the originals time for nothing: indices of the interaction that are
rebuilt at every call, a graph retained after its backward pass, counts of correct answers.
"""

import argparse
import gc
import itertools
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import normalize

from pytorch_steps import Dlrm, layers, table, zipf_ids

OPTIMIZERS = {"sgd": torch.optim.SGD, "adagrad": torch.optim.Adagrad}
# Random labels teach nothing; a small rate keeps the values finite however long the comparison takes.
LEARNING_RATE = 1e-3
WARM_UP = 5


class Case(NamedTuple):
    units: int
    step: Callable
    batches: Iterator[tuple]

    def run(self, repetitions):
        for batch in itertools.islice(self.batches, repetitions):
            self.step(*batch)


class Tbsm(nn.Module):
    """TBSM at its Taobao shape: the tower makes a vector of each position, the last of them, the candidate, attends to the others.

    A style, that is a subclass, says how the tower goes over the positions, and how the inputs lie for that.
    """

    HISTORY, VECTOR = 20, 15
    POSITIONS = HISTORY + 1

    def __init__(self, rows):
        super().__init__()
        self.tower = Dlrm([1, 16], [15, self.VECTOR], rows, relu_last=True)
        self.inner = nn.Parameter(torch.randn(1, self.VECTOR, self.VECTOR) * self.VECTOR**-0.5)
        self.attention = nn.Sequential(layers([self.HISTORY, 15, 15, self.HISTORY], last=False), nn.Sigmoid())
        self.head = layers([2 * self.VECTOR, 60, 1], last=False)

    def forward(self, dense, ids, offsets):
        history, candidate = self.vectors(dense, ids, offsets)
        turned = self.inner.transpose(1, 2) @ (self.inner @ candidate.unsqueeze(2))
        weights = self.attention(torch.bmm(history, turned).squeeze(2))
        context = torch.bmm(weights.unsqueeze(1), history).squeeze(1)
        return self.head(torch.cat([context, candidate], 1))


class LoopTbsm(Tbsm):
    """The original's way: a pass of the tower for each position, written into the history."""

    @staticmethod
    def arrange(values):
        """From `[..., batch, positions]` to `[positions, ..., batch]`."""
        return values.movedim(-1, 0).contiguous()

    def vectors(self, dense, ids, offsets):
        history = torch.zeros(len(offsets), self.HISTORY, self.VECTOR)
        for t in range(self.HISTORY):
            history[:, t] = normalize(self.tower(dense[t].unsqueeze(1), ids[t], offsets), dim=1)
        return history, normalize(self.tower(dense[-1].unsqueeze(1), ids[-1], offsets), dim=1)


class BatchedTbsm(Tbsm):
    """What a careful user writes: one pass of the tower over all positions of all sequences."""

    @staticmethod
    def arrange(values):
        """From `[..., batch, positions]` to `[..., batch * positions]`."""
        return values.flatten(-2)

    def vectors(self, dense, ids, offsets):
        vectors = normalize(self.tower(dense.unsqueeze(1), ids, offsets), dim=1).view(-1, self.POSITIONS, self.VECTOR)
        return vectors[:, :-1], vectors[:, -1]


def draw_ids(rows, exponent, *shape):
    """Zipf-distributed ids `[tables, *shape]`. Tables of equal size share one draw: its weights take long to sum."""
    count = math.prod(shape)
    draws = {size: iter(zipf_ids(size, rows.count(size) * count, exponent, torch.default_generator).split(count)) for size in set(rows)}
    return torch.stack([next(draws[size]).view(shape) for size in rows])


def draw_labels(batch):
    return torch.randint(0, 2, (batch, 1)).float()


def training(model, optimizer):
    loss = nn.BCEWithLogitsLoss()
    optimizer = OPTIMIZERS[optimizer](model.parameters(), lr=LEARNING_RATE)

    def step(labels, *inputs):
        optimizer.zero_grad()
        loss(model(*inputs), labels).backward()
        optimizer.step()

    return step


def inference(model):
    model.eval()

    @torch.inference_mode()
    def step(_labels, *inputs):
        model(*inputs)

    return step


def dlrm(make_step, bottom, top, rows, batch, exponent, batches):
    ids, offsets = draw_ids(rows, exponent, batches, batch), torch.arange(batch)
    data = [(draw_labels(batch), torch.rand(batch, bottom[0]), ids[:, k].contiguous(), offsets) for k in range(batches)]
    return Case(batch, make_step(Dlrm(bottom, top, rows)), itertools.cycle(data))


def dlrm_train(bottom, top, rows, batch, exponent, optimizer="sgd", batches=16):
    return dlrm(lambda model: training(model, optimizer), bottom, top, rows, batch, exponent, batches)


def dlrm_infer(bottom, top, rows, batch, exponent, optimizer=None, batches=16):
    """Takes the parameters of `dlrm_train`, the optimizer for nothing."""
    return dlrm(inference, bottom, top, rows, batch, exponent, batches)


def tbsm_train(rows, batch, exponent, style="loop", batches=16):
    """The user stays the same over a sequence, the category is a function of the item, the dense feature is the position."""
    model = {"loop": LoopTbsm, "batched": BatchedTbsm}[style](rows)
    users, items = draw_ids(rows[:2], exponent, batches, batch, Tbsm.POSITIONS)
    users = users[..., :1].expand_as(items)
    # A hash into [0, 1); the square makes low categories more frequent.
    share = (items * 0x9E3779B9 % 2**32).double() / 2**32
    ids = torch.stack([users, items, (rows[2] * share.square()).long()], 1)
    dense = model.arrange((torch.arange(Tbsm.POSITIONS) / Tbsm.POSITIONS).expand(batch, -1))
    offsets = torch.arange(dense.size(-1))
    data = [(draw_labels(batch), dense, model.arrange(ids[k]), offsets) for k in range(batches)]
    return Case(batch, training(model, "adagrad"), itertools.cycle(data))


def row_update(tables, rows, dim, batch, exponent, optimizer, batches=8):
    """The optimizer's step alone, on gradients as the backward pass of an `nn.EmbeddingBag` leaves them."""
    weights = [table(rows, dim).weight for _ in range(tables)]
    optimizer = OPTIMIZERS[optimizer](weights, lr=LEARNING_RATE)
    ids = draw_ids([rows] * tables, exponent, batches, batch)

    def sparse_gradient(ids):
        values = 1e-3 * torch.randn(batch, dim)
        return torch.sparse_coo_tensor(ids.unsqueeze(0), values, (rows, dim), check_invariants=False, is_coalesced=False)

    # Optimizers coalesce into a new tensor, so a gradient comes back as uncoalesced as it was, and coalescing is timed at every repetition.
    def step(*gradients):
        for weight, gradient in zip(weights, gradients):
            weight.grad = gradient
        optimizer.step()

    data = [tuple(sparse_gradient(ids[t, k]) for t in range(tables)) for k in range(batches)]
    return Case(tables * batch, step, itertools.cycle(data))


CASES = {case.__name__: case for case in (dlrm_train, dlrm_infer, tbsm_train, row_update)}


def prepare(case, **parameters):
    torch.manual_seed(1)
    prepared = CASES[case](**parameters)
    prepared.run(WARM_UP)
    return prepared


def serve(requests: Iterable[str]):
    """One answer per request, in order."""
    prepared = None
    for line in requests:
        try:
            match json.loads(line):
                case {"prepare": parameters}:
                    # Two cases may not fit into memory together.
                    prepared = None
                    gc.collect()
                    prepared = prepare(**parameters)
                    yield {"ready": True, "units": prepared.units}
                case {"run": _} if prepared is None:
                    raise ValueError("nothing is prepared")
                case {"run": repetitions}:
                    start = time.perf_counter()
                    prepared.run(repetitions)
                    yield {"seconds": time.perf_counter() - start}
                case other:
                    raise ValueError(f"unknown request {other}")
        except Exception as error:
            yield {"error": f"{type(error).__name__}: {error}"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, required=True)
    torch.set_num_threads(parser.parse_args().threads)
    # Off is the default; saying so silences a warning of Adagrad's.
    torch.sparse.check_sparse_tensor_invariants.disable()
    greeting = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    for answer in itertools.chain([greeting], serve(sys.stdin)):
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
