import { afterAll, describe, expect, it } from 'vitest';
import { tinyExamples, tinyModel } from '../../../test/support/tiny-model.ts';
import { createRng } from '../../core/rng.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import { lastPromptLength, type OnPolicyOptions, onPolicySampling } from './batch-sampling.ts';
import type { DistillExample } from './distill.ts';

const engine = createOrtEngine({ threads: 1 });
afterAll(() => engine.dispose());

const batch: DistillExample[] = tinyExamples(4, 3);
const stopIds = new Set([2]);

/** Batches of the first `steps` steps. */
async function sampled(overrides: Partial<OnPolicyOptions>, steps: number, first = 0) {
  const sampling = onPolicySampling<DistillExample>({
    ...{ studentShare: 1, teacherSamples: false, teacher: tinyModel(5), stopIds },
    ...{ maxNewTokens: 5, temperature: 0.9, rng: createRng(3), ...overrides },
  }).open({ engine, ...tinyModel(1) });
  const batches: (readonly DistillExample[])[] = [];
  for (let step = first; step < steps; step++) batches.push(await sampling.sample(batch, step));
  sampling.dispose();
  return batches;
}

const writers = (batches: readonly (readonly DistillExample[])[]): (string | undefined)[] =>
  batches.map(([example]) => example!.sampledBy);

describe('onPolicySampling', () => {
  it('keeps prompts, learns what was sampled after them, and ends it at a stop token or the limit', async () => {
    const [first] = await sampled({}, 1);
    first!.forEach(({ ids, mask, sampledBy }, row) => {
      const prompt = Array.from(batch[row]!.ids).slice(0, 2);
      const own = Array.from(ids).slice(2);
      expect(Array.from(ids).slice(0, 2)).toEqual(prompt);
      expect(Array.from(mask)).toEqual([0, 0, ...own.map(() => 1)]);
      expect(own.length === 5 || own.at(-1) === 2).toBe(true);
      expect(own.slice(0, -1)).not.toContain(2);
      expect(sampledBy).toBe('student');
    });
  });

  it('draws who samples by the step: the student in its share, else the teacher or the data', async () => {
    expect(writers(await sampled({ studentShare: 0 }, 3))).toEqual([undefined, undefined, undefined]);
    expect(writers(await sampled({ studentShare: 0, teacherSamples: true }, 2))).toEqual([
      'teacher',
      'teacher',
    ]);
    const mixed = await sampled({ studentShare: 0.25, teacherSamples: true, maxNewTokens: 1 }, 200);
    // 200 draws at 0.25: a deviation of 6 around 50.
    const own = writers(mixed).filter((writer) => writer === 'student').length;
    expect(own).toBeGreaterThan(30);
    expect(own).toBeLessThan(70);
    expect(writers(mixed).filter((writer) => writer === 'teacher').length).toBe(200 - own);
  });

  it('draws the same at a step whatever came before, and other completions at another step', async () => {
    const all = await sampled({}, 4);
    expect(await sampled({}, 4, 3)).toEqual(all.slice(3));
    expect(all[0]).not.toEqual(all[1]);
    // The teacher’s weights are others: so are its completions.
    expect(
      (await sampled({ studentShare: 0, teacherSamples: true }, 1))[0]!.map(({ ids }) => ids),
    ).not.toEqual(all[0]!.map(({ ids }) => ids));
  });
});

it.each([
  [[0, 0, 1, 1], 2],
  [[0, 1, 1, 0, 0, 1, 1, 0], 5],
  [[0, 0, 0], 3],
])('the last prompt of mask %j has %d tokens', (mask, length) => {
  expect(lastPromptLength({ ids: mask, mask })).toBe(length);
});
