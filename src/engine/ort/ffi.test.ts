import { describe, expect, it } from 'vitest';
import { EngineError } from '../../core/errors.ts';
import { matmul } from '../../graph/ops/matmul.ts';
import { trace } from '../../graph/program.ts';
import { applyOne, type Op } from '../../graph/tensor.ts';
import { createOrtEngine } from './ort-engine.ts';

describe('ort through the C API', () => {
  it('keeps what ONNX Runtime says about a model it refuses, with the name of the executable', async () => {
    const wrong: Op<Record<string, never>> = {
      name: 'wrong',
      infer: ([x]) => [x!],
      evaluate: ([x]) => [x!],
      lower: (lowering, [x]) => lowering.node('NoSuchOperator', [x!]),
    };
    const program = trace({ x: { dtype: 'float32', shape: [1] } }, ({ x }) => ({
      y: applyOne(wrong, [x], {}),
    }));
    const engine = createOrtEngine({ threads: 1 });
    const compiling = engine.compile(program, { name: 'strange' });
    await expect(compiling).rejects.toThrow(EngineError);
    await expect(compiling).rejects.toThrow(/ort\(strange\).*NoSuchOperator/);
    engine.dispose();
  });

  it('keeps what ONNX Runtime says about a run that fails, and stays usable', async () => {
    // Scatter with an index that is out of range: known only when it runs.
    const lookUp: Op<Record<string, never>> = {
      name: 'lookUp',
      infer: ([table, index]) => [{ dtype: table!.dtype, shape: index!.shape }],
      evaluate: ([, index]) => [index!],
      lower: (lowering, inputs) => lowering.node('Gather', inputs),
    };
    const program = trace(
      { table: { dtype: 'float32', shape: [3] }, index: { dtype: 'int64', shape: [1] } },
      ({ table, index }) => ({ y: applyOne(lookUp, [table, index], {}) }),
    );
    const engine = createOrtEngine({ threads: 1 });
    const executable = await engine.compile(program, { name: 'lookup' });
    const index = BigInt64Array.of(7n);
    const binding = executable.bind({ table: Float32Array.of(1, 2, 3), index });
    expect(() => binding.runSync()).toThrow(/ort\(lookup\).*lookUp_.*out of/);
    await expect(binding.run()).rejects.toThrow(/ort\(lookup\).*out of/);
    index[0] = 2n;
    await binding.run();
    expect([...binding.outputs.y!.data]).toEqual([3]);
    engine.dispose();
  });

  it('gives the same bytes for the same input, again and again', async () => {
    const type = { dtype: 'float32', shape: [96, 96] } as const;
    const engine = createOrtEngine({ threads: 2 });
    const executable = await engine.compile(trace({ a: type, b: type }, ({ a, b }) => ({ c: matmul(a, b) })));
    const numbers = (seed: number): Float32Array =>
      Float32Array.from({ length: 96 * 96 }, (_, at) => Math.sin(at * 12.9898 + seed) * 4.3);
    const binding = executable.bind({ a: numbers(1), b: numbers(2) });
    binding.runSync();
    const first = binding.outputs.c!.data.slice();
    for (let run = 0; run < 5; run++) {
      await binding.run();
      expect(binding.outputs.c!.data).toEqual(first);
    }
    engine.dispose();
  });
});
