/** Batched generation with cached keys and values: ids in, ids and log-probabilities out. */
import { DataError } from '../core/errors.ts';
import type { Rng } from '../core/rng.ts';
import type { Binding, Engine } from '../engine/engine.ts';
import { createProgramCache } from '../engine/program-cache.ts';
import type { CausalModel } from '../models/causal-model.ts';
import type { Parameters } from '../nn/parameters.ts';
import { cacheTensorNames, decodeProgram, prefillProgram } from './programs.ts';
import { type SamplingOptions, sampleToken } from './sample.ts';

export interface GenerateOptions extends SamplingOptions {
  readonly maxNewTokens: number;
  /** Tokens that end a completion; the one that did is its last token. */
  readonly stopIds: ReadonlySet<number>;
  /** Source of randomness: the draw for a token depends on the prompt's index and the token's position only. */
  readonly rng: Rng;
  /** Rows decoded together. */
  readonly batchSize?: number;
  /** Called after each decoded batch step with the number of tokens made so far. */
  readonly onTokens?: (tokens: number) => void;
}

export interface Completion {
  /** Tokens after the prompt, the stop token included. */
  readonly ids: number[];
  /** log p(token) under the model at temperature 1 without truncation, nats. */
  readonly logProbs: number[];
  /** `stop`: ended by a stop token; `length`: by maxNewTokens or the model's context. */
  readonly finish: 'stop' | 'length';
}

export interface Generator {
  /** One completion per prompt, in order. Throws `DataError` for an empty prompt or one that fills the context. */
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
}

/** Prompts are padded to a multiple of this; the cache holds a multiple of it. */
const promptBucket = 16;
const cacheBucket = 64;

const roundUp = (n: number, multiple: number): number => Math.ceil(n / multiple) * multiple;

/** A generator over live weights: it reads `parameters` as they are at each step. */
export function createGenerator({ engine, model, parameters, clock = () => 0 }: GeneratorOptions): Generator {
  const cache = createProgramCache(engine, { limit: 6 });
  const weights = parameters.arrays();
  const time = { engine: 0, total: 0 };

  const timed = (binding: Binding): void => {
    const start = clock();
    binding.runSync();
    time.engine += clock() - start;
  };

  async function generateBatch(prompts: readonly Row[], options: GenerateOptions): Promise<void> {
    const B = prompts.length;
    const longest = Math.max(...prompts.map(({ prompt }) => prompt.length));
    const T = roundUp(longest, promptBucket);
    const M = roundUp(Math.min(longest + options.maxNewTokens, model.maxPositions), cacheBucket);
    const prefill = await cache.get(`prefill ${B}×${T}`, () => prefillProgram(model, B, T));
    const decode = await cache.get(`decode ${B}×${M}`, () => decodeProgram(model, B, M));
    const temperature = new Float32Array(B).fill(options.temperature > 0 ? options.temperature : 1);
    const names = cacheTensorNames(model);
    const heads = model.keyValueHeads;
    const past = Object.fromEntries(
      names.map((name) => [name, new Float32Array(B * heads * M * model.headSize)]),
    );

    const ids = new BigInt64Array(B * T);
    const positions = BigInt64Array.from(ids, (_, i) => BigInt(i % T));
    prompts.forEach(({ prompt }, row) => {
      for (let t = 0; t < prompt.length; t++) ids[row * T + t] = BigInt(prompt[t]!);
    });
    const last = BigInt64Array.from(prompts, ({ prompt }, row) => BigInt(row * T + prompt.length - 1));
    const first = prefill.bind({ ...weights, ids, positions, last, temperature });
    timed(first);
    for (const name of names) {
      copyHeads(
        first.outputs[`new.${name}`]!.data as Float32Array,
        T,
        past[name]!,
        M,
        B * heads,
        model.headSize,
      );
    }
    const lengths = BigInt64Array.from(prompts, ({ prompt }) => BigInt(prompt.length));
    let active = choose(first, prompts, options);
    first.dispose();

    const nextIds = new BigInt64Array(B);
    const nextPositions = new BigInt64Array(B);
    const binding = decode.bind({
      ...weights,
      ...past,
      ids: nextIds,
      positions: nextPositions,
      lengths,
      temperature,
    });
    try {
      while (active > 0) {
        prompts.forEach((row, index) => {
          nextIds[index] = BigInt(row.ids.at(-1)!);
          nextPositions[index] = lengths[index]!;
        });
        timed(binding);
        for (const name of names) {
          appendHeads(
            binding.outputs[`new.${name}`]!.data as Float32Array,
            past[name]!,
            M,
            lengths,
            heads,
            model.headSize,
          );
        }
        // A finished row goes on in place, overwriting the position after its end, so that nothing runs past the cache.
        prompts.forEach((row, index) => {
          if (row.finish === undefined) lengths[index] = lengths[index]! + 1n;
        });
        active = choose(binding, prompts, options);
      }
    } finally {
      binding.dispose();
    }
  }

  /** Adds the next token to every unfinished row; returns how many remain unfinished. */
  function choose(binding: Binding, rows: readonly Row[], options: GenerateOptions): number {
    const greedy = binding.outputs['greedy']!.data as BigInt64Array;
    const logProbs = binding.outputs['logProbs']!.data as Float32Array;
    const probs = binding.outputs['probs']!.data as Float32Array;
    const V = model.vocabSize;
    let unfinished = 0;
    let made = 0;
    rows.forEach((row, index) => {
      if (row.finish !== undefined) return;
      const token =
        options.temperature === 0
          ? Number(greedy[index])
          : sampleToken(
              probs.subarray(index * V, (index + 1) * V),
              options.rng.uniform(row.index, row.ids.length),
              options,
            );
      row.ids.push(token);
      row.logProbs.push(logProbs[index * V + token]!);
      made++;
      const full = row.prompt.length + row.ids.length >= model.maxPositions;
      if (options.stopIds.has(token)) row.finish = 'stop';
      else if (full || row.ids.length >= options.maxNewTokens) row.finish = 'length';
      else unfinished++;
    });
    options.onTokens?.(made);
    return unfinished;
  }

  return {
    time,
    async generate(prompts, options) {
      const start = clock();
      prompts.forEach((prompt, index) => {
        if (prompt.length > 0 && prompt.length < model.maxPositions) return;
        throw new DataError({
          where: `prompt ${index + 1}`,
          expected: `1 to ${model.maxPositions - 1} tokens, the model's context less one`,
          received: `${prompt.length} tokens`,
          fix: prompt.length === 0 ? 'Give a prompt, or a beginning-of-text token' : 'Shorten the prompt',
        });
      });
      const rows: Row[] = Array.from(prompts, (prompt, index) => ({
        index,
        prompt,
        ids: [],
        logProbs: [],
        finish: undefined,
      }));
      // Rows of similar length share a batch: less padding.
      const sorted = [...rows].sort((a, b) => a.prompt.length - b.prompt.length);
      const size = options.batchSize ?? 32;
      for (let at = 0; at < sorted.length; at += size)
        await generateBatch(sorted.slice(at, at + size), options);
      time.total += clock() - start;
      return rows.map(({ ids, logProbs, finish }) => ({ ids, logProbs, finish: finish! }));
    },
    dispose: () => cache.dispose(),
  };
}

interface Row {
  readonly index: number;
  readonly prompt: ArrayLike<number>;
  readonly ids: number[];
  readonly logProbs: number[];
  finish: Completion['finish'] | undefined;
}

/** Copies [rows, T, E] into the front of [rows, M, E]. */
function copyHeads(
  source: Float32Array,
  T: number,
  target: Float32Array,
  M: number,
  rows: number,
  E: number,
): void {
  const kept = Math.min(T, M);
  for (let row = 0; row < rows; row++) {
    target.set(source.subarray(row * T * E, (row * T + kept) * E), row * M * E);
  }
}

/** Stores [B, K, 1, E] at position `lengths[b]` of [B, K, M, E]. */
function appendHeads(
  source: Float32Array,
  target: Float32Array,
  M: number,
  lengths: BigInt64Array,
  K: number,
  E: number,
): void {
  for (let row = 0; row < lengths.length * K; row++) {
    const at = (row * M + Number(lengths[Math.floor(row / K)])) * E;
    for (let e = 0; e < E; e++) target[at + e] = source[row * E + e]!;
  }
}
