/** Generation with cached keys and values over slots that finished rows leave to waiting ones: ids in, ids and log-probabilities out. */
import { ConfigError, DataError } from '../core/errors.ts';
import type { Rng } from '../core/rng.ts';
import type { Binding, Engine } from '../engine/engine.ts';
import type { CausalModel } from '../models/causal-model.ts';
import type { Parameters } from '../nn/parameters.ts';
import { type SlotCache, slotCache } from './cache.ts';
import { createDecoder, createPrograms, type Decoder, type Programs } from './decoder.ts';
import { fingerprint } from './fingerprint.ts';
import { createRow, extend, type Row, type RowOptions, type TokenLogProb } from './row.ts';
import type { RowOutputs, SamplingOptions } from './sample.ts';

export type { RowOptions, TokenLogProb } from './row.ts';

export interface GenerateOptions extends RowOptions {
  /** Source of randomness: the draw for a token depends on the prompt's key, the sample's index and the token's position only. */
  readonly rng: Rng;
  /** Rows decoded together; 32 when left out. */
  readonly batchSize?: number | undefined;
  /** Completions per prompt, 1 when left out. The prompt is computed once for those that start together. */
  readonly n?: number | undefined;
  /** A number in [0, 2^32) per prompt that its draws depend on; its index when left out. */
  readonly keys?: ArrayLike<number> | undefined;
  /** Options of single prompts, by their index, over the common ones. */
  readonly perPrompt?: ((promptIndex: number) => Partial<RowOptions>) | undefined;
  /** Text of tokens, for `stopTexts`. */
  readonly decode?: ((ids: readonly number[]) => string) | undefined;
  /** Also return the entropy of the model's distribution at each token: reads the whole vocabulary per token. */
  readonly entropy?: boolean | undefined;
  /** Also return this many most likely tokens at each token; 0 by default. Reads the whole vocabulary per token. */
  readonly topLogProbs?: number | undefined;
  /** Called after each batch step with the number of tokens it made, and awaited: to give way to other work, or to end by throwing. */
  readonly onTokens?: ((tokens: number) => void | Promise<void>) | undefined;
  /** Called with the completions of a prompt as soon as all of them have ended, and awaited. */
  readonly onCompletions?:
    | ((promptIndex: number, completions: readonly Completion[]) => void | Promise<void>)
    | undefined;
  /** Called with each token as soon as it is drawn. */
  readonly onToken?: ((event: TokenEvent) => void) | undefined;
}

/** One drawn token. */
export interface TokenEvent {
  readonly promptIndex: number;
  readonly sampleIndex: number;
  /** Index within the completion. */
  readonly position: number;
  readonly id: number;
  readonly logProb: number;
  readonly samplingLogProb: number;
  /** Most likely tokens in its place, likeliest first; with `topLogProbs`. */
  readonly topLogProbs?: readonly TokenLogProb[];
  /** Only with the last token. */
  readonly finish?: Completion['finish'];
}

export interface Completion {
  /** Tokens after the prompt, the stop token included. */
  readonly ids: number[];
  /** log p(token) under the model at temperature 1 without truncation, nats. */
  readonly logProbs: number[];
  /** log p(token) under the distribution that it was drawn from, nats; 0 at temperature 0. */
  readonly samplingLogProbs: number[];
  /** `stop`: ended by a stop token or text; `length`: by maxNewTokens or the model's context. */
  readonly finish: 'stop' | 'length';
  /** The stop token or text that ended it. */
  readonly stop?: number | string | undefined;
  /** Entropy of the model's distribution at each token, nats; with `entropy`. */
  readonly entropies?: number[];
  /** Most likely tokens at each token, likeliest first; with `topLogProbs`. */
  readonly topLogProbs?: (readonly TokenLogProb[])[];
}

export interface Generator {
  /**
   * `n` completions per prompt: those of prompt p are at p·n … p·n + n − 1.
   *
   * @throws DataError for an empty prompt or one that fills the context
   * @throws ConfigError for options out of range
   */
  generate(prompts: readonly ArrayLike<number>[], options: GenerateOptions): Promise<Completion[]>;
  /** Milliseconds spent inside the engine, and in all, since creation. */
  readonly time: { readonly engine: number; readonly total: number };
  dispose(): void;
}

export interface GeneratorOptions {
  readonly engine: Engine;
  readonly model: CausalModel;
  readonly parameters: Parameters;
  /** Milliseconds from any origin, to tell engine time from the rest. */
  readonly clock?: () => number;
  /**
   * Freeze the weights into the decode program: decodes faster, costs a compilation whenever the weights have changed and
   * a second copy of them in memory. `auto` (default): when a call may take `packingSteps` or more.
   */
  readonly prepack?: boolean | 'auto';
}

/** Steps of a call from which packing pays under `prepack: 'auto'`: measured, docs/guide/generation.md. */
export const packingSteps = 64;

/** A generator over live weights: each call of `generate` reads `parameters` as they are. Do not change them during a call. */
export function createGenerator(options: GeneratorOptions): Generator {
  const { engine, model, parameters, clock = () => 0, prepack = 'auto' } = options;
  const weights = parameters.arrays();
  const live = createPrograms(engine, model, weights, false);
  let packed: { readonly programs: Programs; readonly of: string } | undefined;
  let spare: SlotCache | undefined;
  const time = { engine: 0, total: 0 };
  const run = (binding: Binding): void => {
    const start = clock();
    binding.runSync();
    time.engine += clock() - start;
  };

  function packedPrograms(): Programs {
    const of = fingerprint(Object.values(weights));
    if (packed?.of !== of) {
      packed?.programs.dispose();
      packed = { programs: createPrograms(engine, model, weights, true), of };
    }
    return packed.programs;
  }

  return {
    time,
    async generate(prompts, options) {
      const start = clock();
      checkRequest(prompts, options, model);
      const rows = createRows(prompts, options);
      if (rows.length === 0) return [];
      const slots = Math.min(options.batchSize ?? 32, rows.length);
      const longest = Math.max(...rows.map(({ prompt, options }) => prompt.length + options.maxNewTokens));
      const steps = Math.ceil(rows.reduce((sum, { options }) => sum + options.maxNewTokens, 0) / slots);
      const length = Math.min(longest, model.maxPositions);
      // Taken while in use, so that calls at the same time do not share it; kept for the next call afterwards.
      const cache = slotCache(model, slots, length, spare);
      spare = undefined;
      const decoder = createDecoder({
        model,
        prefill: live,
        decode: prepack === true || (prepack === 'auto' && steps >= packingSteps) ? packedPrograms() : live,
        cache,
        run,
      });
      try {
        await decodeAll(rows, slots, decoder, options, model.maxPositions);
      } finally {
        decoder.dispose();
        spare = cache;
        time.total += clock() - start;
      }
      return rows.map((row) => completionOf(row, options));
    },
    dispose() {
      live.dispose();
      packed?.programs.dispose();
      spare = undefined;
    },
  };
}

/** Runs every row to its end. Slots 0 … active are decoded; those of finished rows go to waiting ones, shortest prompt first. */
async function decodeAll(
  rows: readonly Row[],
  slots: number,
  decoder: Decoder,
  options: GenerateOptions,
  maxPositions: number,
): Promise<void> {
  // Prompts of similar length are computed together: less padding. Samples of a prompt stay neighbours.
  const waiting = [...rows].sort((a, b) => a.prompt.length - b.prompt.length);
  let held: (Row | undefined)[] = new Array<Row | undefined>(slots).fill(undefined);
  let next = 0;
  const open = new Map<number, Row[]>();
  for (const row of rows) open.set(row.promptIndex, [...(open.get(row.promptIndex) ?? []), row]);
  const ended: number[] = [];
  const advance = (row: Row, outputs: RowOutputs): void => {
    extend(row, outputs, options, maxPositions - row.prompt.length - row.ids.length);
    if (row.finish !== undefined) ended.push(row.promptIndex);
  };
  const report = async (tokens: number): Promise<void> => {
    for (const promptIndex of ended.splice(0)) {
      const own = open.get(promptIndex);
      if (own === undefined || own.some(({ finish }) => finish === undefined)) continue;
      open.delete(promptIndex);
      await options.onCompletions?.(
        promptIndex,
        own.map((row) => completionOf(row, options)),
      );
    }
    await options.onTokens?.(tokens);
  };
  // Prompts wait until an eighth of the slots is free: a few larger prefills cost less than many of one row.
  const enough = Math.ceil(slots / 8);
  for (;;) {
    let free = held.filter((row) => row === undefined).length;
    while (next < waiting.length && (free >= enough || free >= waiting.length - next)) {
      const admitted = waiting.slice(next, next + free);
      next += admitted.length;
      const empty = [...held.keys()].filter((slot) => held[slot] === undefined);
      const targets = groupByPrompt(admitted.map((row, i) => ({ row, slot: empty[i]! })));
      await decoder.prefill(targets, (outputs, index) => {
        for (const { row, slot } of targets[index]!) {
          advance(row, outputs);
          if (row.finish === undefined) held[slot] = row;
        }
      });
      await report(admitted.length);
      free = held.filter((row) => row === undefined).length;
    }
    const active = held.length - free;
    if (active === 0) return;
    if (next === waiting.length && active <= held.length / 2) held = compact(held, active, decoder);
    const outputs = await decoder.step(held);
    held = held.map((row, slot) => {
      if (row !== undefined) advance(row, outputs[slot]!);
      return row?.finish === undefined ? row : undefined;
    });
    await report(active);
  }
}

/** Rows of the same prompt in one target, so that it is computed once. */
export function groupByPrompt<T extends { readonly row: Row }>(admitted: readonly T[]): T[][] {
  const groups = new Map<number, T[]>();
  for (const entry of admitted) {
    const { promptIndex } = entry.row;
    groups.set(promptIndex, [...(groups.get(promptIndex) ?? []), entry]);
  }
  return [...groups.values()];
}

/** Halves the slots until the rows just fit, moving rows to the front. */
export function compact(
  held: readonly (Row | undefined)[],
  active: number,
  decoder: Decoder,
): (Row | undefined)[] {
  let size = held.length;
  while (active <= size / 2) size = Math.ceil(size / 2);
  const front = held.slice(0, size);
  for (let slot = size; slot < held.length; slot++) {
    const row = held[slot];
    if (row === undefined) continue;
    const to = front.indexOf(undefined);
    decoder.move(slot, to, row);
    front[to] = row;
  }
  return front;
}

function createRows(prompts: readonly ArrayLike<number>[], options: GenerateOptions): Row[] {
  const n = options.n ?? 1;
  return prompts.flatMap((prompt, promptIndex) => {
    const own = { ...options, ...options.perPrompt?.(promptIndex) };
    const key = options.keys?.[promptIndex] ?? promptIndex;
    return Array.from({ length: n }, (_, sampleIndex) =>
      createRow({ promptIndex, sampleIndex, key }, prompt, own),
    );
  });
}

/** What a finished row has become. */
export function completionOf(row: Row, options: GenerateOptions): Completion {
  const { ids, logProbs, samplingLogProbs, entropies, topLogProbs, finish, stop } = row;
  return {
    ids,
    logProbs,
    samplingLogProbs,
    finish: finish!,
    ...(stop === undefined ? {} : { stop }),
    ...(options.entropy === true ? { entropies } : {}),
    ...((options.topLogProbs ?? 0) > 0 ? { topLogProbs } : {}),
  };
}

/** Refuses prompts and options that cannot be run. */
export function checkRequest(
  prompts: readonly ArrayLike<number>[],
  options: GenerateOptions,
  model: CausalModel,
): void {
  prompts.forEach((prompt, index) => {
    if (prompt.length > 0 && prompt.length < model.maxPositions) return;
    throw new DataError({
      where: `prompt ${index + 1}`,
      expected: `1 to ${model.maxPositions - 1} tokens, the model's context less one`,
      received: `${prompt.length} tokens`,
      fix: prompt.length === 0 ? 'Give a prompt, or a beginning-of-text token' : 'Shorten the prompt',
    });
  });
  const { n = 1, batchSize = 32 } = options;
  for (const [name, count] of Object.entries({ n, batchSize })) checkCount(name, count);
  prompts.forEach((_, index) => {
    checkRow({ ...options, ...options.perPrompt?.(index) }, model.vocabSize);
  });
}

function checkRow(options: RowOptions & Pick<GenerateOptions, 'decode'>, V: number): void {
  const { maxNewTokens, stopTexts = [], decode } = options;
  checkCount('maxNewTokens', maxNewTokens);
  if (stopTexts.length > 0 && decode === undefined)
    throw optionError('stopTexts', 'a function `decode` beside it', 'none');
  if (stopTexts.includes('')) throw optionError('stopTexts', 'texts that are not empty', '""');
  checkSampling(options, V);
}

function checkCount(name: string, count: number): void {
  if (Number.isInteger(count) && count >= 1) return;
  throw optionError(name, 'a positive integer', String(count));
}

function checkSampling(options: SamplingOptions, V: number): void {
  const { temperature, topK, topP, minP = 0, typicalP = 1, repetitionPenalty = 1 } = options;
  if (!(temperature >= 0)) throw optionError('temperature', '0 or more', String(temperature));
  if (!(Number.isInteger(topK) && topK >= 0))
    throw optionError('topK', 'an integer, 0 or more', String(topK));
  if (!(topP > 0)) throw optionError('topP', 'more than 0', String(topP));
  if (!(minP >= 0 && minP <= 1)) throw optionError('minP', '0 to 1', String(minP));
  if (!(typicalP > 0)) throw optionError('typicalP', 'more than 0', String(typicalP));
  if (!(repetitionPenalty > 0))
    throw optionError('repetitionPenalty', 'more than 0', String(repetitionPenalty));
  for (const token of options.logitBias?.keys() ?? []) {
    if (!(Number.isInteger(token) && token >= 0 && token < V))
      throw optionError('logitBias', `token ids below ${V}`, String(token));
  }
}

function optionError(name: string, expected: string, received: string): ConfigError {
  return new ConfigError({
    where: `generate(${name})`,
    expected,
    received,
    fix: 'Correct the option',
  });
}
