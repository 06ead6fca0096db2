#!/usr/bin/env python3
"""Training steps of DLRM as a PyTorch user writes them, timed.

Tables are `nn.EmbeddingBag`s with sparse gradients, one optimizer moves everything, ids are drawn from a Zipf distribution, and batches
lie ready in host memory. Placements: `cpu`; `device`, with all tables there; `cpu-device`, with tables in host memory and the network on
the device. Prints one JSON object.
"""

import argparse
import json
import math
import statistics
import time

import torch
from torch import nn

SHAPES = {
    "kaggle": ([13, 512, 256, 64, 16], [512, 256, 1]),
    "terabyte": ([13, 512, 256, 64], [512, 512, 256, 1]),
}
TABLES = 26
BATCHES = 32


def layers(widths, last):
    steps = []
    for k, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
        steps.append(nn.Linear(inputs, outputs))
        if k + 2 < len(widths) or last:
            steps.append(nn.ReLU())
    return nn.Sequential(*steps)


def table(rows, dim, device=None):
    bound = rows**-0.5
    weights = torch.empty(rows, dim, device=device).uniform_(-bound, bound)
    return nn.EmbeddingBag.from_pretrained(weights, freeze=False, mode="sum", sparse=True)


class Dlrm(nn.Module):
    """From dense features `[batch, features]` and, per table, `batch` ids to the top MLP's output `[batch, top[-1]]`."""

    def __init__(self, bottom, top, rows, relu_last=False, network=None, tables=None):
        super().__init__()
        self.dim, features = bottom[-1], len(rows) + 1
        self.tables = nn.ModuleList(table(count, self.dim, tables) for count in rows)
        self.bottom = layers(bottom, last=True).to(network)
        self.top = layers([self.dim + math.comb(features, 2), *top], last=relu_last).to(network)
        self.lower = torch.tril_indices(features, features, -1, device=network)

    def forward(self, dense, ids, offsets):
        x = self.bottom(dense)
        pooled = [bag(ids[k], offsets).to(x.device, non_blocking=True) for k, bag in enumerate(self.tables)]
        vectors = torch.cat([x, *pooled], 1).view(len(x), -1, self.dim)
        products = torch.bmm(vectors, vectors.transpose(1, 2))[:, self.lower[0], self.lower[1]]
        return self.top(torch.cat([x, products], 1))


def zipf_ids(rows, count, exponent, generator):
    weights = torch.arange(1, rows + 1, dtype=torch.float64).pow(-exponent).cumsum(0)
    drawn = torch.rand(count, dtype=torch.float64, generator=generator) * weights[-1]
    return torch.searchsorted(weights, drawn).clamp_(max=rows - 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="kaggle")
    parser.add_argument("--placement", choices=["cpu", "device", "cpu-device"], default="cpu")
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--rows", type=int, default=100_000, help="rows of every table")
    parser.add_argument("--exponent", type=float, default=1.1, help="of the Zipf distribution")
    parser.add_argument("--optimizer", choices=["sgd", "adagrad"], default="sgd")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    network = "cpu" if options.placement == "cpu" else "cuda"
    tables = "cuda" if options.placement == "device" else "cpu"
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(2)
    bottom, top = SHAPES[options.shape]
    model = Dlrm(bottom, top, [options.rows] * TABLES, network=network, tables=tables)
    make = torch.optim.SGD if options.optimizer == "sgd" else torch.optim.Adagrad
    optimizer = make(model.parameters(), lr=0.1)
    loss = nn.BCEWithLogitsLoss()
    size, pinned = options.batch_size, network == "cuda"

    def ready(tensor):
        return tensor.pin_memory() if pinned else tensor

    batches = []
    for _ in range(BATCHES):
        dense = ready(torch.rand(size, bottom[0], generator=generator))
        drawn = [zipf_ids(options.rows, size, options.exponent, generator) for _ in range(TABLES)]
        labels = ready(torch.randint(0, 2, (size,), generator=generator).float())
        batches.append((dense, ready(torch.stack(drawn)), labels))
    offsets = torch.arange(size, device=tables)

    def step(number):
        dense, ids, labels = batches[number % BATCHES]
        dense, labels = (tensor.to(network, non_blocking=True) for tensor in (dense, labels))
        optimizer.zero_grad(set_to_none=True)
        logits = model(dense, ids.to(tables, non_blocking=True), offsets).squeeze(1)
        loss(logits, labels).backward()
        optimizer.step()

    def wait():
        if network == "cuda":
            torch.cuda.synchronize()

    for number in range(20):
        step(number)
    # Ten stretches, each waited for at its end alone, as a training loop does.
    times, stretch = [], max(1, options.steps // 10)
    for first in range(0, options.steps, stretch):
        wait()
        start = time.perf_counter()
        for number in range(first, first + stretch):
            step(number)
        wait()
        times.append((time.perf_counter() - start) / stretch)
    seconds = statistics.median(times)
    name = torch.cuda.get_device_name() if network == "cuda" else "cpu"
    print(json.dumps({**vars(options), "device": name, "torch": torch.__version__, "seconds_a_step": seconds, "samples_per_second": size / seconds}))


if __name__ == "__main__":
    main()
