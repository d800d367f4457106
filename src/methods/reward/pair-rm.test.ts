import { afterAll, describe, expect, it } from 'vitest';
import { checkGradient, points } from '../../../test/support/gradient-check.ts';
import { tinyModel } from '../../../test/support/tiny-model.ts';
import { tinyTokenizer } from '../../../test/support/tiny-server.ts';
import { createRng } from '../../core/rng.ts';
import { toRows } from '../../data/index.ts';
import { createInterpreter } from '../../engine/interpreter.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import { trace } from '../../graph/program.ts';
import { scoreModelFrom } from '../../models/score-model.ts';
import { adamW } from '../../optim/optimizer.ts';
import { joinedPair } from '../../parts/scorer/pair-scorer.ts';
import type { RewardPair } from '../../parts/step/reward-model.ts';
import type { TrainStep } from '../../parts/step/train-step.ts';
import { type MetricRecord, train } from '../../parts/trainer/trainer.ts';
import { btRm } from './bt-rm.ts';
import { bothOrdersLoss, config, pairRm } from './pair-rm.ts';

describe('bothOrdersLoss', () => {
  it('is the worked example, with the gradient of central differences', async () => {
    const type = { dtype: 'float32' as const, shape: [2] };
    const program = trace({ a: type, b: type }, ({ a, b }) => ({ losses: bothOrdersLoss(a!, b!) }));
    const { losses } = await (await createInterpreter().compile(program)).run({
      a: Float64Array.of(2, 0),
      b: Float64Array.of(-1, 0),
    });
    expect(Number(losses!.data[0])).toBeCloseTo(0.220095, 6);
    expect(Number(losses!.data[1])).toBeCloseTo(Math.LN2, 9);
    await checkGradient((a, b) => bothOrdersLoss(a!, b!), [points([5], 1, -4, 4), points([5], 2, -4, 4)]);
  });
});

const engine = createOrtEngine({ threads: 1 });
afterAll(() => engine.dispose());

/** Marks that beat each other in a circle: 10 beats 11 beats 12 beats 10. Around them stand other tokens. */
function circle(count: number, seed: number): { better: number[]; worse: number[] }[] {
  const rng = createRng(seed);
  return Array.from({ length: count }, (_, row) => {
    const mark = rng.integer(3, row, 0);
    const answer = (of: number, side: number): number[] => [
      13 + rng.integer(10, row, 1, side),
      10 + (of % 3),
      2,
    ];
    return { better: answer(mark, 0), worse: answer(mark + 1, 1) };
  });
}
const prompt = [1];
const inBothOrders = ({ better, worse }: { better: number[]; worse: number[] }): RewardPair => ({
  chosen: { ids: joinedPair(prompt, better, worse, 2) },
  rejected: { ids: joinedPair(prompt, worse, better, 2) },
});
const apart = ({ better, worse }: { better: number[]; worse: number[] }): RewardPair => ({
  chosen: { ids: [...prompt, ...better] },
  rejected: { ids: [...prompt, ...worse] },
});

async function heldOut(step: TrainStep<RewardPair>, as: typeof apart): Promise<MetricRecord> {
  const { model, parameters } = scoreModelFrom(tinyModel(4), { rng: createRng(1) });
  const result = await train({
    ...{ engine, model, parameters, step },
    ...{ examples: circle(160, 7).map(as), evaluation: circle(96, 99).map(as) },
    optimizer: adamW({ size: parameters.flat.length }),
    schedule: () => 5e-3,
    settings: {
      ...{ batchSize: 32, microBatchSize: 32, evaluationBatchSize: 48, totalSteps: 70, shuffle: true },
      ...{ maxGradNorm: 1, bucket: 8, logEvery: 35, evaluateEvery: 0, saveEvery: 0 },
      gradientCheckpointing: false,
    },
    rng: createRng(1),
    clock: () => 0,
    hooks: { log: () => {}, progress: () => {}, save: async () => {}, interrupted: () => false },
  });
  return result.evaluation;
}

describe('pair-rm', () => {
  const base = { model: '', data: '' };

  it('learns preferences that go in a circle, which no score per completion can', async () => {
    const pairwise = await heldOut(pairRm.build(config.parse(base)), inBothOrders);
    const scalar = await heldOut(btRm.build(btRm.config.parse(base)), apart);
    expect(pairwise['eval_accuracy']).toBeGreaterThan(0.95);
    expect(pairwise['eval_order/consistency']).toBeGreaterThan(0.9);
    expect(pairwise['eval_order/bias']).toBeLessThan(0.1);
    expect(pairwise['eval_margin']).toBeGreaterThan(1);
    // Of three preferences in a circle any score gets one wrong.
    expect(scalar['eval_accuracy']).toBeLessThan(0.75);
  });

  it('reads a prompt with both completions, in both orders, cut to the same length where they are too long', () => {
    const tokenizer = tinyTokenizer();
    const encode = (row: Record<string, unknown>, maxLength: number) => {
      const settings = config.parse({ ...base, maxLength });
      const { model } = tinyModel(1);
      return pairRm.encode(toRows([row], 'rows'), { config: settings, tokenizer, model });
    };
    const row = { prompt: 'ask', chosen: ' yes', rejected: ' no, never' };
    const { examples, report } = encode(row, 64);
    const [pair] = examples;
    const text = (side: keyof RewardPair): string =>
      tokenizer.decode(Array.from((pair![side] as RewardPair['chosen']).ids), { skipSpecial: false });
    const stop = tokenizer.specialTokens.eos_token!;
    expect(text('chosen').endsWith(`ask yes${stop} no, never${stop}`)).toBe(true);
    expect(text('rejected').endsWith(`ask no, never${stop} yes${stop}`)).toBe(true);
    expect(report.truncated).toBe(0);
    const whole = pair!.chosen.ids.length;
    const cut = encode(row, whole - 3);
    expect(cut.report.truncatedTokens).toBeGreaterThan(0);
    for (const { chosen, rejected } of cut.examples) {
      expect(chosen.ids.length).toBeLessThanOrEqual(whole - 3);
      expect(rejected.ids.length).toBe(chosen.ids.length);
      expect(chosen.ids[chosen.ids.length - 1]).toBe(tokenizer.eosId);
    }
    expect(() => encode({ ...row, prompt: 'x'.repeat(62) }, 64)).toThrow(/prompt of fewer than 61 tokens/);
    expect(() => encode({ prompt: 'ask', chosen: 'same start a', rejected: 'same start b' }, 16)).toThrow(
      /equal tokens after cutting/,
    );
  });
});
