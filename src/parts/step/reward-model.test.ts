import { expect, it } from 'vitest';
import { tinyExamples, tinyModel } from '../../../test/support/tiny-model.ts';
import { createRng } from '../../core/rng.ts';
import { createInterpreter } from '../../engine/interpreter.ts';
import { scoreModelFrom } from '../../models/score-model.ts';
import { scoreForward } from '../forward.ts';
import { bradleyTerryLoss } from '../loss/bradley-terry.ts';
import { addTotals, createStepRunner, type Totals } from '../trainer/programs.ts';
import { rewardModelStep } from './reward-model.ts';

const engine = createInterpreter();
const scored = { engine, ...scoreModelFrom(tinyModel(), { rng: createRng(2) }) };
const step = rewardModelStep({ loss: bradleyTerryLoss });
const sequences = tinyExamples(12);
const pairs = Array.from({ length: 6 }, (_, i) => ({ chosen: sequences[i]!, rejected: sequences[6 + i]! }));

/** Summary over micro-batches of `size` pairs, each in `rows` rows of which some are padding. */
async function summary(list: typeof pairs, size: number, rows: number): Promise<Record<string, number>> {
  const runner = createStepRunner(engine, scored.model, scored.parameters, step, {
    rematerialize: false,
    programLimit: 2,
  });
  const totals: Totals = {};
  for (let start = 0; start < list.length; start += size) {
    const examples = list.slice(start, start + size);
    addTotals(totals, await runner.evaluate({ examples, rows, columns: 16 }), step.combine);
  }
  runner.dispose();
  return { loss: totals['loss']! / list.length, ...step.summarize(totals) };
}

it('gives the same metrics however the pairs are cut and padded, the lowest and highest score among them', async () => {
  const whole = await summary(pairs, 6, 6);
  for (const [size, rows] of [
    [2, 2],
    [4, 5],
  ] as const) {
    const cut = await summary(pairs, size, rows);
    for (const [name, value] of Object.entries(whole)) expect(cut[name], name).toBeCloseTo(value, 9);
  }
});

it('reports the scores of the pairs and never those of padding rows', async () => {
  const forward = scoreForward({ ...scored, batchSize: 12, bucket: 16 });
  const scores = (await forward.run(sequences.map(({ ids }) => ids))).map(([score]) => score!);
  for (const [i, pair] of pairs.entries()) {
    const { min_reward, mean_reward, max_reward, accuracy, margin } = await summary([pair], 1, 3);
    const [chosen, rejected] = [scores[i]!, scores[6 + i]!];
    expect(min_reward).toBeCloseTo(Math.min(chosen, rejected), 9);
    expect(max_reward).toBeCloseTo(Math.max(chosen, rejected), 9);
    expect(mean_reward).toBeCloseTo((chosen + rejected) / 2, 9);
    expect(margin).toBeCloseTo(chosen - rejected, 9);
    expect(accuracy).toBe(Number(chosen > rejected));
  }
});
