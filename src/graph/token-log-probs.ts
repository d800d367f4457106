/** Log-probabilities of tokens without ever holding the [tokens, vocabulary] matrix. */
import { checkShapes } from '../core/shapes.ts';
import { checkpoint } from './gradient.ts';
import { after, stopGradient } from './ops/control.ts';
import { add, exp, log, mul, sub } from './ops/elementwise.ts';
import { pick } from './ops/indexing.ts';
import { matmul } from './ops/matmul.ts';
import { argmax, max, sum, topK as topKOf } from './ops/reduce.ts';
import { concat, reshape, sliceAxis } from './ops/shape.ts';
import type { Tensor } from './tensor.ts';

export interface TokenLogProbsOptions {
  /** Tokens per chunk. Default: as many as keep one chunk of logits near 64 MiB. */
  readonly chunk?: number;
  /** Compute the logits again for the gradient (default: only when there is more than one chunk). */
  readonly recompute?: boolean;
  /** Divides the logits; 1 when left out. */
  readonly temperature?: number;
  /** Also return the k most likely tokens of each position with their log-probabilities. No gradient. */
  readonly topK?: number;
  /** Also return the most likely token of each position. No gradient. */
  readonly greedy?: boolean;
}

export interface TokenLogProbs {
  /** log p(label) in nats, [N] */
  readonly logProbs: Tensor;
  /** Entropy of the whole distribution in nats, [N]. No gradient unless it is used: it is part of the same pass. */
  readonly entropy: Tensor;
  /** The logit of the label before normalisation, [N]. No gradient. */
  readonly labelLogits: Tensor;
  /** Most likely token, int64 [N], when `greedy` is set. */
  readonly greedy: Tensor | undefined;
  /** Log-probs [N, k] and ids int64 [N, k], when `topK` is set. */
  readonly top: { readonly logProbs: Tensor; readonly ids: Tensor } | undefined;
}

const chunkElements = 16 * 1024 * 1024;

/** Tokens per chunk that keep a chunk of logits near 64 MiB, at least 16. */
export function defaultChunk(vocabulary: number): number {
  return Math.max(16, Math.floor(chunkElements / vocabulary));
}

/**
 * log p(label | hidden) under softmax(hidden · headᵀ / temperature), with the entropy, in one pass by chunks of tokens.
 * With more than one chunk, the chunk's logits are computed again for the gradient and chunks run one after the other,
 * so that memory is one chunk of logits, whatever the number of tokens.
 *
 * logProb = logit[label] − logSumExp(logits); entropy = logSumExp(logits) − Σ softmax(logits)·logits
 *
 * @param hidden [N, D] final hidden states
 * @param head [V, D] output embedding
 * @param labels int64 [N], in [0, V)
 * @returns tensors of length N, in nats
 * @throws ShapeError when the shapes disagree
 */
export function tokenLogProbs(
  hidden: Tensor,
  head: Tensor,
  labels: Tensor,
  options: TokenLogProbsOptions = {},
): TokenLogProbs {
  const { N, V } = checkShapes('tokenLogProbs', {
    hidden: [hidden, 'N D'],
    head: [head, 'V D'],
    labels: [labels, 'N'],
  });
  const size = Math.min(N!, options.chunk ?? defaultChunk(V!));
  const recompute = options.recompute ?? size < N!;
  const alpha = 1 / (options.temperature ?? 1);
  const differentiable = (rows: Tensor, ids: Tensor): readonly Tensor[] => {
    const logits = matmul(rows, head, { transposeB: true, alpha }); // [n, V]
    const label = pick(logits, ids); // [n]
    const top = stopGradient(max(logits, { axes: -1, keepDims: true })); // [n, 1]
    const shifted = sub(logits, top);
    const weights = exp(shifted);
    const total = sum(weights, { axes: -1 }); // [n]
    const logTotal = log(total);
    const normalizer = add(logTotal, reshape(top, [rows.shape[0]!])); // [n] log Σ exp
    const mean = mul(sum(mul(weights, shifted), { axes: -1 }), exp(sub(0, logTotal)));
    const entropy = sub(logTotal, mean);
    const extras: Tensor[] = [];
    if (options.greedy === true) extras.push(argmax(logits));
    if (options.topK !== undefined) {
      const best = topKOf(stopGradient(logits), options.topK);
      extras.push(sub(best.values, reshape(stopGradient(normalizer), [rows.shape[0]!, 1])), best.indices);
    }
    return [sub(label, normalizer), entropy, stopGradient(label), ...extras];
  };
  const run = recompute ? checkpoint(differentiable) : differentiable;
  const parts: (readonly Tensor[])[] = [];
  for (let start = 0; start < N!; start += size) {
    const end = Math.min(start + size, N!);
    const previous = parts.at(-1);
    const rows = sliceAxis(hidden, 0, start, end);
    const ordered = previous === undefined ? rows : after(rows, previous.map(stopGradient));
    parts.push(run(ordered, sliceAxis(labels, 0, start, end)));
  }
  const join = (index: number): Tensor =>
    concat(
      parts.map((part) => part[index]!),
      0,
    );
  const topAt = options.greedy === true ? 4 : 3;
  return {
    logProbs: join(0),
    entropy: join(1),
    labelLogits: join(2),
    greedy: options.greedy === true ? join(3) : undefined,
    top: options.topK === undefined ? undefined : { logProbs: join(topAt), ids: join(topAt + 1) },
  };
}
