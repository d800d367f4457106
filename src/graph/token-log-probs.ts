/** Log-probabilities of tokens without ever holding the [tokens, vocabulary] matrix. */
import { ConfigError, ShapeError } from '../core/errors.ts';
import { checkShapes, formatShape } from '../core/shapes.ts';
import { customGradient } from './gradient.ts';
import { after, stopGradient } from './ops/control.ts';
import { add, log, mul, neg, sub, tanh } from './ops/elementwise.ts';
import { pick, scatterAddAlong } from './ops/indexing.ts';
import { matmul } from './ops/matmul.ts';
import { argmax, mean, softmax, topK as topKOf } from './ops/reduce.ts';
import { concat, reshape, sliceAxis } from './ops/shape.ts';
import type { Tensor } from './tensor.ts';

export interface TokenLogProbsOptions {
  /** Tokens per chunk. Default: as many as keep one chunk of logits near 64 MiB. */
  readonly chunk?: number;
  /** Compute the logits again for the gradient (default: only when there is more than one chunk). */
  readonly recompute?: boolean;
  /** Divides the logits; 1 when left out. */
  readonly temperature?: number;
  /** Logits are bent to lie within ±cap, cap · tanh(logit / cap), before the temperature; not bent when left out. */
  readonly cap?: number;
  /** Also return the mean of each token's logits over the vocabulary. No gradient. */
  readonly meanLogits?: boolean;
  /** Also return log Σ p² over the vocabulary, the log-probability that two draws agree. No gradient. */
  readonly logSumSquares?: boolean;
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
  /** Mean logit over the vocabulary, [N], when `meanLogits` is set. */
  readonly meanLogits: Tensor | undefined;
  /** log Σ p² over the vocabulary in nats, [N], when `logSumSquares` is set. */
  readonly logSumSquares: Tensor | undefined;
  /** Log-probs [N, k] and ids int64 [N, k], when `topK` is set. */
  readonly top: { readonly logProbs: Tensor; readonly ids: Tensor } | undefined;
}

const chunkElements = 16 * 1024 * 1024;

/** Tokens per chunk that keep a chunk of logits near 64 MiB, at least 16. */
export function defaultChunk(vocabulary: number): number {
  return Math.max(16, Math.floor(chunkElements / vocabulary));
}

/**
 * log p(label | hidden) under softmax(bent(hidden · headᵀ) / temperature), bent being the identity or `cap`'s tanh, with the entropy, in one pass by chunks of tokens.
 * With more than one chunk, the chunk's logits are computed again for the gradient, and chunks run strictly one after the
 * other, forward and backward, so that memory is a few chunks of logits, whatever the number of tokens. Price: one more
 * product with the head per chunk when there is a gradient.
 *
 * logProb = logit[label] − logSumExp(logits), with dlogits = onehot(label) − p;
 * entropy H = logSumExp(logits) − Σ p·logits, with dlogits = −p·(log p + H)
 *
 * @param hidden [N, D] final hidden states
 * @param head [V, D] output embedding
 * @param labels int64 [N], in [0, V)
 * @returns tensors of length N, in nats
 * @throws ShapeError when the shapes disagree or there is no token; ConfigError on a chunk below 1, or a temperature or cap not above 0
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
  if (N === 0) {
    throw new ShapeError({
      where: 'tokenLogProbs(hidden)',
      expected: 'at least one token',
      received: formatShape(hidden.shape),
    });
  }
  const { chunk = defaultChunk(V), temperature = 1, cap } = options;
  requireOption('chunk', 'an integer of at least 1', chunk, Number.isInteger(chunk) && chunk >= 1);
  requireOption('temperature', 'a number above 0', temperature, temperature > 0);
  if (cap !== undefined) requireOption('cap', 'a number above 0', cap, cap > 0);
  const plan: Plan = {
    spans: Array.from({ length: Math.ceil(N / chunk) }, (_, index) => ({
      start: index * chunk,
      end: Math.min((index + 1) * chunk, N),
    })),
    labels,
    ...scaleOf(options),
    recompute: options.recompute ?? chunk < N,
  };

  let chunks: Chunk[] = [];
  const rule = customGradient({
    forward(rows, weight) {
      chunks = forwardChunks(plan, rows!, weight!, options);
      return [joined(chunks, 'logProbs'), joined(chunks, 'entropy')];
    },
    backward: ([rows, weight], _outputs, cotangents) =>
      backwardChunks(plan, chunks, [rows!, weight!], cotangents),
  });
  const [logProbs, entropy] = rule(hidden, head);
  return {
    logProbs: logProbs!,
    entropy: entropy!,
    greedy: joined(chunks, 'greedy'),
    labelLogits: stopGradient(joined(chunks, 'labelLogits')),
    meanLogits: options.meanLogits ? stopGradient(joined(chunks, 'meanLogits')) : undefined,
    logSumSquares: options.logSumSquares ? stopGradient(joined(chunks, 'logSumSquares')) : undefined,
    top:
      options.topK === undefined
        ? undefined
        : { logProbs: joined(chunks, 'topLogProbs'), ids: joined(chunks, 'topIds') },
  };
}

interface Plan {
  readonly spans: readonly { readonly start: number; readonly end: number }[];
  readonly labels: Tensor;
  /** Multiplies the product with the head: 1 / temperature, or 1 / cap. */
  readonly alpha: number;
  /** Where there is a cap: what the logits stay below, cap / temperature. */
  readonly bound: number | undefined;
  readonly recompute: boolean;
}

/** What one chunk of n tokens gives, and what its gradient needs again. */
interface Chunk {
  readonly logits: Tensor; // [n, V]
  readonly probs: Tensor; // [n, V]
  readonly normalizer: Tensor; // [n]
  readonly logProbs: Tensor; // [n]
  readonly entropy: Tensor; // [n]
  readonly greedy: Tensor; // int64 [n]
  readonly labelLogits: Tensor; // [n]
  readonly meanLogits?: Tensor; // [n]
  readonly logSumSquares?: Tensor; // [n]
  readonly topLogProbs?: Tensor; // [n, k]
  readonly topIds?: Tensor; // int64 [n, k]
}

/** Logits of some tokens, [n, V]. */
function logitsOf({ alpha, bound }: Pick<Plan, 'alpha' | 'bound'>, rows: Tensor, head: Tensor): Tensor {
  const product = matmul(rows, head, { transposeB: true, alpha });
  return bound === undefined ? product : mul(tanh(product), bound);
}

/** bent(rows · headᵀ) / temperature, as `tokenLogProbs` has them, for a chunk of tokens: [n, V]. */
export const chunkLogits = (rows: Tensor, head: Tensor, options: LogitScale): Tensor =>
  logitsOf(scaleOf(options), rows, head);

interface LogitScale {
  readonly temperature?: number | undefined;
  readonly cap?: number | undefined;
}

function scaleOf({ temperature = 1, cap }: LogitScale) {
  return { alpha: 1 / (cap ?? temperature), bound: cap === undefined ? undefined : cap / temperature };
}

function forwardChunks(
  plan: Plan,
  hidden: Tensor,
  head: Tensor,
  { topK: k, meanLogits = false, logSumSquares = false }: TokenLogProbsOptions,
): Chunk[] {
  const { spans, labels } = plan;
  const chunks: Chunk[] = [];
  let done: readonly Tensor[] = [];
  for (const { start, end } of spans) {
    const rows = after(sliceAxis(hidden, 0, start, end), done);
    const logits = logitsOf(plan, rows, head); // [n, V]
    const probs = softmax(logits);
    const greedy = argmax(logits);
    // logSumExp from the largest element: its probability is at least 1/V, so the logarithm never sees 0.
    const normalizer = sub(pick(logits, greedy), log(pick(probs, greedy)));
    const labelLogits = pick(logits, sliceAxis(labels, 0, start, end));
    const logProbs = sub(labelLogits, normalizer);
    const entropy = sub(normalizer, rowDot(probs, logits));
    const average = meanLogits ? mean(logits, { axes: 1 }) : undefined;
    // At least 1/V² by its largest element, so the logarithm never sees 0.
    const agreement = logSumSquares ? log(rowDot(probs, probs)) : undefined;
    const best = k === undefined ? undefined : topKOf(stopGradient(logits), k);
    chunks.push({
      logits,
      probs,
      normalizer,
      logProbs,
      entropy,
      greedy,
      labelLogits,
      ...(average && { meanLogits: average }),
      ...(agreement && { logSumSquares: agreement }),
      ...(best && {
        topLogProbs: sub(best.values, column(stopGradient(normalizer))),
        topIds: best.indices,
      }),
    });
    done = [
      logProbs,
      entropy,
      greedy,
      labelLogits,
      ...(average === undefined ? [] : [average]),
      ...(agreement === undefined ? [] : [agreement]),
      ...(best === undefined ? [] : [best.values, best.indices]),
    ];
  }
  return chunks;
}

/** Cotangents of hidden and head: chunk after chunk, so that neither logits nor their cotangents pile up. */
function backwardChunks(
  plan: Plan,
  chunks: readonly Chunk[],
  [hidden, head]: readonly [Tensor, Tensor],
  [dLogProbs, dEntropy]: readonly (Tensor | undefined)[],
): readonly (Tensor | undefined)[] {
  const { spans, labels, alpha, bound, recompute } = plan;
  const dRows: Tensor[] = [];
  let dHead: Tensor | undefined;
  let done = [dLogProbs, dEntropy].filter((g) => g !== undefined);
  for (const [index, { start, end }] of spans.entries()) {
    const { logits: known, probs, normalizer, entropy } = chunks[index]!;
    const rows = after(sliceAxis(hidden, 0, start, end), done);
    const logits = recompute ? logitsOf(plan, rows, head) : known; // [n, V]
    const p = recompute ? softmax(logits) : probs;
    const g = dLogProbs && sliceAxis(dLogProbs, 0, start, end); // [n]
    const h = dEntropy && sliceAxis(dEntropy, 0, start, end); // [n]
    // dlogits = g·onehot − p·(g + h·(log p + H)). Logits and normalizer are subtracted first: they may be large and near.
    const logP = h && sub(logits, column(normalizer));
    const perToken = [g, h && mul(h, entropy)]
      .filter((part) => part !== undefined)
      .reduce((x, y) => add(x, y)); // [n]
    const factor = h && logP ? sub(mul(logP, column(neg(h))), column(perToken)) : column(neg(perToken));
    const smooth = mul(p, factor);
    const dLogits =
      g === undefined ? smooth : scatterAddAlong(smooth, column(sliceAxis(labels, 0, start, end)), column(g));
    // The slope of b·tanh(x) is b − b·tanh(x)²; here b·tanh(x) is the logit.
    const dProduct =
      bound === undefined ? dLogits : mul(dLogits, sub(bound, mul(mul(logits, logits), 1 / bound)));
    dRows.push(matmul(dProduct, head, { alpha }));
    const own = matmul(dProduct, rows, { transposeA: true, alpha });
    dHead = dHead === undefined ? own : add(dHead, own);
    done = [dRows.at(-1)!, dHead];
  }
  return [concat(dRows, 0), dHead];
}

const column = (x: Tensor): Tensor => reshape(x, [x.shape[0]!, 1]);
const joined = (chunks: readonly Chunk[], key: keyof Chunk): Tensor =>
  concat(
    chunks.map((chunk) => chunk[key]!),
    0,
  );

/** Σ a·b along the last axis of two matrices as a batched product, which writes no [n, V] intermediate. */
function rowDot(a: Tensor, b: Tensor): Tensor {
  const [n, V] = a.shape as [number, number];
  return reshape(matmul(reshape(a, [n, 1, V]), reshape(b, [n, 1, V]), { transposeB: true }), [n]);
}

function requireOption(name: string, expected: string, received: number, fits: boolean): void {
  if (fits) return;
  throw new ConfigError({ where: `tokenLogProbs(${name})`, expected, received: String(received) });
}
