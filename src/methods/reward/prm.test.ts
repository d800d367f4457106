import { afterAll, describe, expect, it } from 'vitest';
import { tinyModel } from '../../../test/support/tiny-model.ts';
import { createRng } from '../../core/rng.ts';
import { toRows } from '../../data/index.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import { scoreModelFrom } from '../../models/score-model.ts';
import { adamW } from '../../optim/optimizer.ts';
import { aggregateSteps, processScorer, stepForward } from '../../parts/scorer/process-scorer.ts';
import type { SteppedSequence } from '../../parts/step/process.ts';
import { train } from '../../parts/trainer/trainer.ts';
import { trainBpe } from '../../tokenizer/index.ts';
import { config, evaluateSteps, prm } from './prm.ts';

const engine = createOrtEngine({ threads: 1 });
afterAll(() => engine.dispose());

/** Steps of two tokens and a separator (9); a step is wrong from the first token 10 on. */
function solutions(count: number, seed: number, onlyLast = false): SteppedSequence[] {
  const rng = createRng(seed);
  return Array.from({ length: count }, (_, row) => {
    const length = 2 + rng.integer(3, row, 0);
    const ids = [1];
    let right = true;
    const steps = Array.from({ length }, (_, step) => {
      const tokens = [0, 1].map((t) =>
        rng.uniform(row, 1, step, t) < 0.15 ? 10 : 11 + rng.integer(8, row, 2, step, t),
      );
      if (tokens.includes(10)) right = false;
      ids.push(...tokens, 9);
      const learned = !onlyLast || step === length - 1;
      return { end: ids.length - 1, ...(learned && { label: right }) };
    });
    return { ids, steps };
  });
}

async function trained(examples: SteppedSequence[]) {
  const { model, parameters } = scoreModelFrom(tinyModel(4), { outputs: 2, rng: createRng(1) });
  const result = await train({
    ...{ engine, model, parameters, examples, evaluation: solutions(96, 99) },
    step: prm.build(config.parse({ model: '', data: '' })),
    optimizer: adamW({ size: parameters.flat.length }),
    schedule: () => 3e-3,
    settings: {
      ...{ batchSize: 32, microBatchSize: 16, evaluationBatchSize: 48, totalSteps: 60, shuffle: true },
      ...{ maxGradNorm: 1, bucket: 8, logEvery: 10, evaluateEvery: 0, saveEvery: 0 },
      gradientCheckpointing: false,
    },
    rng: createRng(1),
    clock: () => 0,
    hooks: { log: () => {}, progress: () => {}, save: async () => {}, interrupted: () => false },
  });
  return { evaluation: result.evaluation, model, parameters };
}

describe('prm', () => {
  it('finds the first wrong step of new solutions; with labels given to other solutions it does not', async () => {
    const { evaluation, model, parameters } = await trained(solutions(256, 7));
    expect(evaluation['eval_accuracy']).toBeGreaterThan(0.95);
    const forward = stepForward({ engine, model, parameters, batchSize: 32, bucket: 8 });
    const examples = solutions(96, 99);
    const probabilities = await forward.run(examples);
    forward.dispose();
    const labels = examples.map(({ steps }) => steps.map(({ label }) => label));
    const { f1, accuracy } = evaluateSteps(labels, probabilities);
    expect(accuracy).toBeCloseTo(evaluation['eval_accuracy']!, 6);
    expect(f1!).toBeGreaterThan(0.9);
    const given = solutions(256, 7).map((example, row, all) => {
      const other = all[(row + 1) % all.length]!;
      return {
        ...example,
        steps: example.steps.map(({ end }, i) => ({ end, label: other.steps.at(i)?.label ?? true })),
      };
    });
    expect((await trained(given)).evaluation['eval_accuracy']).toBeLessThan(0.85);
  });

  const tokenizer = trainBpe(['ab cd ef gh'], { vocabSize: 270, specialTokens: { bos: '<s>', eos: '</s>' } });
  const encode = (row: object, options: object = {}) =>
    prm.encode(toRows([{ prompt: 'ab', completions: ['cd', 'ef'], labels: [true, false], ...row }]), {
      config: config.parse({ model: '', data: '', ...options }),
      tokenizer,
      model: tinyModel().model,
    }).examples[0]!;

  it('judges steps at the last token of their separator, and cuts whole steps', () => {
    const { ids, steps } = encode({});
    expect(steps.map(({ label }) => label)).toEqual([true, false]);
    expect(tokenizer.decode(Array.from(ids.slice(0, steps[0]!.end + 1)))).toBe('abcd\n');
    expect(steps[1]!.end).toBe(ids.length - 1);
    expect(encode({}, { maxLength: steps[1]!.end }).steps.length).toBe(1);
    expect(encode({}, { trainOnLastStepOnly: true }).steps.map(({ label }) => label)).toEqual([
      undefined,
      false,
    ]);
    expect(() => encode({}, { maxLength: 2 })).toThrow(
      /row 1: expected a step to learn that ends within 2 tokens/,
    );
  });

  it('a scorer reads the same steps from text, and aggregates them', async () => {
    const { model, parameters } = scoreModelFrom(tinyModel(4, { vocab_size: tokenizer.vocabSize }), {
      outputs: 2,
      rng: createRng(1),
    });
    const example = encode({});
    const options = { engine, model, parameters, batchSize: 4, bucket: 8 };
    const forward = stepForward(options);
    const [probabilities] = await forward.run([example]);
    forward.dispose();
    const process = { separator: '\n', heldOut: false, solutions: 1, steps: 1, accuracy: 1, ece: 0 } as const;
    const promptIds = tokenizer.encode('ab', { addSpecial: false });
    const item = (completion: string) => ({
      ...{ prompt: 'ab', completion, completionIds: [] },
      promptIds: tokenizer.addsBos ? [tokenizer.bosId!, ...promptIds] : promptIds,
    });
    const scorer = processScorer({
      ...options,
      name: 'p',
      tokenizer,
      process: { ...process, aggregate: 'product' },
    });
    const [score, none] = await scorer.score([item('cd\n\nef'), item(' \n')]);
    scorer.dispose();
    expect(score).toBeCloseTo(probabilities![0]! * probabilities![1]!, 6);
    expect(none).toBeUndefined();
  });

  it('aggregates and evaluates as derived by hand', () => {
    const steps = [0.9, 0.8, 0.5];
    expect(aggregateSteps(steps, 'product')).toBeCloseTo(0.36, 12);
    expect([aggregateSteps(steps, 'min'), aggregateSteps(steps, 'last')]).toEqual([0.5, 0.5]);
    expect(aggregateSteps(steps, 'mean')).toBeCloseTo(0.73333333, 8);
    // Errors at step 2 (found), at step 1 (called at 2: missed); two without error, one of them called wrong.
    const figures = evaluateSteps(
      [[true, false], [false, false], [true], [true, true]],
      [[0.9, 0.1], [0.8, 0.2], [0.7], [0.6, 0.4]],
    );
    expect(figures).toMatchObject({ firstError: 0.5, allRight: 0.5, f1: 0.5, steps: 7, solutions: 4 });
    expect(figures.accuracy).toBeCloseTo(5 / 7, 12);
  });
});
