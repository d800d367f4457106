/** A model as the server holds it: what generates, embeds and scores, and how much of it may be asked at once. */
import type { Rng } from '../core/rng.ts';
import { createEncoder, type Encoder } from '../data/index.ts';
import type { Engine } from '../engine/engine.ts';
import { createProgramCache } from '../engine/program-cache.ts';
import {
  type Completion,
  createGenerator,
  type GenerateOptions,
  type Generator,
  mostLikely,
  type TokenLogProb,
  textConstraints,
} from '../generate/index.ts';
import { createSession, type GeneratorSession } from '../generate/session.ts';
import { sub } from '../graph/ops/elementwise.ts';
import { trace } from '../graph/program.ts';
import { logSumExp } from '../graph/stable.ts';
import { logitsOf, weightTypes } from '../models/causal-model.ts';
import type { CausalModel } from '../models/index.ts';
import { isScoreModel } from '../models/score-model.ts';
import type { Parameters } from '../nn/parameters.ts';
import { hiddenForward } from '../parts/forward.ts';
import { openRewardModel } from '../parts/scorer/open-reward-model.ts';
import type { RewardCard } from '../parts/scorer/reward-card.ts';
import type { Score, ScoreItem } from '../parts/scorer/scorer.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { ApiError } from './errors.ts';

export interface ServedModelOptions {
  /** Name in requests. */
  readonly id: string;
  /** Name of the model that this one is an adapter of. */
  readonly parent?: string | undefined;
  readonly engine: Engine;
  readonly model: CausalModel;
  readonly parameters: Parameters;
  readonly tokenizer: Tokenizer;
  /** Of a reward model. */
  readonly card?: RewardCard | undefined;
  /** Rows decoded together. */
  readonly slots: number;
  /** Rows and other requests that may wait; beyond, 429. */
  readonly queue: number;
  /** Longest prompt and completion together, tokens. */
  readonly maxTokens: number;
  readonly prepack: boolean;
  /** Tokens guessed at a time for a row that is alone; none when left out. */
  readonly speculate?: number | undefined;
  readonly pause: () => Promise<void>;
  /** Milliseconds from any origin. */
  readonly clock: () => number;
  readonly rng: Rng;
}

/** log p of a token under the model, and the most likely ones in its place. */
export interface ScoredToken {
  readonly logProb: number;
  readonly top: readonly TokenLogProb[];
}

export interface ServedModel {
  readonly id: string;
  readonly parent: string | undefined;
  readonly kind: 'text' | 'score';
  readonly tokenizer: Tokenizer;
  readonly encoder: Encoder;
  readonly hiddenSize: number;
  readonly vocabSize: number;
  readonly maxTokens: number;
  readonly slots: number;
  readonly queue: number;
  readonly rng: Rng;
  /** Makes constraints over its tokens. */
  readonly constraints: ReturnType<typeof textConstraints>;
  /** Undefined for models that score. */
  readonly session: GeneratorSession | undefined;
  /** Passes under way and waiting. */
  readonly passes: number;
  /** Hidden states [T, D] of each sequence. One call at a time; @throws ApiError 429 when too many wait. */
  hidden(sequences: readonly (readonly number[])[]): Promise<readonly Float32Array[]>;
  /** For each token but the first: log p given those before, with the `top` most likely ones. */
  scoreTokens(ids: readonly number[], top: number): Promise<readonly ScoredToken[]>;
  /**
   * Beam search, one call at a time and beside the running batch; waiting ones count as passes.
   *
   * @throws ApiError 429 when too many wait; what `onTokens` throws
   */
  search(prompts: readonly (readonly number[])[], options: GenerateOptions): Promise<readonly Completion[]>;
  /** Scores of a reward model. */
  score(items: readonly ScoreItem[]): Promise<readonly Score[]>;
  dispose(): Promise<void>;
}

/** Rows of logits computed at a time: their log-probabilities are read by the host. */
const logitRows = 32;

export function createServedModel(options: ServedModelOptions): ServedModel {
  const { id, parent, engine, model, parameters, tokenizer, card, slots, queue, rng } = options;
  const maxTokens = Math.min(options.maxTokens, model.maxPositions);
  const kind = isScoreModel(model) ? 'score' : 'text';
  const { prepack, speculate, pause, clock } = options;
  const session =
    kind === 'text'
      ? createSession({ engine, model, parameters, slots, maxTokens, prepack, speculate, pause, clock })
      : undefined;
  const forward = hiddenForward({ engine, model, parameters, batchSize: 1, bucket: 32 });
  const scorer =
    kind === 'score'
      ? openRewardModel({
          ...{ engine, loaded: { model, parameters }, tokenizer, card, name: id },
          ...{ batchSize: 4, bucket: 32, appendStop: true },
        })
      : undefined;
  const programs = createProgramCache(engine, { limit: 1 });
  const weights = parameters.arrays();
  let searcher: Generator | undefined;
  let passes = 0;
  let last: Promise<unknown> = Promise.resolve();

  /** Runs passes one after another, so that each has all the machine's threads, and no more memory than one. */
  function inTurn<T>(pass: () => Promise<T>): Promise<T> {
    if (passes > queue) throw busy(1);
    passes++;
    const done = last.then(pass).finally(() => passes--);
    last = done.catch(() => undefined);
    return done;
  }

  /** Log-probabilities [rows, V] of the tokens after hidden states. */
  async function logProbsAfter(hidden: Float32Array): Promise<Float32Array> {
    const D = model.hiddenSize;
    const executable = await programs.get('log-probabilities', () =>
      trace({ ...weightTypes(model), hidden: { dtype: 'float32', shape: [logitRows, D] } }, (inputs) => {
        const logits = logitsOf(model, inputs, inputs.hidden!); // [rows, V]
        return { logProbs: sub(logits, logSumExp(logits, { axes: 1, keepDims: true })) };
      }),
    );
    const padded = new Float32Array(logitRows * D);
    padded.set(hidden);
    const { logProbs } = await executable.run({ ...weights, hidden: padded });
    return logProbs!.data as Float32Array;
  }

  return {
    ...{ id, parent, kind, tokenizer, maxTokens, slots, queue, rng, session },
    encoder: createEncoder(tokenizer, { maxLength: maxTokens }),
    hiddenSize: model.hiddenSize,
    vocabSize: model.vocabSize,
    constraints: textConstraints(tokenizer),
    get passes() {
      return passes;
    },
    hidden: (sequences) => inTurn(() => forward.run(sequences)),
    scoreTokens: (ids, top) =>
      inTurn(async () => {
        const [states] = await forward.run([ids]);
        const D = model.hiddenSize;
        const V = model.vocabSize;
        const scored: ScoredToken[] = [];
        for (let start = 0; start < ids.length - 1; start += logitRows) {
          const end = Math.min(start + logitRows, ids.length - 1);
          const logProbs = await logProbsAfter(states!.subarray(start * D, end * D));
          for (let t = start; t < end; t++) {
            const row = logProbs.subarray((t - start) * V, (t - start + 1) * V);
            const best = top === 0 ? [] : Array.from(mostLikely(row, Math.min(top, V)));
            scored.push({
              logProb: row[ids[t + 1]!]!,
              top: best
                .sort((a, b) => row[b]! - row[a]! || a - b)
                .map((token) => ({ id: token, logProb: row[token]! })),
            });
          }
          await pause();
        }
        return scored;
      }),
    search(prompts, options) {
      searcher ??= createGenerator({ engine, model, parameters, prepack: false, offThread: true });
      const { generate } = searcher;
      return inTurn(() => generate(prompts, options));
    },
    score: (items) => inTurn(() => scorer!.score(items)),
    async dispose() {
      await session?.dispose();
      await last;
      forward.dispose();
      searcher?.dispose();
      scorer?.dispose();
      programs.dispose();
    },
  };
}

/** A 429 that says when to come back. */
export function busy(retryAfter: number): ApiError {
  return new ApiError({
    status: 429,
    type: 'rate_limit_error',
    message: 'Too many requests are waiting. Try again later.',
    code: 'rate_limit_exceeded',
    retryAfter,
  });
}
