/** Log-probabilities of tokens without ever holding the [tokens, vocabulary] matrix. */
import { checkShapes } from '../core/shapes.ts';
import { customGradient } from './gradient.ts';
import { after, stopGradient } from './ops/control.ts';
import { add, log, mul, neg, sub } from './ops/elementwise.ts';
import { pick, scatterAddAlong } from './ops/indexing.ts';
import { matmul } from './ops/matmul.ts';
import { argmax, softmax, topK as topKOf } from './ops/reduce.ts';
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
}

export interface TokenLogProbs {
  /** log p(label) in nats, [N] */
  readonly logProbs: Tensor;
  /** Entropy of the whole distribution in nats, [N]. */
  readonly entropy: Tensor;
  /** Most likely token, int64 [N]. */
  readonly greedy: Tensor;
  /** The logit of the label before normalisation, [N]. No gradient. */
  readonly labelLogits: Tensor;
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
 * logProb = logit[label] − logSumExp(logits), with dlogits = onehot(label) − p;
 * entropy H = logSumExp(logits) − Σ p·logits, with dlogits = −p·(log p + H)
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
  }) as Record<'N' | 'V', number>;
  const size = Math.min(N, options.chunk ?? defaultChunk(V));
  const recompute = options.recompute ?? size < N;
  const alpha = 1 / (options.temperature ?? 1);
  const parts: (readonly Tensor[])[] = [];
  for (let start = 0; start < N; start += size) {
    const end = Math.min(start + size, N);
    const rows = sliceAxis(hidden, 0, start, end);
    const previous = parts.at(-1);
    const ordered = previous === undefined ? rows : after(rows, previous.map(stopGradient));
    parts.push(
      chunkLogProbs(ordered, head, sliceAxis(labels, 0, start, end), alpha, recompute, options.topK),
    );
  }
  const [logProbs, entropy, greedy, labelLogits, topLogProbs, topIds] = parts[0]!.map((_, index) =>
    concat(
      parts.map((part) => part[index]!),
      0,
    ),
  );
  return {
    logProbs: logProbs!,
    entropy: entropy!,
    greedy: greedy!,
    labelLogits: labelLogits!,
    top: options.topK === undefined ? undefined : { logProbs: topLogProbs!, ids: topIds! },
  };
}

/** One chunk: [logProbs, entropy, greedy, labelLogits, (top log-probs, top ids)]. */
function chunkLogProbs(
  rows: Tensor,
  head: Tensor,
  labels: Tensor,
  alpha: number,
  recompute: boolean,
  k: number | undefined,
): readonly Tensor[] {
  const n = rows.shape[0]!;
  const logitsOf = (hidden: Tensor, weight: Tensor): Tensor =>
    matmul(hidden, weight, { transposeB: true, alpha });
  const logits = logitsOf(rows, head); // [n, V]
  const probs = softmax(logits);
  const greedy = argmax(logits); // [n]
  // logSumExp from the largest element: its probability is at least 1/V, so the logarithm never sees 0.
  const normalizer = sub(pick(logits, greedy), log(pick(probs, greedy))); // [n]
  const label = pick(logits, labels);

  const rule = customGradient({
    forward: () => [sub(label, normalizer), sub(normalizer, rowDot(probs, logits))],
    backward([hidden, weight], [, entropy], [dLogProb, dEntropy]) {
      const ready = [dLogProb, dEntropy].filter((g) => g !== undefined);
      const again = recompute ? after(hidden!, ready) : hidden!;
      const logitsAgain = recompute ? logitsOf(again, weight!) : logits;
      const p = recompute ? softmax(logitsAgain) : probs;
      const column = (g: Tensor): Tensor => reshape(g, [n, 1]);
      let dLogits: Tensor | undefined;
      if (dLogProb !== undefined) {
        dLogits = scatterAddAlong(mul(p, column(neg(dLogProb))), column(labels), column(dLogProb));
      }
      if (dEntropy !== undefined) {
        const logP = sub(logitsAgain, column(normalizer));
        const fromEntropy = mul(mul(p, add(logP, column(entropy!))), column(neg(dEntropy)));
        dLogits = dLogits === undefined ? fromEntropy : add(dLogits, fromEntropy);
      }
      return dLogits === undefined
        ? []
        : [matmul(dLogits, weight!, { alpha }), matmul(dLogits, hidden!, { transposeA: true, alpha })];
    },
  });
  const [logProbs, entropy] = rule(rows, head);
  const plain = [logProbs!, entropy!, greedy, stopGradient(label)];
  if (k === undefined) return plain;
  const best = topKOf(stopGradient(logits), k);
  return [...plain, sub(best.values, reshape(stopGradient(normalizer), [n, 1])), best.indices];
}

/** Σ a·b along the last axis of two matrices as a batched product, which writes no [n, V] intermediate. */
function rowDot(a: Tensor, b: Tensor): Tensor {
  const [n, V] = a.shape as [number, number];
  return reshape(matmul(reshape(a, [n, 1, V]), reshape(b, [n, 1, V]), { transposeB: true }), [n]);
}
