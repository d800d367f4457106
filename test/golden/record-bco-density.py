"""Records scikit-learn's logistic regression on prompt embeddings and the weights and losses that TRL's BCO makes of it.

    pip install -r test/golden/requirements.txt
    pip download trl==0.24.0 --no-deps -d older && python -m zipfile -e older/trl-0.24.0-*.whl older
    python test/golden/record-bco-density.py older

`_get_chosen_prob`, `_get_udm_weight` and `bco_loss` are cut out of TRL 0.24.0, the last version with BCO, and run on a stand-in for the
trainer. The classifier is the one TRL fits, with a tolerance of 1e-12 instead of 1e-4, so that its optimum is recorded and not where
it stopped; `stoppedAt` is how far the weights lie from it with TRL's tolerance.

Writes data/bco-density.json.
"""
import ast
import dataclasses
import sys
import textwrap
from pathlib import Path
from types import MethodType, SimpleNamespace

import numpy as np
import sklearn
import torch
from sklearn.linear_model import LogisticRegression

from common import DATA, rounded, versions, write_json

older = Path(sys.argv[1])
names = {"torch": torch, "F": torch.nn.functional, "Optional": __import__("typing").Optional, "Accelerator": object,
         "dataclass": dataclasses.dataclass, "dataclasses": dataclasses}
for file, kind, wanted in (("utils.py", ast.ClassDef, "RunningMoments"), ("bco_trainer.py", ast.FunctionDef, "bco_loss"),
                           ("bco_trainer.py", ast.FunctionDef, "_get_chosen_prob"),
                           ("bco_trainer.py", ast.FunctionDef, "_get_udm_weight")):
    tree = ast.parse((older / "trl/trainer" / file).read_text("utf-8"))
    node = next(node for node in ast.walk(tree) if isinstance(node, kind) and node.name == wanted)
    exec(textwrap.dedent(ast.unparse(node)), names)


class Accelerator:
    """One process."""
    process_index = 0
    num_processes = 1
    use_distributed = False

    def pad_across_processes(self, x, pad_index):
        return x

    def gather(self, x):
        return x

    def reduce(self, x, reduction):
        return x


generator = np.random.default_rng(20)
labels = np.array([True] * 25 + [False] * 15)
# Desirable prompts lean one way; numbers of float32, as TRL hands them over.
embeddings = (1.5 * generator.normal(size=(40, 6)) + 0.35 * labels[:, None] * np.array([1, -1, 0.5, 0, 0, 2])).astype(np.float32)
fit = {"class_weight": "balanced", "max_iter": 10_000}
clf = LogisticRegression(**fit, tol=1e-12).fit(embeddings.astype(np.float64), labels)
stopped = LogisticRegression(class_weight="balanced").fit(embeddings, labels)

trainer = SimpleNamespace(accelerator=Accelerator(), clf=clf, beta=0.1, embedding_tokenizer=SimpleNamespace(pad_token_id=0),
                          running=names["RunningMoments"](accelerator=Accelerator()), match_underlying_distribution=True,
                          args=SimpleNamespace(min_density_ratio=0.5, max_density_ratio=5.0))
for method in ("_get_chosen_prob", "_get_udm_weight"):
    setattr(trainer, method, MethodType(names[method], trainer))
rejected = torch.tensor(embeddings[~labels])
logps = torch.tensor(generator.normal(-5, 2, size=40), dtype=torch.float64, requires_grad=True)
reference = torch.tensor(generator.normal(-5, 2, size=40), dtype=torch.float64)
mark = torch.tensor(labels)
losses, *_ = names["bco_loss"](trainer, logps[mark], logps[~mark], reference[mark], reference[~mark],
                               torch.tensor(embeddings[labels]), rejected)
losses.nanmean().backward()

write_json(DATA / "bco-density.json", {
    "versions": {**versions(sklearn), "trl": "0.24.0"},
    "embeddings": rounded(torch.tensor(embeddings), 9), "labels": labels.tolist(),
    "weights": rounded(torch.tensor(clf.coef_[0])), "intercept": rounded(float(clf.intercept_[0])),
    "stoppedAt": rounded(float(np.abs(stopped.coef_ - clf.coef_).max()), 3),
    "densityWeights": rounded(trainer._get_udm_weight(rejected).double(), 8),
    "logProbs": rounded(logps.detach()), "reference": rounded(reference), "loss": rounded(losses.mean().item(), 9),
    "gradient": rounded(logps.grad, 9)})
