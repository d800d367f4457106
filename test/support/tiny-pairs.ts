/** Preferences that a tiny model can learn in a second: chosen answers hold token 10 where rejected ones hold token 11. */
import { createRng } from '../../src/core/rng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { adamW } from '../../src/optim/optimizer.ts';
import { sequenceLogProbs } from '../../src/parts/reference.ts';
import type { PairExample } from '../../src/parts/step/pairwise.ts';
import type { TrainStep } from '../../src/parts/step/train-step.ts';
import type { UnpairedExample } from '../../src/parts/step/unpaired.ts';
import { type MetricRecord, train } from '../../src/parts/trainer/trainer.ts';
import { tinyModel } from './tiny-model.ts';

/** Pairs over a vocabulary of 24; `shuffled` swaps half of them at random. */
export function tinyPairs(count: number, seed: number, labels: 'true' | 'shuffled' = 'true'): PairExample[] {
  const rng = createRng(seed);
  const coin = createRng(3);
  return Array.from({ length: count }, (_, row) => {
    const prompt = [1, 12 + rng.integer(10, row, 0), 12 + rng.integer(10, row, 1)];
    const answer = (mark: number): PairExample['chosen'] => ({
      ids: [...prompt, mark, 12 + rng.integer(10, row, 2), 2],
      mask: [0, 0, 0, 1, 1, 1],
    });
    const [good, bad] = [answer(10), answer(11)];
    return labels === 'shuffled' && coin.uniform(row) < 0.5
      ? { chosen: bad, rejected: good }
      : { chosen: good, rejected: bad };
  });
}

async function withReference(engine: Engine, pairs: readonly PairExample[]): Promise<PairExample[]> {
  const sequences = pairs.flatMap(({ chosen, rejected }) => [chosen, rejected]);
  const scores = await sequenceLogProbs(sequences, { engine, ...tinyModel(4), batchSize: 64, bucket: 8 });
  return pairs.map((pair, i) => ({
    ...pair,
    reference: { chosen: scores[2 * i]!, rejected: scores[2 * i + 1]! },
  }));
}

/** Metrics of 64 held-out pairs after `steps` steps on batches of 32. */
export async function trainPairs(
  engine: Engine,
  step: TrainStep<PairExample>,
  pairs: readonly PairExample[],
  steps = 20,
): Promise<MetricRecord> {
  const heldOut = await withReference(engine, tinyPairs(64, 99));
  return trainTiny(engine, step, await withReference(engine, pairs), heldOut, steps);
}

/** The same with pairs taken apart; mismatched pairs are the prompt of a row with the answer of the next. */
export async function trainUnpaired(
  engine: Engine,
  step: TrainStep<UnpairedExample>,
  pairs: readonly PairExample[],
  steps = 20,
): Promise<MetricRecord> {
  const apart = async (list: readonly PairExample[]): Promise<UnpairedExample[]> => {
    const known = await withReference(engine, list);
    const examples = known.flatMap(({ chosen, rejected, reference }) => [
      { example: chosen, label: true, reference: reference!.chosen },
      { example: rejected, label: false, reference: reference!.rejected },
    ]);
    const others = examples.map(({ example }, i) => {
      const other = examples[(i + 2) % examples.length]!.example;
      return {
        ids: [...Array.from(example.ids).slice(0, 3), ...Array.from(other.ids).slice(3)],
        mask: other.mask,
      };
    });
    const scores = await sequenceLogProbs(others, { engine, ...tinyModel(4), batchSize: 64, bucket: 8 });
    return examples.map((one, i) => ({ ...one, mismatched: { example: others[i]!, reference: scores[i]! } }));
  };
  return trainTiny(engine, step, await apart(pairs), await apart(tinyPairs(64, 99)), steps);
}

async function trainTiny<E>(
  engine: Engine,
  step: TrainStep<E>,
  examples: readonly E[],
  evaluation: readonly E[],
  totalSteps: number,
): Promise<MetricRecord> {
  const { model, parameters } = tinyModel(4);
  const result = await train({
    ...{ engine, model, parameters, step, examples, evaluation },
    optimizer: adamW({ size: parameters.flat.length }),
    schedule: () => 3e-3,
    settings: {
      batchSize: 32,
      microBatchSize: 32,
      evaluationBatchSize: 64,
      totalSteps,
      shuffle: true,
      maxGradNorm: 1,
      bucket: 8,
      logEvery: totalSteps,
      evaluateEvery: 0,
      saveEvery: 0,
      gradientCheckpointing: false,
    },
    rng: createRng(1),
    clock: () => 0,
    hooks: { log: () => {}, progress: () => {}, save: async () => {}, interrupted: () => false },
  });
  return result.evaluation;
}
