"""Records losses, gradients and metrics of DPO and SFT from TRL.

    pip install -r test/golden/requirements.txt
    pip download trl==0.24.0 --no-deps -d older && python -m zipfile -e older/trl-0.24.0-*.whl older
    python test/golden/record-trl.py older

The trainers' own loss functions run on a stand-in for the trainer (no files, no optimizer). The label-smoothed sigmoid
loss (cDPO) is no longer in the pinned TRL; it is taken from TRL 0.24.0's `dpo_loss`.

Writes data/dpo.json and data/sft.json. Needs data/llama-plain and data/llama-biases (record-llama.py).
"""
import ast
import logging
import sys
import textwrap
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import torch
import trl
from transformers import LlamaForCausalLM
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.sft_trainer import SFTTrainer
from trl.trainer.utils import add_fused_lm_head, entropy_from_logits, selective_log_softmax

from common import DATA, rounded, versions, write_json

logging.getLogger("transformers").setLevel(logging.ERROR)


class Accelerator:
    """One process on the CPU."""
    device = torch.device("cpu")
    num_processes = 1
    parallelism_config = None

    def gather(self, x):
        return x

    gather_for_metrics = gather


def stand_in(**attributes):
    """What the loss functions read from their trainer."""
    return SimpleNamespace(**{
        "model": SimpleNamespace(training=True), "accelerator": Accelerator(), "aux_loss_enabled": False,
        "_metrics": defaultdict(lambda: defaultdict(list)), "_total_train_tokens": 0, "_tp_size": 1, **attributes})


def metrics_of(trainer):
    return {name: rounded(float(torch.tensor(values[-1], dtype=torch.float64)))
            for name, values in trainer._metrics["train"].items()}


# --- DPO ---------------------------------------------------------------------------------------------------------------

def dpo_trainer(loss_type, beta, label_smoothing, **attributes):
    return stand_in(**{"ld_alpha": None, "precompute_ref_logps": True, "f_divergence_type": "reverse_kl",
                       "loss_types": [loss_type], "loss_weights": [1.0], "beta": beta,
                       "label_smoothing": label_smoothing, "use_weighting": False, **attributes})


def dpo_on_log_probs(loss_type, beta, label_smoothing, f_divergence="reverse_kl"):
    """Three pairs with completions of different length: summed log-probs, masks and all metrics."""
    mask = torch.tensor([[0, 0, 1, 1, 1, 0], [0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1],  # chosen
                         [0, 0, 1, 1, 0, 0], [0, 1, 1, 1, 1, 0], [0, 0, 0, 1, 0, 0]])  # rejected
    generator = torch.Generator().manual_seed(7)
    noise = torch.rand(6, 5, generator=generator, dtype=torch.float64)
    # Four decimals, so that the file holds exactly what was computed with.
    log_probs = (-0.05 - 3 * noise).mul(1e4).round().div(1e4).requires_grad_()
    reference = (-torch.rand(6, generator=generator, dtype=torch.float64) * 8).mul(1e4).round().div(1e4)
    zeros = torch.zeros(6, 5, dtype=torch.float64)
    # The trainer's model gives 0 where the mask is 0; the numbers recorded there show that they must not count.
    outputs = SimpleNamespace(log_probs=log_probs * mask[:, 1:], entropy=zeros, mean_logits=zeros, is_top1=zeros.bool())
    trainer = dpo_trainer(loss_type, beta, label_smoothing, f_divergence_type=f_divergence,
                          args=SimpleNamespace(discopop_tau=0.05))
    inputs = {"input_ids": torch.zeros(6, 6, dtype=torch.long), "attention_mask": torch.ones(6, 6),
              "completion_mask": mask, "ref_chosen_logps": reference[:3], "ref_rejected_logps": reference[3:]}
    loss = DPOTrainer._compute_loss(trainer, lambda **_: outputs, inputs, False)
    loss.backward()
    metrics = metrics_of(trainer)
    return {"lossType": loss_type, "beta": beta, "labelSmoothing": label_smoothing, "fDivergence": f_divergence,
            "mask": mask[:, 1:].tolist(),
            "logProbs": rounded(log_probs), "reference": rounded(reference), "loss": rounded(loss.item(), 14),
            "gradient": rounded(log_probs.grad + 0.0, 12),
            "metrics": {name: value for name, value in metrics.items() if name.split("/")[0] in ("rewards", "logps")}}


def dpo_with_label_smoothing(older, beta, label_smoothing):
    """TRL 0.24.0's function, cut out of its class so that only torch is needed."""
    tree = ast.parse((older / "trl/trainer/dpo_trainer.py").read_text("utf-8"))
    trainer = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "DPOTrainer")
    function = next(node for node in trainer.body if isinstance(node, ast.FunctionDef) and node.name == "dpo_loss")
    source = textwrap.dedent(ast.unparse(function))
    names = {"torch": torch, "F": torch.nn.functional,
             "FDivergenceType": SimpleNamespace(ALPHA_DIVERGENCE="alpha", JS_DIVERGENCE="js", REVERSE_KL="reverse_kl")}
    exec(source, names)
    # Margins from tiny to extreme: a naive logarithm of a sigmoid overflows or loses everything on the last two.
    rows = torch.tensor([[-12.5, -13.25, -12.0, -13.0], [-30.0, -28.5, -31.0, -27.75], [-5.0, -5.0, -5.0, -5.0],
                         [-40.0, -900.0, -41.0, -45.0], [-9000.0, -20.0, -21.0, -22.0]], dtype=torch.float64)
    rows.requires_grad_()
    trainer = SimpleNamespace(accelerator=Accelerator(), reference_free=False, f_divergence_type="reverse_kl",
                              beta=beta, label_smoothing=label_smoothing)
    losses, chosen, rejected = names["dpo_loss"](trainer, *rows.T)
    losses.sum().backward()
    return {"lossType": "sigmoid", "beta": beta, "labelSmoothing": label_smoothing,
            "logProbs": rounded(rows), "losses": rounded(losses, 14),
            "gradient": rounded(rows.grad[:, :2], 12), "rewardsChosen": rounded(chosen),
            "rewardsRejected": rounded(rejected)}


def load(name):
    model = LlamaForCausalLM.from_pretrained(DATA / f"llama-{name}", dtype=torch.float32, attn_implementation="eager")
    return model.train()


def with_greedy(model, prompt, completion):
    """The completion with its None entries replaced by the model's most likely token."""
    ids = list(prompt)
    for token in completion:
        with torch.no_grad():
            ids.append(model(torch.tensor([ids])).logits[0, -1].argmax().item() if token is None else token)
    return prompt, ids[len(prompt):]


def dpo_on_models():
    """llama-plain as policy against llama-biases as reference; right-padded rows, chosen first."""
    policy, reference = load("plain"), load("biases")
    rows = [with_greedy(policy, *row) for row in (
        ([3, 9, 4], [7, None, 1, 15]), ([21, 2], [None, 13, None, 5, 6]),  # chosen
        ([3, 9, 4], [10, 22]), ([21, 2], [19, None, 3]))]  # rejected
    T = max(len(prompt) + len(completion) for prompt, completion in rows)

    def padded(values):
        return torch.tensor([row + [0] * (T - len(row)) for row in values])
    inputs = {"input_ids": padded([prompt + completion for prompt, completion in rows]),
              "attention_mask": padded([[1] * (len(prompt) + len(completion)) for prompt, completion in rows]),
              "completion_mask": padded([[0] * len(prompt) + [1] * len(completion) for prompt, completion in rows])}
    fields = ("log_probs", "entropy", "mean_logits", "is_top1")
    add_fused_lm_head(policy, outputs=fields)
    add_fused_lm_head(reference, outputs=fields)
    trainer = dpo_trainer("sigmoid", 0.3, 0.0, precompute_ref_logps=False, model=policy, ref_model=reference,
                          args=SimpleNamespace(gradient_checkpointing_kwargs=None))
    loss = DPOTrainer._compute_loss(trainer, policy, inputs, False)
    loss.backward()
    gradients = {name: value.grad.norm().item() for name, value in policy.named_parameters()}
    return {"policy": "llama-plain", "reference": "llama-biases", "beta": 0.3,
            "chosen": [{"prompt": p, "completion": c} for p, c in rows[:2]],
            "rejected": [{"prompt": p, "completion": c} for p, c in rows[2:]],
            "loss": rounded(loss.item(), 9), "metrics": metrics_of(trainer), "gradientNorms": rounded(gradients, 7)}


# --- SFT ---------------------------------------------------------------------------------------------------------------

def sft_trainer(**attributes):
    return stand_in(**{"compute_loss_func": None, "label_smoother": None,
                       "args": SimpleNamespace(loss_type="nll", average_tokens_across_devices=False), **attributes})


def sft_on_logits():
    """Mean over trained tokens of two rows; ignored labels are -100; ties and saturated rows included."""
    generator = torch.Generator().manual_seed(11)
    logits = torch.randn(2, 5, 7, generator=generator, dtype=torch.float64).mul(200).round().div(100)
    logits[0, 2] = 0.5  # uniform
    logits[1, 3, 4] = 500.0  # saturated, right and wrong
    logits[1, 2, 1] = 500.0
    logits.requires_grad_()
    labels = torch.tensor([[-100, -100, 3, 6, 0], [-100, 2, 5, 2, 4]])  # as of the tokens; shifted below
    shifted = labels[:, 1:]
    trained = shifted != -100
    rows = logits[:, :-1]
    log_probs = selective_log_softmax(rows, shifted.clamp(min=0)) * trained
    outputs = SimpleNamespace(log_probs=log_probs, label_mask=trained,
                              entropy=entropy_from_logits(rows) * trained,
                              is_top1=(rows.argmax(-1) == shifted) & trained)
    trainer = sft_trainer()
    inputs = {"labels": labels, "attention_mask": torch.ones(2, 5)}
    loss = SFTTrainer.compute_loss(trainer, lambda **_: outputs, inputs)
    loss.backward()
    return {"logits": rounded(logits), "labels": labels.tolist(), "loss": rounded(loss.item(), 14),
            "gradient": rounded(logits.grad, 12), "logProbs": rounded(log_probs, 12),
            "entropy": rounded(outputs.entropy, 12), "metrics": metrics_of(trainer)}


def sft_on_model():
    """llama-plain on two rows of different length, prompts not trained."""
    model = load("plain")
    rows = [with_greedy(model, *row) for row in (([3, 9, 4], [7, None, 1, 15]), ([21, 2], [8, None]))]
    ids = torch.tensor([p + c + [0] * (7 - len(p) - len(c)) for p, c in rows])
    labels = torch.tensor([[-100] * len(p) + c + [-100] * (7 - len(p) - len(c)) for p, c in rows])
    attention = torch.tensor([[1] * (len(p) + len(c)) + [0] * (7 - len(p) - len(c)) for p, c in rows])
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    trainer = sft_trainer(model=model)
    loss = SFTTrainer.compute_loss(trainer, model, {"input_ids": ids, "labels": labels, "attention_mask": attention})
    loss.backward()
    gradients = {name: value.grad.norm().item() for name, value in model.named_parameters()}
    return {"model": "llama-plain", "rows": [{"prompt": p, "completion": c} for p, c in rows],
            "loss": rounded(loss.item(), 9), "metrics": metrics_of(trainer), "gradientNorms": rounded(gradients, 7)}


write_json(DATA / "dpo.json", {
    "versions": versions(trl),
    "onLogProbs": [dpo_on_log_probs(*case) for case in (
        ("sigmoid", 0.1, 0.0), ("sigmoid", 0.5, 0.0), ("hinge", 0.1, 0.0), ("ipo", 0.1, 0.0), ("robust", 0.1, 0.2),
        ("sigmoid_norm", 2.0, 0.0), ("apo_zero", 0.1, 0.0), ("apo_down", 0.1, 0.0), ("sft", 0.1, 0.0),
        ("exo_pair", 0.1, 0.1), ("nca_pair", 0.1, 0.0), ("bco_pair", 0.1, 0.0), ("sppo_hard", 0.1, 0.0),
        ("discopop", 0.1, 0.0), ("sigmoid", 0.1, 0.0, "forward_kl"), ("sigmoid", 0.1, 0.0, "js_divergence"))],
    "labelSmoothing": {"version": "trl 0.24.0",
                       "cases": [dpo_with_label_smoothing(Path(sys.argv[1]), 0.1, smoothing)
                                 for smoothing in (0.0, 0.1, 0.3)]},
    "onModels": dpo_on_models(),
})
write_json(DATA / "sft.json", {"versions": versions(trl), "onLogits": sft_on_logits(), "onModel": sft_on_model()})
