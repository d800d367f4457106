import { describe, expect, it } from 'vitest';
import { checkGradient, points } from '../../test/support/gradient-check.ts';
import { createInterpreter } from '../engine/interpreter.ts';
import { checkpoint, customGradient, gradients, valueAndGrad } from './gradient.ts';
import { stopGradient } from './ops/control.ts';
import { add, mul, sigmoid, tanh } from './ops/elementwise.ts';
import { matmul } from './ops/matmul.ts';
import { argmax, sum } from './ops/reduce.ts';
import { optimize } from './optimize.ts';
import { printProgram, trace } from './program.ts';
import type { Tensor } from './tensor.ts';

const scalar = { dtype: 'float32', shape: [] } as const;
const vector = { dtype: 'float32', shape: [3] } as const;

async function run(program: ReturnType<typeof trace>, arrays: Record<string, number[]>) {
  const executable = await createInterpreter().compile(program);
  const bound = Object.fromEntries(
    Object.entries(arrays).map(([name, data]) => [name, Float64Array.from(data)]),
  );
  const outputs = await executable.run(bound);
  return Object.fromEntries(
    Object.entries(outputs).map(([name, { data }]) => [name, Array.from(data as Float64Array)]),
  );
}

describe('gradients', () => {
  it('differentiates x² + 3x at 2: value 10, slope 2·2 + 3 = 7', async () => {
    const program = trace({ x: scalar }, ({ x }) => {
      const { value, gradients: g } = valueAndGrad((t) => add(mul(t!, t!), mul(t!, 3)))(x);
      return { value, slope: g[0]! };
    });
    expect(await run(program, { x: [2] })).toEqual({ value: [10], slope: [7] });
  });

  it('treats every tensor it differentiates by as independent', async () => {
    // y = x·b with b = 2x: dy/dx at fixed b is b, and dy/db is x.
    const program = trace({ x: scalar }, ({ x }) => {
      const b = mul(x, 2);
      const [dx, db] = gradients(mul(x, b), [x, b]);
      return { dx: dx!, db: db! };
    });
    expect(await run(program, { x: [3] })).toEqual({ dx: [6], db: [3] });
  });

  it('gives zeros where the result does not depend on the variable, and through stopGradient', async () => {
    const program = trace({ x: vector }, ({ x }) => {
      const [g] = gradients(sum(mul(stopGradient(x), x)), [x]);
      const [zero] = gradients(sum(stopGradient(x)), [x]);
      return { g: g!, zero: zero! };
    });
    expect(await run(program, { x: [1, 2, 3] })).toEqual({ g: [1, 2, 3], zero: [0, 0, 0] });
  });

  it('ignores integer paths', async () => {
    const program = trace({ x: vector }, ({ x }) => {
      argmax(x);
      return { g: gradients(sum(mul(x, 2)), [x])[0]! };
    });
    expect(await run(program, { x: [1, 2, 3] })).toEqual({ g: [2, 2, 2] });
  });

  it('rejects a loss that is not a scalar', () => {
    expect(() => trace({ x: vector }, ({ x }) => ({ g: gradients(x, [x])[0]! }))).toThrow(
      /expected a scalar loss, received shape \[3\]/,
    );
  });
});

describe('checkpoint', () => {
  const w1 = points([4, 5], 2);
  const w2 = points([5, 3], 3);
  const block = (x: Tensor, a: Tensor, b: Tensor): Tensor => matmul(tanh(matmul(x, a)), b);

  it('has the gradients of the plain function, for arguments and for what it closes over', async () => {
    await checkGradient(
      (x, a, b) => checkpoint((h) => [block(h!, a!, b!)])(x!)[0]!,
      [points([2, 4]), w1, w2],
    );
  });

  it('passes gradients through outputs that are its inputs or what it closes over', async () => {
    await checkGradient(
      (x, a) => {
        const outputs = checkpoint((h) => [h!, a!, mul(h!, a!)])(x!);
        return outputs.reduce((y, z) => add(mul(y, z), z));
      },
      [points([3], 1), points([3], 2)],
    );
  });

  it('nests', async () => {
    await checkGradient(
      (x, a, b) => checkpoint((h) => checkpoint((u) => [sigmoid(block(u!, a!, b!))])(h!))(x!)[0]!,
      [points([2, 4]), w1, w2],
    );
  });

  it('computes the inside again after the cotangent, and plain code does not', () => {
    const types = { x: { dtype: 'float32', shape: [2, 2] }, w: { dtype: 'float32', shape: [2, 2] } } as const;
    const build = (remat: boolean) =>
      optimize(
        trace(types, ({ x, w }) => {
          const f = (h: Tensor): Tensor => tanh(tanh(matmul(h, w)));
          const y = remat ? checkpoint((h) => [f(h!)])(x)[0]! : f(x);
          const loss = sum(mul(y, y));
          return { loss, dw: gradients(loss, [w])[0]! };
        }),
      );
    const count = (text: string, word: string) => text.split(` = ${word}`).length - 1;
    expect(count(printProgram(build(false)), 'tanh')).toBe(2);
    expect(count(printProgram(build(true)), 'tanh')).toBe(4);
    expect(count(printProgram(build(true)), 'after')).toBe(1);
  });
});

describe('customGradient', () => {
  it('uses its own rule', async () => {
    const straightThrough = customGradient({
      forward: (x) => [mul(x!, x!)],
      backward: (_inputs, _outputs, [g]) => [mul(g!, 10)],
    });
    const program = trace({ x: scalar }, ({ x }) => {
      const [y] = straightThrough(x);
      return { y: y!, g: gradients(y!, [x])[0]! };
    });
    expect(await run(program, { x: [3] })).toEqual({ y: [9], g: [10] });
  });
});
