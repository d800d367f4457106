import { describe, expect, it } from 'vitest';
import { checkGradient } from '../../../test/support/gradient-check.ts';
import { createInterpreter } from '../../engine/interpreter.ts';
import { gradients } from '../../graph/gradient.ts';
import { cast } from '../../graph/ops/elementwise.ts';
import { sum } from '../../graph/ops/reduce.ts';
import { trace } from '../../graph/program.ts';
import { type PolicyClipOptions, policyClipLoss, sequenceRatio } from './policy-clip.ts';

const rows = (numbers: readonly number[]): Float64Array => Float64Array.from(numbers);

async function evaluate(
  ratios: readonly number[],
  advantages: readonly number[],
  options: PolicyClipOptions,
) {
  const type = { dtype: 'float32' as const, shape: [1, ratios.length] };
  const program = trace({ logProbs: type, oldLogProbs: type, advantages: type }, (inputs) => {
    const { logProbs, oldLogProbs, advantages: A } = inputs;
    const { losses, clipped } = policyClipLoss({ logProbs, oldLogProbs, advantages: A }, options);
    return {
      losses,
      clipped: cast(clipped, 'float32'),
      slope: gradients(sum(losses), [logProbs])[0]!,
    };
  });
  const outputs = await (await createInterpreter().compile(program)).run({
    logProbs: rows(ratios.map((ratio) => Math.log(ratio) - 1)),
    oldLogProbs: rows(ratios.map(() => -1)),
    advantages: rows(advantages),
  });
  return Object.fromEntries(
    Object.entries(outputs).map(([name, { data }]) => [name, Array.from(data, Number)]),
  ) as Record<'losses' | 'clipped' | 'slope', number[]>;
}

// Constants of a graph are float32: 1.2 is off by 5e-8, far less than the distance to any other variant.
const close = (actual: readonly number[], expected: readonly number[]): void =>
  expected.forEach((number, i) => void expect(actual[i]).toBeCloseTo(number, 6));

describe('policyClipLoss', () => {
  const ratios = [1.5, 0.5, 1.5, 0.5, 5];
  const advantages = [1, 1, -1, -1, -1];
  it('is the five cases derived by hand: −1.2, −0.5, 1.5, 0.8, 5', async () => {
    const { losses, clipped } = await evaluate(ratios, advantages, { clipRange: 0.2 });
    close(losses, [-1.2, -0.5, 1.5, 0.8, 5]);
    expect(clipped).toEqual([1, 0, 0, 1, 0]);
  });
  it('has no gradient beyond the clip in the direction the advantage asks for, and −A at ratio 1', async () => {
    const { slope } = await evaluate(ratios, advantages, { clipRange: 0.2 });
    close(slope, [0, -0.5, 1.5, 0, 5]);
    close((await evaluate([1, 1], [2, -3], { clipRange: 0.2 })).slope, [-2, 3]);
  });
  it('has a wider upper side, and a bound of 3 for bad tokens, when asked', async () => {
    close((await evaluate(ratios, advantages, { clipRange: 0.2, clipRangeHigh: 0.28 })).losses, [-1.28]);
    close(
      (await evaluate(ratios, advantages, { clipRange: 0.2, dualClip: 3 })).losses,
      [-1.2, -0.5, 1.5, 0.8, 3],
    );
  });
  it('stays finite where the policies have nothing in common', async () => {
    const { losses, slope } = await evaluate([1e-300, 1e300], [-1, -1], { clipRange: 0.2 });
    expect([...losses, ...slope].every((x) => Math.abs(x) <= Math.exp(20))).toBe(true);
  });
  it('has the gradient of central differences', async () => {
    await checkGradient(
      (logProbs, oldLogProbs, A) =>
        policyClipLoss(
          { logProbs: logProbs!, oldLogProbs: oldLogProbs!, advantages: A! },
          { clipRange: 0.2, dualClip: 2 },
        ).losses,
      [
        { shape: [1, 4], data: [-1, -1.6, -0.3, -2] },
        { shape: [1, 4], data: [-1.1, -1, -1.5, -2.05] },
        { shape: [1, 4], data: [1, 0.5, -2, -1] },
      ],
    );
  });
});

describe('sequence ratios', () => {
  const type = { dtype: 'float32' as const, shape: [1, 4] };
  const inputs = {
    logProbs: rows([-0.9, -1.2, -0.7, -5]),
    oldLogProbs: rows([-1, -1, -1, -1]),
    mask: rows([1, 1, 1, 0]),
  };

  it('are exp of the mean and of the sum of the log-ratios that count', async () => {
    const program = trace({ logProbs: type, oldLogProbs: type, mask: type }, (x) => ({
      mean: sequenceRatio(x.logProbs, x.oldLogProbs, x.mask, 'mean'),
      sum: sequenceRatio(x.logProbs, x.oldLogProbs, x.mask, 'sum'),
    }));
    const { mean, sum: total } = await (await createInterpreter().compile(program)).run(inputs);
    close(Array.from(mean!.data, Number), [1.068939, 1.068939, 1.068939, 1.068939]);
    close(Array.from(total!.data, Number), [1.221403, 1.221403, 1.221403, 1.221403]);
  });

  it('are those that the surrogate clips by, and stay finite', async () => {
    const program = trace({ logProbs: type, oldLogProbs: type, mask: type, advantages: type }, (x) => {
      const of = (ratio: 'sequence-mean' | 'sequence-sum') =>
        policyClipLoss(x, { clipRange: 0.5, ratio }).losses;
      return { mean: of('sequence-mean'), sum: of('sequence-sum') };
    });
    const run = async (logProbs: Float64Array): Promise<number[]> => {
      const executable = await createInterpreter().compile(program);
      const { mean, sum: total } = await executable.run({
        ...inputs,
        logProbs,
        advantages: rows([1, 1, 1, 1]),
      });
      return [mean, total].map((x) => Number(x!.data[0]));
    };
    close(await run(inputs.logProbs), [-1.068939, -1.221403]);
    // Ratios of e^±1000 are held at e^±20, in reach of float32: 0 and, at advantage 1, the clip.
    const [low] = await run(rows([-1000, -1000, -1000, 0]));
    expect(low).toBeLessThan(0);
    expect(await run(rows([999, 999, 999, 0]))).toEqual([-1.5, -1.5]);
  });

  it('have the gradient of the surrogate of the whole sequence', async () => {
    for (const ratio of ['sequence-mean', 'sequence-sum'] as const) {
      await checkGradient(
        (logProbs, oldLogProbs, A, mask) =>
          policyClipLoss(
            { logProbs: logProbs!, oldLogProbs: oldLogProbs!, advantages: A!, mask: mask! },
            { clipRange: 0.2, ratio },
          ).losses,
        [
          { shape: [2, 3], data: [-1.05, -0.9, -2.02, -0.55, -1.1, -0.8] },
          { shape: [2, 3], data: [-1, -1, -2, -0.9, -1.3, -0.7] },
          { shape: [2, 3], data: [1, 1, 1, -2, -2, -2] },
          { shape: [2, 3], data: [1, 1, 0, 1, 1, 1] },
        ],
      );
    }
  });

  it('need a mask', async () => {
    await expect(evaluate([1], [1], { clipRange: 0.2, ratio: 'sequence-sum' })).rejects.toThrow(
      /ratioOf: expected a mask/,
    );
  });
});
