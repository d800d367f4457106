/** Choosing a token from a distribution. */
import { NumericError } from '../core/errors.ts';
import { type Constraint, type ConstraintState, keepAllowed } from './constraint/constraint.ts';

export interface SamplingOptions {
  /** 0 takes the most likely token; otherwise the logits are divided by it. */
  readonly temperature: number;
  /** Keep the k most likely tokens; 0 keeps all. */
  readonly topK: number;
  /** Keep the fewest most likely tokens whose probabilities sum to at least this; 1 keeps all. */
  readonly topP: number;
  /** Drop tokens less likely than this times the most likely one; 0 (default) keeps all. */
  readonly minP?: number | undefined;
  /** Keep the tokens whose surprise is nearest to the entropy, until their probabilities reach this sum; 1 (default) keeps all. */
  readonly typicalP?: number | undefined;
  /** Divides positive and multiplies negative logits of tokens in the prompt or the completion; 1 (default) does nothing. */
  readonly repetitionPenalty?: number | undefined;
  /** Subtracted from a token's logit once per time it is in the completion; 0 by default. */
  readonly frequencyPenalty?: number | undefined;
  /** Subtracted from the logit of each token that is in the completion; 0 by default. */
  readonly presencePenalty?: number | undefined;
  /** Added to the logits of tokens, nats; −Infinity forbids one. */
  readonly logitBias?: ReadonlyMap<number, number> | undefined;
  /** No stop token is drawn before the completion has this many tokens; 0 by default. */
  readonly minNewTokens?: number | undefined;
  /** What the completion must be. It ends where nothing may follow; stop tokens are drawn only where it may end. */
  readonly constraint?: Constraint | undefined;
}

type Truncation = Pick<SamplingOptions, 'topK' | 'topP' | 'minP' | 'typicalP'>;

/** A token and its log-probability under the distribution it was drawn from, nats. */
export interface Draw {
  readonly token: number;
  readonly logProb: number;
}

/** Whether a row's distribution is the model's own at a temperature: then blocks of the vocabulary are enough. */
export function isPlain(options: SamplingOptions, made: number): boolean {
  return (
    options.topK === 0 &&
    options.topP >= 1 &&
    (options.minP ?? 0) === 0 &&
    (options.typicalP ?? 1) >= 1 &&
    (options.repetitionPenalty ?? 1) === 1 &&
    (options.frequencyPenalty ?? 0) === 0 &&
    (options.presencePenalty ?? 0) === 0 &&
    (options.logitBias?.size ?? 0) === 0 &&
    options.constraint === undefined &&
    (options.minNewTokens ?? 0) <= made
  );
}

/**
 * Draws an index from probabilities by inverting their cumulative sum, after truncation.
 *
 * @param probs probabilities that sum to about 1, [V]
 * @param u uniform number in [0, 1)
 */
export function sampleToken(probs: ArrayLike<number>, u: number, truncation: Truncation): number {
  return drawFrom(probs, truncate(probs, truncation), u).token;
}

/**
 * The tokens that truncation keeps, or undefined for all: top-k, then top-p, min-p and typical sampling, each on what the
 * one before left, renormalised. At least one token is kept.
 *
 * @source top-p: Holtzman et al. 2020, section 3.1; min-p: Nguyen et al. 2024, section 3; typical: Meister et al. 2023, section 4.1
 */
export function truncate(
  probs: ArrayLike<number>,
  { topK, topP, minP = 0, typicalP = 1 }: Truncation,
): Uint32Array | undefined {
  const cut = topK > 0 && topK < probs.length;
  if (!cut && topP >= 1 && minP === 0 && typicalP >= 1) return undefined;
  const total = sumOf(probs, undefined);
  // Tokens below (1 − topP) / V sum to less than 1 − topP: the nucleus cannot need them, and sorting few is fast.
  const least = topP < 1 ? ((1 - topP) / probs.length) * total : 0;
  let kept = cut ? mostLikely(probs, topK) : above(probs, least);
  kept.sort((a, b) => probs[b]! - probs[a]! || a - b);
  if (topP < 1)
    kept = kept.subarray(0, countReaching(probs, kept, topP * (cut ? sumOf(probs, kept) : total)));
  if (minP > 0) {
    const lowest = minP * probs[kept[0]!]!;
    kept = kept.filter((token) => probs[token]! >= lowest);
  }
  if (typicalP < 1) {
    const mass = sumOf(probs, kept);
    let entropy = 0;
    for (const token of kept)
      if (probs[token]! > 0) entropy -= (probs[token]! / mass) * Math.log(probs[token]! / mass);
    const distance = (token: number): number => Math.abs(-Math.log(probs[token]! / mass) - entropy);
    kept = kept.filter((token) => probs[token]! > 0).sort((a, b) => distance(a) - distance(b) || a - b);
    kept = kept.subarray(0, countReaching(probs, kept, typicalP * mass));
  }
  return kept;
}

/** Draws among `kept` (all when undefined) by inverting the cumulative sum with u. */
export function drawFrom(probs: ArrayLike<number>, kept: Uint32Array | undefined, u: number): Draw {
  const count = kept?.length ?? probs.length;
  const total = sumOf(probs, kept);
  const target = u * total;
  let cumulative = 0;
  let token = kept?.[0] ?? 0;
  for (let i = 0; i < count; i++) {
    const candidate = kept === undefined ? i : kept[i]!;
    const p = probs[candidate]!;
    if (p === 0) continue;
    token = candidate;
    cumulative += p;
    if (cumulative > target) break;
  }
  return { token, logProb: Math.log(probs[token]! / total) };
}

/** Numbers of one row as the programs return them: see `distributions`. */
export interface RowOutputs {
  readonly weights: Float32Array;
  readonly sums: Float32Array;
  readonly logits: Float32Array;
  readonly peaks: Float32Array;
  /** One number. */
  readonly logTotal: Float32Array;
}

/** `drawFrom` all tokens by way of the sums of blocks: reads about 2√V numbers. */
export function drawByBlock({ weights, sums }: Pick<RowOutputs, 'weights' | 'sums'>, u: number): Draw {
  const width = weights.length / sums.length;
  let total = 0;
  for (let i = 0; i < sums.length; i++) total += sums[i]!;
  const target = u * total;
  let cumulative = 0;
  let block = 0;
  for (let i = 0; i < sums.length; i++) {
    if (sums[i] === 0) continue;
    block = i;
    if (cumulative + sums[i]! > target) break;
    cumulative += sums[i]!;
  }
  // The sum of a block and of its elements may differ in the last bit: the last token with a weight catches the rest.
  let token = block * width;
  for (let i = block * width; i < (block + 1) * width; i++) {
    if (weights[i] === 0) continue;
    token = i;
    cumulative += weights[i]!;
    if (cumulative > target) break;
  }
  return { token, logProb: Math.log(weights[token]! / total) };
}

/** The most likely token, the first of equals, by way of the highest logit of each block. */
export function greedyByBlock({ logits, peaks }: Pick<RowOutputs, 'logits' | 'peaks'>): number {
  const width = logits.length / peaks.length;
  let block = 0;
  for (let i = 1; i < peaks.length; i++) if (peaks[i]! > peaks[block]!) block = i;
  return logits.indexOf(peaks[block]!, block * width);
}

/** What penalties look at. */
export interface DrawContext {
  readonly prompt: ArrayLike<number>;
  /** The completion so far. */
  readonly ids: readonly number[];
  readonly stopIds: ReadonlySet<number>;
  /** Where the completion stands in the constraint. */
  readonly state?: ConstraintState | undefined;
}

/**
 * Draws a token from logits under all options, in this order: repetition, frequency and presence penalties, bias, forbidden
 * stop tokens, constraint, temperature, truncation. Greedy draws have log-probability 0: the distribution is a point.
 *
 * @param logits one row, [V]
 * @param u uniform number in [0, 1)
 * @throws NumericError when no token is left or a logit is not a number
 * @source repetition penalty: Keskar et al. 2019, section 4.1
 */
export function drawWithOptions(
  logits: Float32Array,
  u: number,
  options: SamplingOptions,
  context: DrawContext,
): Draw {
  const scores = adjust(logits, options, context);
  const highest = finitePeak(scores);
  if (options.temperature === 0) return { token: scores.indexOf(highest), logProb: 0 };
  const probs = softmax(scores, highest, options.temperature);
  return drawFrom(probs, truncate(probs, options), u);
}

/**
 * The distribution that `drawWithOptions` draws from, [V]: probabilities that sum to 1; a point at temperature 0.
 *
 * @throws NumericError when no token is left or a logit is not a number
 */
export function samplingDistribution(
  logits: Float32Array,
  options: SamplingOptions,
  context: DrawContext,
): Float64Array {
  const scores = adjust(logits, options, context);
  const highest = finitePeak(scores);
  if (options.temperature === 0) {
    const point = new Float64Array(scores.length);
    point[scores.indexOf(highest)] = 1;
    return point;
  }
  const probs = softmax(scores, highest, options.temperature);
  const kept = truncate(probs, options);
  if (kept === undefined) return probs;
  const total = sumOf(probs, kept);
  const left = new Float64Array(probs.length);
  for (const token of kept) left[token] = probs[token]! / total;
  return left;
}

/** Probabilities of scores at a temperature, in their place. */
function softmax(scores: Float64Array, highest: number, temperature: number): Float64Array {
  for (let i = 0; i < scores.length; i++) scores[i] = Math.exp((scores[i]! - highest) / temperature);
  const total = sumOf(scores, undefined);
  for (let i = 0; i < scores.length; i++) scores[i] = scores[i]! / total;
  return scores;
}

function finitePeak(scores: Float64Array): number {
  const highest = peakOf(scores);
  if (Number.isFinite(highest)) return highest;
  throw new NumericError({
    where: 'drawWithOptions',
    expected: 'a token with a finite logit',
    received: `a highest logit of ${highest}`,
    fix: 'Allow at least one token that is not a stop token; check the weights for NaN',
  });
}

/** Logits after penalties, bias and forbidden stop tokens. */
export function adjust(
  logits: Float32Array,
  options: SamplingOptions,
  { prompt, ids, stopIds, state }: DrawContext,
): Float64Array {
  const { repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0, minNewTokens = 0 } = options;
  const scores = Float64Array.from(logits);
  if (repetitionPenalty !== 1) {
    for (const token of new Set([...Array.from(prompt), ...ids])) {
      const score = scores[token]!;
      scores[token] = score > 0 ? score / repetitionPenalty : score * repetitionPenalty;
    }
  }
  if (frequencyPenalty !== 0) for (const token of ids) scores[token] = scores[token]! - frequencyPenalty;
  if (presencePenalty !== 0)
    for (const token of new Set(ids)) scores[token] = scores[token]! - presencePenalty;
  for (const [token, bias] of options.logitBias ?? []) scores[token] = scores[token]! + bias;
  if (ids.length < minNewTokens) for (const token of stopIds) scores[token] = Number.NEGATIVE_INFINITY;
  return state === undefined ? scores : keepAllowed(scores, state, stopIds);
}

/** The k highest of `values`, in no particular order; of equals at the border, the lowest indices. */
export function mostLikely(values: ArrayLike<number>, k: number): Uint32Array {
  const threshold = kthHighest(values, k);
  const kept = new Uint32Array(k);
  let count = 0;
  for (let i = 0; i < values.length; i++) if (values[i]! > threshold) kept[count++] = i;
  for (let i = 0; i < values.length && count < k; i++) if (values[i] === threshold) kept[count++] = i;
  return kept;
}

/** @source Hoare 1961, "Algorithm 65: find", with the middle element as pivot. */
function kthHighest(values: ArrayLike<number>, k: number): number {
  const data = Float64Array.from(values);
  let [low, high] = [0, data.length - 1];
  while (low < high) {
    const pivot = data[(low + high) >> 1]!;
    let [left, right] = [low, high];
    while (left <= right) {
      while (data[left]! > pivot) left++;
      while (data[right]! < pivot) right--;
      if (left > right) break;
      [data[left], data[right]] = [data[right]!, data[left]!];
      left++;
      right--;
    }
    if (k - 1 <= right) high = right;
    else if (k - 1 >= left) low = left;
    else break;
  }
  return data[k - 1]!;
}

function above(values: ArrayLike<number>, least: number): Uint32Array {
  const kept = new Uint32Array(values.length);
  let count = 0;
  for (let i = 0; i < values.length; i++) if (values[i]! >= least) kept[count++] = i;
  return kept.subarray(0, count);
}

function countReaching(probs: ArrayLike<number>, order: Uint32Array, target: number): number {
  let cumulative = 0;
  let count = 0;
  while (count < order.length && cumulative < target) cumulative += probs[order[count++]!]!;
  return Math.max(count, 1);
}

function sumOf(values: ArrayLike<number>, kept: Uint32Array | undefined): number {
  let total = 0;
  if (kept === undefined) for (let i = 0; i < values.length; i++) total += values[i]!;
  else for (let i = 0; i < kept.length; i++) total += values[kept[i]!]!;
  return total;
}

function peakOf(values: ArrayLike<number>): number {
  let highest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i++) highest = Math.max(highest, values[i]!);
  return highest;
}
