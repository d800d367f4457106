import { describe, expect, it } from 'vitest';
import { checkGradient, points } from '../../../test/support/gradient-check.ts';
import { createInterpreter } from '../../engine/interpreter.ts';
import { full } from '../../graph/ops/elementwise.ts';
import { trace } from '../../graph/program.ts';
import { type BradleyTerryOptions, bradleyTerryLoss } from './bradley-terry.ts';

async function at(
  [chosen, rejected, margin]: readonly [number, number, number?],
  options: BradleyTerryOptions = {},
): Promise<number> {
  const program = trace({}, () => ({
    y: bradleyTerryLoss(
      {
        chosen: full([1], chosen),
        rejected: full([1], rejected),
        ...(margin === undefined ? {} : { margin: full([1], margin) }),
      },
      options,
    ),
  }));
  const { y } = await (await createInterpreter().compile(program)).run({});
  return Number(y!.data[0]);
}

describe('bradleyTerryLoss', () => {
  // Δ = 1.5: −log σ(1.5) = 0.20141328; margin 0.5: −log σ(1) = 0.31326169; ε 0.1: 0.20141328 + 0.1·1.5;
  // centering 0.01: 0.01·0.9².
  it('is the values derived by hand', async () => {
    expect(await at([1.2, -0.3])).toBeCloseTo(0.20141328, 7);
    expect(await at([1.2, -0.3, 0.5])).toBeCloseTo(0.31326169, 7);
    expect(await at([1.2, -0.3], { labelSmoothing: 0.1 })).toBeCloseTo(0.35141328, 7);
    expect((await at([1.2, -0.3], { centering: 0.01 })) - (await at([1.2, -0.3]))).toBeCloseTo(0.0081, 7);
    expect(await at([2, 2])).toBeCloseTo(Math.LN2, 12);
  });
  it('does not see a shift of both scores, except by its centering', async () => {
    expect(await at([11.25, 9.75])).toBeCloseTo(await at([1.25, -0.25]), 12);
    expect(await at([11.25, 9.75], { centering: 0.01 })).toBeGreaterThan(4);
  });
  it('has the gradient of central differences, also at ±10⁴', async () => {
    await checkGradient(
      (chosen, rejected, margin) =>
        bradleyTerryLoss(
          { chosen: chosen!, rejected: rejected!, margin: margin! },
          { labelSmoothing: 0.1, centering: 0.05 },
        ),
      [points([5]), points([5], 2), points([5], 3)],
    );
    await checkGradient(
      (chosen, rejected) => bradleyTerryLoss({ chosen: chosen!, rejected: rejected! }),
      [
        { shape: [2], data: [1e4, -1e4] },
        { shape: [2], data: [0, 0] },
      ],
      { tolerance: 1e-5 },
    );
  });
});
