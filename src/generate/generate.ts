/** Generation with cached keys and values over slots that finished rows leave to waiting ones: ids in, ids and log-probabilities out. */
import { ConfigError } from '../core/errors.ts';
import type { Rng } from '../core/rng.ts';
import type { Binding, Engine } from '../engine/engine.ts';
import type { CausalModel } from '../models/causal-model.ts';
import type { Parameters } from '../nn/parameters.ts';
import type { BeamOptions } from './beam.ts';
import { type SlotCache, slotCache } from './cache.ts';
import { checkRequest } from './check-options.ts';
import { completionOf, createRows, decodeAll, follow, groupByPrompt } from './decode-all.ts';
import { createDecoder, createPrograms, type Decoder, type Programs } from './decoder.ts';
import { fingerprint } from './fingerprint.ts';
import type { Row, RowOptions, TokenLogProb } from './row.ts';
import { searchAll } from './search.ts';
import {
  createVerifier,
  decodeSpeculatively,
  draftModel,
  promptLookup,
  type Speculated,
} from './speculative.ts';

export type { RowOptions, TokenLogProb } from './row.ts';

export interface GenerateOptions extends RowOptions, Partial<BeamOptions> {
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
  /**
   * Guess this many tokens at a time and check them in one pass; 0 (default) guesses none. Guesses come from the generator's
   * `draft`, or from what prompt and completion say already. The distribution of completions does not change.
   */
  readonly speculate?: number | undefined;
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
  /** Entropy of the model's distribution in its place, nats; with `entropy`. */
  readonly entropy?: number;
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
  /** What beam search ranked it by; with `beams`. */
  readonly score?: number;
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
  /** Tokens guessed by `speculate`, and those of them that were kept, since creation. */
  readonly speculated?: Readonly<Speculated>;
  dispose(): void;
}

export interface GeneratorOptions {
  readonly engine: Engine;
  readonly model: CausalModel;
  readonly parameters: Parameters;
  /** A smaller model with the same vocabulary, which guesses for `speculate`. */
  readonly draft?: { readonly model: CausalModel; readonly parameters: Parameters } | undefined;
  /** Milliseconds from any origin, to tell engine time from the rest. */
  readonly clock?: () => number;
  /** Run the engine off the event loop, where other work goes on meanwhile, at some cost per step. */
  readonly offThread?: boolean | undefined;
  /**
   * Freeze the weights into the decode program: decodes faster, costs a compilation whenever the weights have changed and
   * a second copy of them in memory. `auto` (default): when a call may take `packingSteps` or more.
   */
  readonly prepack?: boolean | 'auto';
  /** Weights never change while the generator lives: packed ones are not compared with them before each call. */
  readonly frozen?: boolean | undefined;
}

/** Steps of a call from which packing pays under `prepack: 'auto'`: measured, docs/guide/generation.md. */
export const packingSteps = 64;

/** A generator over live weights: each call of `generate` reads `parameters` as they are. Do not change them during a call. */
export function createGenerator(options: GeneratorOptions): Generator {
  const { engine, model, parameters, draft, clock = () => 0 } = options;
  const { prepack = 'auto', frozen = false } = options;
  const weights = parameters.arrays();
  const live = createPrograms(engine, model, weights, false);
  let packed: { readonly programs: Programs; readonly of: string } | undefined;
  /** What the last call decoded with, for the next of the same size. */
  let idle: Decoding | undefined;
  let draftPrograms: Programs | undefined;
  const time = { engine: 0, total: 0 };
  const speculated: Speculated = { guessed: 0, kept: 0 };
  const timed = (start: number): void => {
    time.engine += clock() - start;
  };
  const run = (binding: Binding): void | Promise<void> => {
    const start = clock();
    if (options.offThread === true) return binding.run().then(() => timed(start));
    binding.runSync();
    timed(start);
  };

  function packedPrograms(): Programs {
    if (frozen && packed !== undefined) return packed.programs;
    const of = fingerprint(Object.values(weights));
    if (packed?.of !== of) {
      packed?.programs.dispose();
      packed = { programs: createPrograms(engine, model, weights, true), of };
    }
    return packed.programs;
  }

  /** Work with a decoder of that many slots and positions (`beyond` the context too), which may take that many steps. */
  async function decoding<T>(size: DecodingSize, work: DecodingWork<T>): Promise<T> {
    const longest = Math.min(size.length, model.maxPositions) + (size.beyond ?? 0);
    const pack = prepack === true || (prepack === 'auto' && size.steps >= packingSteps);
    const decode = pack ? packedPrograms() : live;
    // Taken while in use, so that calls at the same time do not share it.
    const last = idle;
    idle = undefined;
    const cache = slotCache(model, size.slots, longest, last?.cache);
    const fits = last?.cache === cache && last.decode === decode;
    if (!fits) last?.decoder.dispose();
    const decoder = fits ? last.decoder : createDecoder({ model, prefill: live, decode, cache, run });
    try {
      return await work(decoder, decode, cache);
    } finally {
      // That of a call at the same time.
      (idle as Decoding | undefined)?.decoder.dispose();
      idle = { decoder, cache, decode };
    }
  }

  /** Runs every row to its end, guessing. */
  async function speculateAll(
    rows: readonly Row[],
    work: {
      readonly slots: number;
      readonly length: number;
      readonly count: number;
      readonly decoder: Decoder;
      readonly programs: Programs;
      readonly cache: SlotCache;
    },
    options: GenerateOptions,
  ): Promise<void> {
    const { slots, length, count, decoder, programs, cache } = work;
    const { maxPositions } = model;
    const verifier = await createVerifier(programs, cache, slots, count, { run, maxPositions });
    let drafter: Decoder | undefined;
    if (draft !== undefined) {
      checkDraft(draft.model, model);
      draftPrograms ??= createPrograms(engine, draft.model, draft.parameters.arrays(), false);
      const longest = Math.min(length, draft.model.maxPositions) + count;
      drafter = createDecoder({
        ...{ model: draft.model, prefill: draftPrograms, decode: draftPrograms, run },
        cache: slotCache(draft.model, slots, longest, undefined),
      });
    }
    try {
      await decodeSpeculatively(rows, {
        ...{ slots, count, decoder, verifier, speculated, rng: options.rng },
        ...follow(rows, options, maxPositions),
        guesser:
          drafter === undefined ? promptLookup : draftModel(drafter, options.rng, draft!.model.maxPositions),
        prepare: drafter && ((targets) => drafter.prefill(targets, () => {})),
        group: groupByPrompt,
      });
    } finally {
      drafter?.dispose();
      verifier.dispose();
    }
  }

  return {
    time,
    speculated,
    async generate(prompts, options) {
      const start = clock();
      checkRequest(prompts, options, model);
      try {
        if (options.beams !== undefined) return await searchAll(prompts, options, model, decoding);
        const rows = createRows(prompts, options);
        if (rows.length === 0) return [];
        const slots = Math.min(options.batchSize ?? 32, rows.length);
        const length = Math.max(...rows.map(({ prompt, options }) => prompt.length + options.maxNewTokens));
        const steps = Math.ceil(rows.reduce((sum, { options }) => sum + options.maxNewTokens, 0) / slots);
        const count = options.speculate ?? 0;
        if (count > 0) {
          await decoding({ slots, length, steps, beyond: count }, (decoder, programs, cache) =>
            speculateAll(rows, { slots, length, count, decoder, programs, cache }, options),
          );
        } else {
          await decoding({ slots, length, steps }, (decoder) =>
            decodeAll(rows, slots, decoder, options, model.maxPositions),
          );
        }
        return rows.map((row) => completionOf(row, options));
      } finally {
        time.total += clock() - start;
      }
    },
    dispose() {
      idle?.decoder.dispose();
      idle = undefined;
      live.dispose();
      draftPrograms?.dispose();
      packed?.programs.dispose();
    },
  };
}

/** A decoder with what it decodes by. */
interface Decoding {
  readonly decoder: Decoder;
  readonly cache: SlotCache;
  readonly decode: Programs;
}

/** What a decoder is made for. */
export interface DecodingSize {
  readonly slots: number;
  readonly length: number;
  readonly steps: number;
  readonly beyond?: number;
}

export type DecodingWork<T> = (decoder: Decoder, programs: Programs, cache: SlotCache) => Promise<T>;

function checkDraft(draft: CausalModel, model: CausalModel): void {
  if (draft.vocabSize === model.vocabSize) return;
  throw new ConfigError({
    where: 'createGenerator(draft)',
    expected: `the model's vocabulary of ${model.vocabSize} tokens`,
    received: String(draft.vocabSize),
    fix: 'Use a draft model with the same tokenizer',
  });
}
