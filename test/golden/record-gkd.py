"""Records the divergence of TRL's GKDTrainer on fixed logits and on tiny models.

    pip install -r test/golden/requirements.txt
    python test/golden/record-gkd.py

`generalized_jsd_loss` in float64 on logits [2, 4, 5] (the last rows agree, or are far apart), and `compute_loss` of the trainer in
float32 with student `llama-plain` and teacher `llama-biases`.

Writes data/gkd.json. Needs data/llama-plain and data/llama-biases (record-llama.py).
"""
import logging
from types import SimpleNamespace

import torch
import trl
from transformers import LlamaForCausalLM
from trl.experimental.gkd.gkd_trainer import GKDTrainer

from common import DATA, rounded, versions, write_json

logging.getLogger("transformers").setLevel(logging.ERROR)

ROWS = [([3, 9, 4], [7, 11, 1, 15]), ([21, 2], [8, 13, 5]), ([5, 5, 17, 6], [2, 12]), ([13], [9, 4, 4, 10, 7])]
BETAS = (0.0, 0.1, 0.5, 0.75, 1.0)


def load(name):
    return LlamaForCausalLM.from_pretrained(DATA / f"llama-{name}", dtype=torch.float32, attn_implementation="eager")


def padded(rows, value):
    width = max(map(len, rows))
    return torch.tensor([row + [value] * (width - len(row)) for row in rows])


def on_logits():
    generator = torch.Generator().manual_seed(7)
    student, teacher = (3 * torch.randn(2, 4, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    teacher[1, 2] = student[1, 2] + 1.5
    student[1, 3], teacher[1, 3] = torch.tensor([40.0, 0, 0, -40, 3]), torch.tensor([0.0, 40, -40, 0, 3])
    labels = torch.tensor([[1, -100, 2, 0], [-100, 4, 3, 1]])
    cases = []
    for beta in BETAS:
        for temperature in (1.0, 0.5):
            logits = student.clone().requires_grad_()
            loss = GKDTrainer.generalized_jsd_loss(logits, teacher, labels, beta=beta, temperature=temperature)
            loss.backward()
            cases.append({"beta": beta, "temperature": temperature, "loss": rounded(loss.item(), 12),
                          "gradient": rounded(logits.grad, 12)})
    return {"student": rounded(student, 12), "teacher": rounded(teacher, 12), "labels": labels.tolist(), "cases": cases}


def on_model(beta):
    model, teacher = load("plain"), load("biases")
    inputs = {"input_ids": padded([p + c for p, c in ROWS], 0),
              "attention_mask": padded([[1] * (len(p) + len(c)) for p, c in ROWS], 0),
              "labels": padded([[-100] * len(p) + c for p, c in ROWS], -100)}
    trainer = SimpleNamespace(teacher_model=teacher, beta=beta, generalized_jsd_loss=GKDTrainer.generalized_jsd_loss)
    loss = GKDTrainer.compute_loss(trainer, model, inputs)
    loss.backward()
    return {"beta": beta, "loss": rounded(loss.item(), 9), "metrics": {},
            "gradientNorms": rounded({name: value.grad.norm().item() for name, value in model.named_parameters()
                                      if value.grad is not None}, 8)}


write_json(DATA / "gkd.json", {"versions": versions(trl), "onLogits": on_logits(),
                               "rows": [{"prompt": p, "completion": c} for p, c in ROWS],
                               "onModels": [on_model(beta) for beta in BETAS]})
