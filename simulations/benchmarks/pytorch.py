"""The encoder of the benchmarks with PyTorch's own modules: a frozen base, a bottleneck after the feed-forward of some layers, a head on the
first token, AdamW over what is trained. Reads orders as JSON lines and answers each with one; its first line says what it runs on.

Words: a folder with `model.safetensors` (the base), `adapter.safetensors` (start values) and `step.json` (sizes, texts, settings).
"""

import json
import os
import resource
import sys
import time

import numpy
import torch
from torch import nn

folder = sys.argv[1]
with open(os.path.join(folder, "step.json"), encoding="utf8") as file:
    settings = json.load(file)
torch.set_num_threads(settings["threads"])
heads, width, rank = settings["heads"], settings["width"], settings["rank"]
epsilon = 1e-12


def read_tensors(name):
    """Tensors of a safetensors file of float32 by name, one after the other."""
    path = os.path.join(folder, name)
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        for key, entry in header.items():
            if key == "__metadata__":
                continue
            start, end = entry["data_offsets"]
            file.seek(8 + size + start)
            values = numpy.fromfile(file, dtype=numpy.float32, count=(end - start) // 4)
            yield key, torch.from_numpy(values.reshape(entry["shape"]))


class Attention(nn.Module):
    """What `nn.MultiheadAttention` computes, with BERT's three maps."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.dense = (nn.Linear(width, width) for _ in range(4))

    def forward(self, rows, mask):
        batch, sequence, _ = rows.shape
        size = width // heads

        def split(states):
            return states.view(batch, sequence, heads, size).transpose(1, 2).reshape(batch * heads, sequence, size)

        q, k, v = split(self.query(rows) / size**0.5), split(self.key(rows)), split(self.value(rows))
        shares = torch.softmax(torch.baddbmm(mask, q, k.transpose(1, 2)), dim=-1)
        mixed = torch.bmm(shares, v).view(batch, heads, sequence, size).transpose(1, 2)
        return self.dense(mixed.reshape(batch, sequence, width))


class Layer(nn.Module):
    """A post-norm layer, with a bottleneck or without."""

    def __init__(self, has_adapter):
        super().__init__()
        self.attention = Attention()
        self.attention_norm = nn.LayerNorm(width, eps=epsilon)
        self.intermediate = nn.Linear(width, settings["feedForward"])
        self.activation = nn.GELU()
        self.output = nn.Linear(settings["feedForward"], width)
        self.norm = nn.LayerNorm(width, eps=epsilon)
        self.down = nn.Linear(width, rank) if has_adapter else None
        self.up = nn.Linear(rank, width) if has_adapter else None

    def forward(self, rows, mask):
        rows = self.attention_norm(self.attention(rows, mask) + rows)
        sums = self.output(self.activation(self.intermediate(rows))) + rows
        inner = self.norm(sums)
        if self.down is None:
            return inner
        return self.norm(sums + self.up(torch.relu(self.down(inner))))


class Encoder(nn.Module):
    """The whole network."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(settings["vocabulary"], width)
        self.positions = nn.Embedding(settings["sequence"], width)
        self.types = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=epsilon)
        lowest = settings["lowestLayer"]
        self.layers = nn.ModuleList([Layer(index >= lowest) for index in range(settings["layers"])])
        self.head = nn.Linear(width, settings["labels"])

    def embed(self, ids):
        places = torch.arange(ids.shape[1])
        return self.norm(self.words(ids) + self.positions(places) + self.types(torch.zeros_like(places)))

    def run(self, rows, first, last):
        mask = torch.zeros(rows.shape[0] * heads, 1, rows.shape[1])
        for layer in self.layers[first:last]:
            rows = layer(rows, mask)
        return rows


places = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.dense",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "intermediate",
    "output.dense": "output",
    "output.LayerNorm": "norm",
}


def module_name(name):
    """`encoder.layer.0.output.dense.weight` -> `layers.0.output.weight`."""
    stem, part = name.rsplit(".", 1)
    if stem.startswith("embeddings."):
        kind = stem.split(".")[1]
        return {"word_embeddings": "words", "position_embeddings": "positions", "token_type_embeddings": "types"}.get(
            kind, "norm"
        ) + f".{part}"
    _, _, index, rest = stem.split(".", 3)
    return f"layers.{index}.{places[rest]}.{part}"


def load():
    model = Encoder()
    parameters = dict(model.named_parameters())
    trained = []
    with torch.no_grad():
        for name, values in read_tensors("model.safetensors"):
            parameters[module_name(name)].copy_(values)
        for parameter in parameters.values():
            parameter.requires_grad_(False)
        for name, values in read_tensors("adapter.safetensors"):
            stem, part = name.rsplit(".", 1)
            words = stem.split(".")
            parameter = parameters[
                ("head" if stem == "head" else f"layers.{words[1]}.{words[-1]}") + (".bias" if part == "bias" else ".weight")
            ]
            parameter.copy_(values.t() if part == "kernel" else values)
            parameter.requires_grad_(True)
            trained.append((parameter, part == "kernel"))
    decayed = [parameter for parameter, decays in trained if decays]
    others = [parameter for parameter, decays in trained if not decays]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": settings["weightDecay"]}, {"params": others, "weight_decay": 0.0}],
        lr=settings["learningRate"],
    )
    return model, optimiser, decayed + others


model, optimiser, trained = load()
texts = torch.tensor(settings["texts"])
labels = torch.tensor(settings["targets"])
criterion = nn.CrossEntropyLoss()
lowest, layers = settings["lowestLayer"], settings["layers"]


def learn(rows, first, batch):
    """One update from rows that enter layer `first`."""
    loss = criterion(model.head(model.run(rows, first, layers)[:, 0]), labels[batch])
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(trained, settings["gradientClipNorm"])
    optimiser.step()
    return loss.item()


def steps(count):
    """`count` steps, each on all texts."""
    times, processor, losses = [], [], []
    for _ in range(count):
        start, used = time.perf_counter(), time.process_time()
        losses.append(learn(model.embed(texts), 0, slice(None)))
        times.append(1000 * (time.perf_counter() - start))
        processor.append(1000 * (time.process_time() - used))
    return {"ms": times, "cpuMs": processor, "losses": losses}


kept = {}


def epoch(batches):
    """One pass over batches of indices, with the states below the lowest adapter kept from pass to pass."""
    start, used = time.perf_counter(), time.process_time()
    losses = []
    for batch in batches:
        missing = [index for index in batch if index not in kept]
        if missing:
            with torch.no_grad():
                states = model.run(model.embed(texts[missing]), 0, lowest)
            for index, rows in zip(missing, states):
                kept[index] = rows.clone()
        losses.append(learn(torch.stack([kept[index] for index in batch]), lowest, batch))
    return {
        "ms": 1000 * (time.perf_counter() - start),
        "cpuMs": 1000 * (time.process_time() - used),
        "losses": losses,
    }


def answer(value):
    print(json.dumps(value), flush=True)


left, right = torch.ones(256, 256), torch.ones(256, 256)
left @ right
start = time.process_time()
for _ in range(8):
    left @ right
answer({"version": torch.__version__, "gflops": 8 * 2 * 256**3 / (time.process_time() - start) / 1e9})
for line in sys.stdin:
    order = json.loads(line)
    report = steps(order["steps"]) if "steps" in order else epoch(order["epoch"])
    report["peakBytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer(report)
