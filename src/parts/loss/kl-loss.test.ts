import { expect, it } from 'vitest';
import { checkGradient } from '../../../test/support/gradient-check.ts';
import { createInterpreter } from '../../engine/interpreter.ts';
import { gradients } from '../../graph/gradient.ts';
import { sum } from '../../graph/ops/reduce.ts';
import { trace } from '../../graph/program.ts';
import { klEstimate } from '../kl.ts';
import { klLoss } from './kl-loss.ts';

const type = { dtype: 'float32' as const, shape: [1, 4] };
const program = trace({ logProbs: type, reference: type }, ({ logProbs, reference }) => {
  const losses = klLoss(logProbs, reference);
  return { losses, slope: gradients(sum(losses), [logProbs])[0]! };
});

it('is k3, as the host estimates it, with the slope 1 − exp(−d)', async () => {
  const logProbs = Float64Array.of(-1, -2, -0.5, -3);
  const reference = Float64Array.of(-1.5, -1.8, -0.5, -9);
  const { losses, slope } = await (await createInterpreter().compile(program)).run({ logProbs, reference });
  const expected = klEstimate(logProbs, reference, 'k3');
  Array.from(losses!.data, Number).forEach((value, i) => void expect(value).toBeCloseTo(expected[i]!, 6));
  expect(Number(losses!.data[0])).toBeCloseTo(0.106531, 6);
  // d = 0.5, −0.2, 0, 6
  [0.5, -0.2, 0, 6].forEach((d, i) => void expect(Number(slope!.data[i])).toBeCloseTo(1 - Math.exp(-d), 6));
});

it('has that gradient by central differences too, and none beyond what can be represented', async () => {
  await checkGradient(
    (x, y) => klLoss(x!, y!),
    [
      { shape: [2, 2], data: [-1, -2.5, -0.25, -4] },
      { shape: [2, 2], data: [-1.5, -2, -0.5, -1] },
    ],
  );
  const logProbs = Float64Array.of(-1e4, 0, 0, 0);
  const reference = Float64Array.of(0, -1e4, 0, 0);
  const { losses, slope } = await (await createInterpreter().compile(program)).run({ logProbs, reference });
  expect(Array.from(losses!.data, Number).every(Number.isFinite)).toBe(true);
  expect(Array.from(slope!.data, Number).slice(0, 2)).toEqual([0, 0]);
});
