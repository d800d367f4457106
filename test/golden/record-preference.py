"""Records loss, metrics and gradient norms of DPO's variants, KTO, BCO, ORPO, CPO and SimPO on tiny models.

    pip install -r test/golden/requirements.txt
    pip download trl==0.24.0 --no-deps -d older && python -m zipfile -e older/trl-0.24.0-*.whl older
    python test/golden/record-preference.py older

The trainers' own loss functions run on a stand-in for the trainer: policy `llama-plain`, reference `llama-biases`, float32. BCO is
no longer in the pinned TRL: its function is cut out of TRL 0.24.0 and run on given numbers.

Writes data/preference.json. Needs data/llama-plain and data/llama-biases (record-llama.py).
"""
import ast
import dataclasses
import logging
import sys
import textwrap
from collections import defaultdict
from pathlib import Path
from types import MethodType, SimpleNamespace

import torch
import trl
from transformers import LlamaForCausalLM
from trl.experimental.cpo.cpo_trainer import CPOTrainer
from trl.experimental.orpo.orpo_trainer import ORPOTrainer
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.kto_trainer import KTOTrainer
from trl.trainer.utils import add_fused_lm_head

from common import DATA, rounded, versions, write_json

logging.getLogger("transformers").setLevel(logging.ERROR)

PAIRS = [([3, 9, 4], [7, 11, 1, 15], [10, 22]), ([21, 2], [8, 13, 5], [19, 6, 3, 14, 20]), ([5, 5, 17], [2, 12], [16, 23, 1]),
         ([13], [9, 4, 4, 10, 7], [18])]
MISMATCHED = [1, 2, 3, 0]  # the row whose completion takes the place of one's own


class Accelerator:
    """One process on the CPU."""
    device = torch.device("cpu")
    num_processes = 1
    use_distributed = False

    def gather(self, x):
        return x

    gather_for_metrics = gather

    def unwrap_model(self, model):
        return model


def load(name, fused=True):
    model = LlamaForCausalLM.from_pretrained(DATA / f"llama-{name}", dtype=torch.float32, attn_implementation="eager")
    if fused:
        add_fused_lm_head(model, outputs=("log_probs", "entropy", "mean_logits", "is_top1", "log_sum_sq_probs"))
    return model.train()


def padded(rows, value=0):
    width = max(map(len, rows))
    return torch.tensor([row + [value] * (width - len(row)) for row in rows])


def tensors(rows, prefix=""):
    return {f"{prefix}input_ids": padded([p + c for p, c in rows]),
            f"{prefix}attention_mask": padded([[1] * (len(p) + len(c)) for p, c in rows]),
            f"{prefix}completion_mask": padded([[0] * len(p) + [1] * len(c) for p, c in rows])}


def stand_in(**attributes):
    return SimpleNamespace(**{"accelerator": Accelerator(), "aux_loss_enabled": False, "_total_train_tokens": 0, "_tp_size": 1,
                              "_metrics": defaultdict(lambda: defaultdict(list)),
                              "args": SimpleNamespace(gradient_checkpointing_kwargs=None, discopop_tau=0.05),
                              "precompute_ref_logps": False, **attributes})


def result(settings, loss, metrics, model):
    loss.backward()
    return {**settings, "loss": rounded(loss.item(), 9), "metrics": rounded(metrics, 9),
            "gradientNorms": rounded({name: value.grad.norm().item() for name, value in model.named_parameters()
                                      if value.grad is not None}, 8)}


def last(trainer):
    return {name: float(torch.tensor(values[-1], dtype=torch.float64)) for name, values in trainer._metrics["train"].items()
            if name != "num_tokens"}


def record_dpo(**settings):
    policy = load("plain")
    loss_types = settings["loss"]
    trainer = stand_in(model=policy, ref_model=load("biases"), ld_alpha=settings.get("ldAlpha"), f_divergence_type="reverse_kl",
                       loss_types=loss_types, loss_weights=settings.get("lossWeights", [1.0] * len(loss_types)),
                       beta=settings["beta"], label_smoothing=settings.get("labelSmoothing", 0.0),
                       use_weighting=settings.get("useWeighting", False))
    inputs = tensors([(p, c) for p, c, _ in PAIRS] + [(p, r) for p, _, r in PAIRS])
    loss = DPOTrainer._compute_loss(trainer, policy, inputs, False)
    return result(settings, loss, last(trainer), policy)


def record_kto(**settings):
    policy = load("plain")
    trainer = stand_in(model=policy, ref_model=load("biases"), loss_type=settings["loss"], beta=settings["beta"],
                       calculate_KL=settings["loss"] == "kto", desirable_weight=settings["desirableWeight"],
                       undesirable_weight=settings["undesirableWeight"])
    trainer._compute_kl_logps = MethodType(KTOTrainer._compute_kl_logps, trainer)
    rows = [(p, c) for p, c, _ in PAIRS]
    other = [(p, PAIRS[index][1]) for (p, _, _), index in zip(PAIRS, MISMATCHED, strict=True)]
    inputs = {**tensors(rows), **tensors(other, "KL_"), "label": torch.tensor([True, False, True, True])}
    loss = KTOTrainer._compute_loss(trainer, policy, inputs, False)
    return result({**settings, "labels": [True, False, True, True]}, loss, last(trainer), policy)


def record_reference_free(trainer_class, **settings):
    policy = load("plain", fused=False)
    trainer = stand_in(is_encoder_decoder=False, pad_token_id=0, padding_value=0, beta=settings["beta"],
                       loss_type=settings.get("loss"), label_smoothing=settings.get("labelSmoothing", 0.0),
                       cpo_alpha=settings.get("cpoAlpha", 0.0), simpo_gamma=settings.get("gamma", 0.0),
                       alpha=settings.get("alpha", 0.0))
    for name in ("concatenated_forward", "cpo_loss", "odds_ratio_loss"):
        if hasattr(trainer_class, name):
            setattr(trainer, name, MethodType(getattr(trainer_class, name), trainer))
    trainer.concatenated_inputs, trainer.get_batch_logps = trainer_class.concatenated_inputs, trainer_class.get_batch_logps
    batch = {}
    for side, index in (("chosen", 1), ("rejected", 2)):
        rows = [(pair[0], pair[index]) for pair in PAIRS]
        batch |= {f"{side}_input_ids": padded([p + c for p, c in rows]),
                  f"{side}_attention_mask": padded([[1] * (len(p) + len(c)) for p, c in rows]),
                  f"{side}_labels": padded([[-100] * len(p) + c for p, c in rows], -100)}
    trainer.args.device = torch.device("cpu")
    loss, metrics = trainer_class.get_batch_loss_metrics(trainer, policy, batch)
    return result(settings, loss, {name: float(value) for name, value in metrics.items()}, policy)


def record_bco(older):
    """Two batches after each other on given log-probabilities."""
    names = {"torch": torch, "F": torch.nn.functional, "Optional": __import__("typing").Optional, "Accelerator": object,
             "dataclass": dataclasses.dataclass, "dataclasses": dataclasses}
    for file, kind, wanted in (("utils.py", ast.ClassDef, "RunningMoments"), ("bco_trainer.py", ast.FunctionDef, "bco_loss")):
        tree = ast.parse((older / "trl/trainer" / file).read_text("utf-8"))
        node = next(node for node in ast.walk(tree) if isinstance(node, kind) and node.name == wanted)
        exec(textwrap.dedent(ast.unparse(node)), names)
    trainer = SimpleNamespace(beta=0.1, running=names["RunningMoments"](accelerator=Accelerator()),
                              match_underlying_distribution=False)
    batches = []
    for logps, reference, labels in (([-3.25, -8.5, -1.0], [-4.0, -6.0, -2.5], [True, False, True]),
                                     ([-9.0, -2.0], [-8.0, -5.5], [False, True])):
        policy = torch.tensor(logps, requires_grad=True)
        ref, mark = torch.tensor(reference), torch.tensor(labels)
        losses, _, _, delta = names["bco_loss"](trainer, policy[mark], policy[~mark], ref[mark], ref[~mark], None, None)
        losses.nanmean().backward()
        batches.append({"logProbs": logps, "reference": reference, "labels": labels, "loss": rounded(losses.mean().item(), 9),
                        "delta": rounded(delta.item(), 9), "gradient": rounded(policy.grad, 9)})
    return {"version": "trl 0.24.0", "beta": 0.1, "batches": batches}


write_json(DATA / "preference.json", {
    "versions": versions(trl), "pairs": [{"prompt": p, "chosen": c, "rejected": r} for p, c, r in PAIRS],
    "mismatched": MISMATCHED,
    "dpo": [record_dpo(**case) for case in (
        {"loss": ["aot"], "beta": 0.3, "labelSmoothing": 0.1}, {"loss": ["aot_unpaired"], "beta": 0.3, "labelSmoothing": 0.1},
        {"loss": ["sft"], "beta": 0.3}, {"loss": ["sigmoid", "bco_pair", "sft"], "lossWeights": [0.8, 0.2, 1.0], "beta": 0.3},
        {"loss": ["sigmoid"], "beta": 0.3, "ldAlpha": 0.4}, {"loss": ["sigmoid"], "beta": 0.3, "useWeighting": True})],
    "kto": [record_kto(loss=loss, beta=0.2, desirableWeight=0.75, undesirableWeight=1.5)
            for loss in ("kto", "apo_zero_unpaired")],
    "bco": record_bco(Path(sys.argv[1])),
    "orpo": [record_reference_free(ORPOTrainer, beta=0.2)],
    "cpo": [record_reference_free(CPOTrainer, **case) for case in (
        {"loss": "sigmoid", "beta": 0.2, "labelSmoothing": 0.1, "cpoAlpha": 1.0}, {"loss": "hinge", "beta": 0.2, "cpoAlpha": 0.5},
        {"loss": "ipo", "beta": 0.2, "cpoAlpha": 0.0})],
    "simpo": [record_reference_free(CPOTrainer, **case, loss="simpo", cpoAlpha=0.0) for case in (
        {"beta": 2.0, "gamma": 1.0}, {"beta": 2.0, "gamma": 1.0, "alpha": 0.25})],
})
