import { describe, expect, it } from 'vitest';
import { checkGradient } from '../../../test/support/gradient-check.ts';
import { createInterpreter } from '../../engine/interpreter.ts';
import { constant } from '../../graph/ops/common.ts';
import { cast } from '../../graph/ops/elementwise.ts';
import { trace } from '../../graph/program.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { valueClipLoss } from './value-clip.ts';

const row = (...numbers: number[]): Tensor =>
  constant({ dtype: 'float32', shape: [1, numbers.length], data: Float32Array.from(numbers) });

describe('valueClipLoss', () => {
  // Token 0: v 1 is clipped to 0.7: max((1 − .9)², (.7 − .9)²)/2 = 0.02. Token 1: v 0.5 is within 0.6 ± 0.2: 0.05²/2.
  it('is the example derived by hand', async () => {
    const program = trace({}, () => {
      const { losses, clipped } = valueClipLoss(
        { values: row(1, 0.5), oldValues: row(0.5, 0.6), returns: row(0.9, 0.55) },
        0.2,
      );
      return { losses, clipped: cast(clipped, 'float32') };
    });
    const { losses, clipped } = await (await createInterpreter().compile(program)).run({});
    expect(Number(losses!.data[0])).toBeCloseTo(0.02, 7);
    expect(Number(losses!.data[1])).toBeCloseTo(0.00125, 7);
    expect(Array.from(clipped!.data, Number)).toEqual([1, 0]);
  });
  it('has the gradient of central differences', async () => {
    await checkGradient(
      (values) =>
        valueClipLoss(
          { values: values!, oldValues: row(0.5, 0.6, 0, 3), returns: row(0.9, 0.55, 2, -1) },
          0.2,
        ).losses,
      [{ shape: [1, 4], data: [1, 0.5, 0.1, 3.5] }],
    );
  });
});
