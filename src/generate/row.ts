/** One completion in the making: draws its tokens, and decides when it ends. */
import { NumericError } from '../core/errors.ts';
import type { HostTensor } from '../core/host-tensor.ts';
import type { ConstraintState } from './constraint/constraint.ts';
import type { Completion, GenerateOptions } from './generate.ts';
import {
  type Draw,
  drawByBlock,
  drawWithOptions,
  greedyByBlock,
  isPlain,
  mostLikely,
  type RowOutputs,
  type SamplingOptions,
} from './sample.ts';
import { findStop } from './stop-text.ts';

/** Options that single rows may have of their own. */
export interface RowOptions extends SamplingOptions {
  readonly maxNewTokens: number;
  /** Tokens that end a completion; the one that did is its last token. */
  readonly stopIds: ReadonlySet<number>;
  /** Texts that end a completion; the tokens that complete one are its last (`completionText` leaves it out). Needs `decode`. */
  readonly stopTexts?: readonly string[] | undefined;
}

export interface Row {
  readonly promptIndex: number;
  readonly sampleIndex: number;
  readonly key: number;
  readonly prompt: ArrayLike<number>;
  readonly options: RowOptions;
  readonly ids: number[];
  readonly logProbs: number[];
  readonly samplingLogProbs: number[];
  readonly entropies: number[];
  readonly topLogProbs: (readonly TokenLogProb[])[];
  finish: Completion['finish'] | undefined;
  stop: Completion['stop'];
  /** Where the completion stands in its constraint, if it has one. */
  state: ConstraintState | undefined;
}

/** A row without tokens. */
export function createRow(
  place: Pick<Row, 'promptIndex' | 'sampleIndex' | 'key'>,
  prompt: ArrayLike<number>,
  options: RowOptions,
): Row {
  return {
    prompt,
    options,
    ids: [],
    logProbs: [],
    samplingLogProbs: [],
    entropies: [],
    topLogProbs: [],
    finish: undefined,
    stop: undefined,
    state: options.constraint?.start,
    // Last: what follows a spread costs Node a microsecond per property.
    ...place,
  };
}

/** A token of the vocabulary and its log-probability under the model, nats. */
export interface TokenLogProb {
  readonly id: number;
  readonly logProb: number;
}

/** What the rows of a program's outputs read, as views that each run fills anew. */
export function rowViews(outputs: Readonly<Record<string, HostTensor>>): RowOutputs[] {
  const view = (name: string, row: number): Float32Array => {
    const { data, shape } = outputs[name]!;
    const width = shape[1] ?? 1;
    return (data as Float32Array).subarray(row * width, (row + 1) * width);
  };
  return Array.from({ length: outputs['logTotal']!.shape[0]! }, (_, row) => ({
    logits: view('logits', row),
    peaks: view('peaks', row),
    weights: view('weights', row),
    sums: view('sums', row),
    logTotal: view('logTotal', row),
  }));
}

/** Options that all rows of a call share. */
type CommonOptions = Pick<GenerateOptions, 'rng' | 'entropy' | 'topLogProbs' | 'onToken' | 'decode'>;

/**
 * Adds the next token to an unfinished row and ends it when it is complete.
 *
 * @param room tokens that still fit into the model's context
 * @param drawn the token; drawn here when left out
 * @throws NumericError when the model's logits are NaN
 */
export function extend(
  row: Row,
  outputs: RowOutputs,
  options: CommonOptions,
  room: number,
  drawn: Draw = draw(row, outputs, options),
): void {
  const { token, logProb: samplingLogProb } = drawn;
  const { peaks } = outputs;
  let highest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < peaks.length; i++) if (peaks[i]! > highest) highest = peaks[i]!;
  const logNormalizer = highest + outputs.logTotal[0]!;
  const logProb = outputs.logits[token]! - logNormalizer;
  const position = row.ids.length;
  if (Number.isNaN(logProb)) {
    throw new NumericError({
      where: `generate(prompt ${row.promptIndex + 1}, token ${position + 1})`,
      expected: 'logits that are numbers',
      received: 'NaN',
      fix: 'Check the weights: a training step may have diverged',
    });
  }
  row.ids.push(token);
  row.logProbs.push(logProb);
  row.samplingLogProbs.push(samplingLogProb);
  if (options.entropy === true) row.entropies.push(entropyOf(outputs.logits, logNormalizer));
  if ((options.topLogProbs ?? 0) > 0)
    row.topLogProbs.push(topOf(outputs.logits, logNormalizer, options.topLogProbs!));
  if (row.options.stopIds.has(token)) {
    row.finish = 'stop';
    row.stop = token;
  } else {
    if (row.options.stopTexts !== undefined) row.stop = endingText(row, options.decode);
    if (row.state !== undefined) row.state = row.state.next(token);
    const complete = row.state?.mayEnd === true && row.state.allowed.length === 0;
    if (row.stop !== undefined || complete) row.finish = 'stop';
    else if (room <= 1 || row.ids.length >= row.options.maxNewTokens) row.finish = 'length';
  }
  if (options.onToken === undefined) return;
  const { promptIndex, sampleIndex, finish } = row;
  const top = row.topLogProbs.at(-1);
  const entropy = row.entropies.at(-1);
  const event = { promptIndex, sampleIndex, position, id: token, logProb, samplingLogProb };
  if (top === undefined && entropy === undefined && finish === undefined) options.onToken(event);
  else {
    options.onToken({
      ...event,
      ...(top === undefined ? {} : { topLogProbs: top }),
      ...(entropy === undefined ? {} : { entropy }),
      ...(finish === undefined ? {} : { finish }),
    });
  }
}

function draw(row: Row, outputs: RowOutputs, { rng }: CommonOptions): Draw {
  const { options: sampling, ids } = row;
  const plain = isPlain(sampling, ids.length);
  if (plain && sampling.temperature === 0) return { token: greedyByBlock(outputs), logProb: 0 };
  const u = sampling.temperature === 0 ? 0 : rng.uniform(...counters(row, ids.length));
  if (plain) return drawByBlock(outputs, u);
  return drawWithOptions(outputs.logits, u, sampling, {
    prompt: row.prompt,
    ids,
    stopIds: sampling.stopIds,
    state: row.state,
  });
}

/** What the draw of a token depends on. Sample 0 has the counters of a generator without samples. */
export function counters({ key, sampleIndex }: Row, position: number): number[] {
  return sampleIndex === 0 ? [key, position] : [key, position, sampleIndex];
}

/** −Σ p log p of a row of logits, nats. */
function entropyOf(logits: Float32Array, logNormalizer: number): number {
  let entropy = 0;
  for (let i = 0; i < logits.length; i++) {
    const logProb = logits[i]! - logNormalizer;
    entropy -= Math.exp(logProb) * logProb;
  }
  return entropy;
}

function topOf(logits: Float32Array, logNormalizer: number, count: number): TokenLogProb[] {
  return Array.from(mostLikely(logits, Math.min(count, logits.length)))
    .sort((a, b) => logits[b]! - logits[a]! || a - b)
    .map((id) => ({ id, logProb: logits[id]! - logNormalizer }));
}

/** The stop text that the row's last token completed, if any. */
function endingText({ ids, options }: Row, decode: GenerateOptions['decode']): string | undefined {
  const { stopTexts = [], minNewTokens = 0 } = options;
  if (stopTexts.length === 0 || decode === undefined || ids.length < minNewTokens) return undefined;
  // A character has at most 4 bytes and a token at least one, so that the text lies within this many tokens.
  const longest = 4 * Math.max(...stopTexts.map((text) => text.length)) + 4;
  const tail = ids.slice(-longest);
  return findStop(decode(tail), decode(tail.slice(0, -1)), stopTexts)?.stop;
}
