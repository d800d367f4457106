import { expect, it } from 'vitest';
import { checkGradient } from '../../../test/support/gradient-check.ts';
import { createInterpreter } from '../../engine/interpreter.ts';
import { gradients } from '../../graph/gradient.ts';
import { exp, mul, sub } from '../../graph/ops/elementwise.ts';
import { logSoftmax, sum } from '../../graph/ops/reduce.ts';
import { trace } from '../../graph/program.ts';
import { klEstimate } from '../kl.ts';
import { klLoss } from './kl-loss.ts';
import { probabilityRatio } from './policy-clip.ts';

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

/** Slopes by the logits of a policy over five tokens: expectations are sums over them, weighed by what was sampled from. */
it('times the ratio, has in expectation the value and the slope of KL(π ‖ π_ref), off-policy too; alone it has another slope', async () => {
  const row = { dtype: 'float32' as const, shape: [1, 5] };
  const expected = trace({ logits: row, old: row, reference: row }, ({ logits, old, reference }) => {
    const [logProbs, oldLogProbs, far] = [logits, old, reference].map((x) => logSoftmax(x!));
    const sampled = exp(oldLogProbs!);
    const kl = sum(mul(exp(logProbs!), sub(logProbs!, far!)));
    const k3 = klLoss(logProbs!, far!);
    const corrected = sum(mul(mul(k3, probabilityRatio(logProbs!, oldLogProbs!)), sampled));
    const slope = (x: typeof kl) => gradients(x, [logits!])[0]!;
    return { kl, corrected, exact: slope(kl), slope: slope(corrected), plain: slope(sum(mul(k3, sampled))) };
  });
  const outputs = await (await createInterpreter().compile(expected)).run({
    logits: Float64Array.of(0.3, -1, 0.8, 0, 1.5),
    old: Float64Array.of(0, -0.5, 1, 0.2, 1),
    reference: Float64Array.of(1, 0.4, -0.3, 0, 0.1),
  });
  const numbers = (name: string): number[] => Array.from(outputs[name]!.data, Number);
  expect(numbers('corrected')[0]).toBeCloseTo(numbers('kl')[0]!, 12);
  const exact = numbers('exact');
  numbers('slope').forEach((value, i) => void expect(value).toBeCloseTo(exact[i]!, 12));
  expect(Math.max(...numbers('plain').map((value, i) => Math.abs(value - exact[i]!)))).toBeGreaterThan(0.05);
});
