"""Records ten steps of torch's optimizers on fixed gradients, and transformers' learning rate schedules.

    pip install -r test/golden/requirements.txt
    python test/golden/record-optim.py

Writes data/optim.json and data/schedules.json. Everything in float64.
"""
import torch
import transformers
from transformers import TrainingArguments

from common import DATA, rounded, versions, write_json

SHAPES = [(2, 3), (4,)]
STEPS = 10
generator = torch.Generator().manual_seed(3)


def draw(scale):
    """Tensors of four decimals, so that the file holds exactly what was computed with."""
    return [torch.randn(shape, generator=generator, dtype=torch.float64).mul(scale * 1e4).round().div(1e4)
            for shape in SHAPES]


WEIGHTS = draw(1.0)
# Sizes from tiny to large, so that eps, the bias correction and clipping all matter at some step.
GRADIENTS = [draw(scale) for scale in (1.0, 0.01, 0.3, 5.0, 0.1, 1.0, 0.0, 2.0, 0.5, 0.05)]

CASES = {
    "adamw": (torch.optim.AdamW, dict(lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01), None),
    "adamw-large-decay-eps": (torch.optim.AdamW, dict(lr=0.1, betas=(0.8, 0.95), eps=1e-2, weight_decay=0.3), None),
    "adamw-clipped": (torch.optim.AdamW, dict(lr=0.01, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1), 1.0),
    "adam": (torch.optim.Adam, dict(lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0), None),
    "adam-l2": (torch.optim.Adam, dict(lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1), None),
    "sgd": (torch.optim.SGD, dict(lr=0.1, momentum=0.0, weight_decay=0.0), None),
    "sgd-momentum": (torch.optim.SGD, dict(lr=0.1, momentum=0.9, weight_decay=0.0), None),
    "sgd-momentum-decay-clipped": (torch.optim.SGD, dict(lr=0.1, momentum=0.9, weight_decay=0.05), 0.5),
    "sgd-nesterov": (torch.optim.SGD, dict(lr=0.1, momentum=0.9, weight_decay=0.0, nesterov=True), None),
}


def run(kind, options, max_norm):
    weights = [weight.clone().requires_grad_() for weight in WEIGHTS]
    optimizer = kind(weights, **options)
    trajectory, norms = [], []
    for gradients in GRADIENTS:
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient.clone()
        if max_norm is not None:
            norms.append(rounded(torch.nn.utils.clip_grad_norm_(weights, max_norm).item(), 14))
        optimizer.step()
        trajectory.append([rounded(weight, 14) for weight in weights])
    return {"options": {"kind": kind.__name__, **options, **({} if max_norm is None else {"maxNorm": max_norm})},
            "trajectory": trajectory, **({} if max_norm is None else {"gradientNorms": norms})}


write_json(DATA / "optim.json", {
    "versions": {"torch": torch.__version__.split("+")[0]},
    "weights": rounded(WEIGHTS), "gradients": [rounded(gradients) for gradients in GRADIENTS],
    "cases": {name: run(*case) for name, case in CASES.items()},
})

LR, TOTAL = 0.5, 20
SCHEDULES = [("constant", 0), ("constant_with_warmup", 4), ("constant_with_warmup", 0), ("linear", 0), ("linear", 4),
             ("cosine", 0), ("cosine", 4), ("inverse_sqrt", 4), ("inverse_sqrt", 0)]


def schedule(name, warmup):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    scheduler = transformers.get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=TOTAL)
    rates = []
    for _ in range(TOTAL + 4):
        rates.append(rounded(scheduler.get_last_lr()[0], 14))
        optimizer.step()
        scheduler.step()
    return {"schedule": name, "warmupSteps": warmup, "learningRates": rates}


def warmup_steps(value, total):
    return TrainingArguments(output_dir="unused", use_cpu=True, warmup_steps=value).get_warmup_steps(total)


write_json(DATA / "schedules.json", {
    "versions": versions(), "learningRate": LR, "totalSteps": TOTAL,
    "schedules": [schedule(*case) for case in SCHEDULES],
    "warmupSteps": [{"value": value, "totalSteps": total, "steps": warmup_steps(value, total)}
                    for value, total in ((0, 20), (5, 20), (1, 20), (0.1, 20), (0.1, 25), (0.03, 20), (0.5, 7))],
})
