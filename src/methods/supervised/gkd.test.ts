import { afterAll, describe, expect, it } from 'vitest';
import { tinyModel } from '../../../test/support/tiny-model.ts';
import { createRng } from '../../core/rng.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import { createGenerator } from '../../generate/index.ts';
import { adamW } from '../../optim/optimizer.ts';
import type { DistillExample } from '../../parts/step/distill.ts';
import type { TrainStep } from '../../parts/step/train-step.ts';
import { createStepRunner } from '../../parts/trainer/programs.ts';
import { evaluate, type MetricRecord, type TrainerState, train } from '../../parts/trainer/trainer.ts';
import { config, gkd } from './gkd.ts';
import { sft } from './sft.ts';

const engine = createOrtEngine({ threads: 1 });
afterAll(() => engine.dispose());

const stopIds = new Set([2]);
/** Of another shape than the student. */
const teacher = tinyModel(11, {
  num_hidden_layers: 1,
  hidden_size: 32,
  intermediate_size: 48,
  initializer_range: 0.25,
});
const prompts = Array.from({ length: 120 }, (_, i) => [1, 3 + (i % 20), 3 + ((7 * i) % 20)]);

/** What the teacher writes to prompts. */
async function written(of: readonly number[][], seed: number): Promise<DistillExample[]> {
  const generator = createGenerator({ engine, ...teacher });
  const options = { temperature: 1, topK: 0, topP: 1, maxNewTokens: 8, stopIds, rng: createRng(seed) };
  const completions = await generator.generate(of, options);
  generator.dispose();
  return of.map((prompt, i) => {
    const { ids } = completions[i]!;
    return { ids: [...prompt, ...ids], mask: [...prompt.map(() => 0), ...ids.map(() => 1)] };
  });
}

const settings = (overrides: object) =>
  config.parse({
    ...{ model: '', data: '', teacherModel: '', maxNewTokens: 8, temperature: 1, lambda: 1 },
    ...overrides,
  });
const distill = (overrides: object) => gkd.build(settings(overrides), { teacher, stopIds });

interface Run {
  readonly steps?: number;
  readonly stopAfter?: number;
  readonly resume?: { readonly state: TrainerState; readonly weights: Float32Array };
}

async function run(step: TrainStep<DistillExample>, examples: readonly DistillExample[], more: Run = {}) {
  const student = tinyModel(4);
  if (more.resume !== undefined) student.parameters.flat.set(more.resume.weights);
  const records: MetricRecord[] = [];
  let saved: Run['resume'];
  await train({
    ...{ engine, ...student, step, examples, evaluation: [] },
    optimizer: adamW({ size: student.parameters.flat.length }),
    schedule: () => 0.01,
    settings: {
      ...{ batchSize: 12, microBatchSize: 12, evaluationBatchSize: 40, totalSteps: more.steps ?? 60 },
      ...{ shuffle: true, maxGradNorm: 1, bucket: 16, logEvery: 1, evaluateEvery: 0, saveEvery: 0 },
      gradientCheckpointing: false,
    },
    rng: createRng(1),
    clock: () => 0,
    hooks: {
      log: (record) => void records.push(record),
      progress: () => {},
      async save(state) {
        const moments = Object.fromEntries(
          Object.entries(state.optimizer.moments).map(([name, vector]) => [name, vector.slice()]),
        );
        saved = {
          state: { ...state, optimizer: { ...state.optimizer, moments } },
          weights: student.parameters.flat.slice(),
        };
      },
      interrupted: () => records.length === more.stopAfter,
    },
    ...(more.resume && { resume: more.resume.state }),
  });
  return { student, records, saved };
}

/** Nats per token from teacher to student on what the teacher writes to prompts that were not trained on. */
async function heldOutKl({ student }: Pick<Awaited<ReturnType<typeof run>>, 'student'>): Promise<number> {
  const heldOut = await written(
    Array.from({ length: 40 }, (_, i) => [1, 3 + (i % 20), 3 + ((7 * i + 1) % 20)]),
    77,
  );
  const step = distill({});
  const { model, parameters } = student;
  const runner = createStepRunner(engine, model, parameters, step, { rematerialize: false, programLimit: 2 });
  const figures = await evaluate(runner, step, heldOut, { evaluationBatchSize: 40, bucket: 16 });
  runner.dispose();
  return figures['teacher/forward_kl']!;
}

describe('gkd', () => {
  it('comes nearer to its teacher than imitation of the teacher’s texts does, in as many steps', async () => {
    const texts = await written(prompts, 5);
    const start = await heldOutKl({ student: tinyModel(4) });
    const imitated = await heldOutKl(await run(sft.build(sft.config.parse({ model: '', data: '' })), texts));
    const onPolicy = await run(distill({ beta: 0.5 }), texts);
    const distilled = await heldOutKl(onPolicy);
    // 0.98, 0.80 and 0.56 nats. Imitation sees one token of 24 at a time, and begins to learn the 120 texts by heart.
    expect(distilled).toBeLessThan(0.65 * start);
    expect(distilled).toBeLessThan(0.8 * imitated);
    for (const record of onPolicy.records) expect(record['sampling/student_share']).toBe(1);
  });

  it.each([0, 1])('at β = %d learns too, its loss being the KL of that end', async (beta) => {
    const { records } = await run(distill({ beta }), await written(prompts, 5), { steps: 40 });
    const name = beta === 0 ? 'teacher/forward_kl' : 'teacher/reverse_kl';
    for (const record of records) expect(record[name]).toBeCloseTo(record.loss!, 5);
    expect(records.at(-1)!.loss!).toBeLessThan(0.75 * records[0]!.loss!);
  });

  it('resumed from a checkpoint, samples and learns as if it had never stopped', async () => {
    const step = () => distill({ lambda: 0.5, seqKd: true });
    const straight = await run(step(), await written(prompts, 5), { steps: 8 });
    const stopped = await run(step(), await written(prompts, 5), { steps: 8, stopAfter: 3 });
    const resumed = await run(step(), await written(prompts, 5), { steps: 8, resume: stopped.saved! });
    expect(resumed.student.parameters.flat).toEqual(straight.student.parameters.flat);
    expect(resumed.records).toEqual(straight.records.slice(3));
    // Both kinds of batches were among them.
    expect(new Set(straight.records.map((record) => record['sampling/student_share']))).toEqual(
      new Set([0, 1]),
    );
  });

  it('is built with a teacher only', () => {
    expect(() => gkd.build(settings({}))).toThrow(/expected a teacher/);
  });
});
