import { describe, expect, it } from 'vitest';
import { checkGradient } from '../../../test/support/gradient-check.ts';
import { createInterpreter } from '../../engine/interpreter.ts';
import { gradients } from '../../graph/gradient.ts';
import { sum } from '../../graph/ops/reduce.ts';
import { trace } from '../../graph/program.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { alphaDivergence, divergences, type PairLossName, pairLosses, pairLossNames } from './preference.ts';

const options = { beta: 0.1, labelSmoothing: 0.1, tau: 0.05 };
const B = (...data: number[]) => ({ shape: [data.length], data });
const lengths = { chosenLength: B(4, 3, 2, 7, 2), rejectedLength: B(5, 2, 2, 2, 9) };
const pair = (inputs: readonly Tensor[]) => ({
  chosen: inputs[0]!,
  rejected: inputs[1]!,
  chosenLength: inputs[2]!,
  rejectedLength: inputs[3]!,
});

async function evaluate(name: PairLossName, chosen: readonly number[], rejected: readonly number[]) {
  const type = { dtype: 'float32' as const, shape: [chosen.length] };
  const program = trace(
    { chosen: type, rejected: type, chosenLength: type, rejectedLength: type },
    (inputs) => {
      const losses = pairLosses[name](options)(inputs);
      const [c, r] = gradients(sum(losses), [inputs.chosen, inputs.rejected]);
      return { losses, c: c!, r: r! };
    },
  );
  const of = (value: number): Float64Array => new Float64Array(chosen.length).fill(value);
  const outputs = await (await createInterpreter().compile(program)).run({
    ...{ chosen: Float64Array.from(chosen), rejected: Float64Array.from(rejected) },
    ...{ chosenLength: of(4), rejectedLength: of(5) },
  });
  return Object.fromEntries(
    Object.entries(outputs).map(([key, { data }]) => [key, Array.from(data, Number)]),
  ) as Record<'losses' | 'c' | 'r', number[]>;
}

// The other three take numbers from the whole batch (`pairwiseStep`); test/golden/preference.test.ts has their values and slopes.
const ofBatch: readonly PairLossName[] = ['aot', 'aot_unpaired', 'sft'];

describe.each(pairLossNames.filter((name) => !ofBatch.includes(name)))('%s', (name) => {
  it('has its gradient by central differences', async () => {
    await checkGradient(
      (...inputs) => pairLosses[name](options)(pair(inputs)),
      [B(1.5, -2, 0.3, 4, -7), B(-1, 0.5, 2.2, -3, 5), lengths.chosenLength, lengths.rejectedLength],
    );
  });

  it('is finite at extremes, with finite slopes', async () => {
    const { losses, c, r } = await evaluate(name, [1e4, -1e4, 0, 1e4, -1e4], [-1e4, 1e4, 0, 1e4, -1e4]);
    for (const list of [losses, c, r]) expect(list.every(Number.isFinite), `${list}`).toBe(true);
  });

  it('wants the rejected completion less likely than the chosen one', async () => {
    const { c, r } = await evaluate(name, [0.5], [-0.25]);
    expect(r[0]!).toBeGreaterThan(0);
    // APO-down lowers both; all others raise the chosen one.
    if (name === 'apo_down') expect(c[0]!).toBeLessThan(r[0]!);
    else expect(c[0]!).toBeLessThan(0);
  });
});

it('refuses a step that does not provide what the batch gives', async () => {
  for (const name of ofBatch) {
    await expect(evaluate(name, [1], [0])).rejects.toThrow(/expected a step that provides/);
  }
});

it('are the examples derived by hand', async () => {
  const first = async (name: PairLossName, c: number, r: number) =>
    (await evaluate(name, [c], [r])).losses[0];
  expect(await first('hinge', 1, -1)).toBeCloseTo(0.8, 6);
  expect(await first('ipo', 1, -1)).toBeCloseTo(20.7025, 4);
  expect(await first('robust', 1, -1)).toBeCloseTo(0.5731388694, 6);
  expect(await first('sppo_hard', 1, -1)).toBeCloseTo(2 * 16, 4); // (1 − 5)² + (−1 + 5)²
  expect(await first('apo_zero', 0, 0)).toBeCloseTo(1, 9);
});

it('alpha divergence is the forward KL at 0 and the reverse KL at 1, and near it near it', async () => {
  const program = trace({ d: { dtype: 'float32', shape: [3] } }, ({ d }) => ({
    zero: alphaDivergence(0)(d),
    forward: divergences.forwardKl(d),
    near: alphaDivergence(1.0001)(d),
    half: alphaDivergence(0.5)(d),
    js: divergences.jensenShannon(d),
  }));
  const d = [0.7, -0.4, 0];
  const outputs = await (await createInterpreter().compile(program)).run({ d: Float64Array.from(d) });
  d.forEach((value, i) => {
    const at = (name: string): number => Number(outputs[name]!.data[i]);
    expect(at('zero')).toBe(at('forward'));
    expect(at('forward')).toBeCloseTo(1 - Math.exp(-value), 6);
    expect(at('near')).toBeCloseTo(value, 3);
    expect(at('half')).toBeCloseTo((Math.exp(-value / 2) - 1) / -0.5, 6);
    expect(at('js')).toBeCloseTo(Math.log((2 * Math.exp(value)) / (Math.exp(value) + 1)), 6);
  });
});
