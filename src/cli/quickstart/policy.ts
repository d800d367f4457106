/** A saved policy, asked for completions. */
import type { Rng } from '../../core/rng.ts';
import type { Engine } from '../../engine/engine.ts';
import { createGenerator } from '../../generate/index.ts';
import type { CausalModel } from '../../models/causal-model.ts';
import { loadModel } from '../../models/index.ts';
import type { Parameters } from '../../nn/parameters.ts';
import { sequenceLogProbs } from '../../parts/reference.ts';
import { loadTokenizer, type Tokenizer } from '../../tokenizer/index.ts';
import { Interrupted } from './stages.ts';

export interface Policy {
  readonly model: CausalModel;
  readonly parameters: Parameters;
  readonly tokenizer: Tokenizer;
}

export async function loadPolicy(folder: string): Promise<Policy> {
  const { model, parameters } = await loadModel(folder);
  return { model, parameters, tokenizer: await loadTokenizer(folder) };
}

export interface Sample {
  readonly promptIds: readonly number[];
  /** The stop token included. */
  readonly ids: readonly number[];
  readonly text: string;
  /** Σ log π(token), nats. */
  readonly logProb: number;
  readonly finish: 'stop' | 'length';
}

export interface SamplingContext {
  readonly engine: Engine;
  readonly maxNewTokens: number;
  readonly interrupted: () => boolean;
  /** Always the most likely token. */
  readonly greedy?: boolean;
  readonly onProgress?: (done: number) => void;
}

/**
 * One completion per prompt at temperature 1, unless `greedy`; repeat a prompt for more of them.
 *
 * @throws Interrupted when the user asked to stop
 */
export async function sample(
  { model, parameters, tokenizer }: Policy,
  prompts: readonly string[],
  rng: Rng,
  { engine, maxNewTokens, interrupted, greedy = false, onProgress }: SamplingContext,
): Promise<Sample[]> {
  const generator = createGenerator({ engine, model, parameters });
  const encoded = prompts.map((prompt) => [...tokenizer.encode(prompt)]);
  let tokens = 0;
  try {
    const completions = await generator.generate(encoded, {
      temperature: 1,
      topK: greedy ? 1 : 0,
      topP: 1,
      maxNewTokens,
      stopIds: new Set([tokenizer.eosId!]),
      rng,
      batchSize: 64,
      onTokens(made) {
        if (interrupted()) throw new Interrupted();
        tokens += made;
        onProgress?.(tokens);
      },
    });
    return completions.map(({ ids, logProbs, finish }, index) => ({
      promptIds: encoded[index]!,
      ids,
      text: tokenizer.decode(ids),
      logProb: logProbs.reduce((sum, logProb) => sum + logProb, 0),
      finish,
    }));
  } finally {
    generator.dispose();
  }
}

/**
 * Σ log π(token) − log π_ref(token) of each sample: its mean estimates KL(π ‖ π_ref) per completion.
 *
 * @returns nats, [samples.length]
 */
export async function logRatios(
  samples: readonly Sample[],
  reference: Policy,
  engine: Engine,
): Promise<number[]> {
  const sequences = samples.map(({ promptIds, ids }) => ({
    ids: [...promptIds, ...ids],
    mask: [...promptIds.map(() => 0), ...ids.map(() => 1)],
  }));
  const { model, parameters } = reference;
  const scores = await sequenceLogProbs(sequences, { engine, model, parameters, batchSize: 64, bucket: 16 });
  return samples.map(({ logProb }, index) => logProb - scores[index]!);
}
