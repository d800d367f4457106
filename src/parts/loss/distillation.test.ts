import { describe, expect, it } from 'vitest';
import { checkGradient, points } from '../../../test/support/gradient-check.ts';
import { createInterpreter } from '../../engine/interpreter.ts';
import { gradients } from '../../graph/gradient.ts';
import { constant } from '../../graph/ops/common.ts';
import { sum } from '../../graph/ops/reduce.ts';
import { trace } from '../../graph/program.ts';
import { generalizedJsd, teacherFigures } from './distillation.ts';

type Rows = readonly (readonly number[])[];

/** Divergence, its slope and the figures, on logits of rows. */
async function compare(student: Rows, teacher: Rows, beta: number) {
  const type = { dtype: 'float32' as const, shape: [student.length, student[0]!.length] };
  const program = trace({ student: type, teacher: type }, (inputs) => {
    const losses = generalizedJsd(inputs.student!, inputs.teacher!, beta);
    const [slope] = gradients(sum(losses), [inputs.student!]);
    return { losses, slope: slope!, ...teacherFigures(inputs.student!, inputs.teacher!) };
  });
  const outputs = await (await createInterpreter().compile(program)).run({
    student: Float64Array.from(student.flat()),
    teacher: Float64Array.from(teacher.flat()),
  });
  const numbers = (name: string): number[] => Array.from(outputs[name]!.data, Number);
  return {
    losses: numbers('losses'),
    slope: numbers('slope'),
    forwardKl: numbers('forwardKl'),
    reverseKl: numbers('reverseKl'),
    entropy: numbers('entropy'),
  };
}

const even = [0, 0];
const skewed = [Math.log(0.9), Math.log(0.1)];
const student: Rows = [
  [0.3, -1.2, 2, 0.5],
  [1, 1, 1, -3],
];
const teacher: Rows = [
  [-0.7, 0.1, 1, 1.5],
  [-2, 4, 0, 0.25],
];
const betas = [0, 0.1, 0.5, 0.8, 1];

describe('generalizedJsd', () => {
  it.each([
    // KL(q‖p) = 0.9·ln 1.8 + 0.1·ln 0.2, KL(p‖q) = ½·ln(5/9) + ½·ln 5; at ½ the mixture is [0.7, 0.3].
    [0, 0.368064],
    [0.5, 0.101749],
    [1, 0.510826],
  ])('at β = %d is the worked example', async (beta, wanted) => {
    const { losses, forwardKl, reverseKl, entropy } = await compare([even], [skewed], beta);
    expect(losses[0]).toBeCloseTo(wanted, 6);
    expect(forwardKl[0]).toBeCloseTo(0.368064, 6);
    expect(reverseKl[0]).toBeCloseTo(0.510826, 6);
    expect(entropy[0]).toBeCloseTo(Math.LN2, 6);
  });

  it.each(betas)('at β = %d has the gradient of central differences', async (beta) => {
    const fixed = points([3, 5], 4, -3, 3);
    await checkGradient(
      (logits) =>
        generalizedJsd(
          logits!,
          constant({ ...fixed, dtype: 'float32', data: Float32Array.from(fixed.data) }),
          beta,
        ),
      [points([3, 5], 2, -3, 3)],
    );
  });

  it.each(betas)(
    'at β = %d is 0 with slope 0 where the student agrees, whatever is added to its logits',
    async (beta) => {
      const shifted = student.map((row) => row.map((x) => x + 7));
      const { losses, slope } = await compare(shifted, student, beta);
      // log β and log(1 − β) are float32 numbers in the graph.
      for (const x of [...losses, ...slope]) expect(Math.abs(x)).toBeLessThan(1e-7);
    },
  );

  it('is symmetric at ½, and nowhere else', async () => {
    const at = async (beta: number, swap: boolean) =>
      (await (swap ? compare(teacher, student, beta) : compare(student, teacher, beta))).losses;
    const [one, other] = [await at(0.5, false), await at(0.5, true)];
    one.forEach((x, i) => void expect(x).toBeCloseTo(other[i]!, 7));
    // Swapping the two is swapping β and 1 − β.
    const [low, high] = [await at(0.2, false), await at(0.8, true)];
    low.forEach((x, i) => void expect(x).toBeCloseTo(high[i]!, 7));
    expect(Math.abs((await at(0.2, true))[0]! - low[0]!)).toBeGreaterThan(1e-3);
  });

  it('divided by β, or by 1 − β, goes to the KL at that end, and so does its slope', async () => {
    for (const [near, end] of [
      [1e-4, 0],
      [1 - 1e-4, 1],
    ] as const) {
      const scale = 1e-4;
      const [close, limit] = [await compare(student, teacher, near), await compare(student, teacher, end)];
      close.losses.forEach((x, i) => void expect(x / scale / limit.losses[i]!).toBeCloseTo(1, 2));
      close.slope.forEach((x, i) => void expect(Math.abs(x / scale - limit.slope[i]!)).toBeLessThan(0.01));
    }
  });

  it('stays finite, and below log 2 at ½, where one finds impossible what the other finds certain', async () => {
    const far: Rows = [[1e4, 0, -1e4, 0]];
    const farther: Rows = [[-1e4, 0, 1e4, 0]];
    for (const beta of betas) {
      const { losses, slope, forwardKl, reverseKl } = await compare(far, farther, beta);
      for (const x of [...losses, ...slope, ...forwardKl, ...reverseKl])
        expect(Number.isFinite(x)).toBe(true);
    }
    expect((await compare(far, farther, 0.5)).losses[0]).toBeCloseTo(Math.LN2, 6);
    expect((await compare(far, farther, 1)).losses[0]).toBeCloseTo(2e4, 3);
  });

  it('refuses a β outside of [0, 1]', async () => {
    await expect(compare(student, teacher, 1.5)).rejects.toThrow(/beta.*between 0 and 1.*received 1.5/);
  });
});
