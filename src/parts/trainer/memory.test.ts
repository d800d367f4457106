import { describe, expect, it } from 'vitest';
import { add, exp, mul } from '../../graph/ops/elementwise.ts';
import { sum } from '../../graph/ops/reduce.ts';
import { trace } from '../../graph/program.ts';
import { runningOrder } from '../../onnx/running-order.ts';
import { fitToMemory, parseBytes, peakActivationBytes, trainedBytes } from './memory.ts';

const x = { dtype: 'float32' as const, shape: [100] };

describe('peakActivationBytes', () => {
  it('counts what lives at once: of a chain two tensors, whatever its length', () => {
    const chain = trace({ x }, (inputs) => {
      let y = inputs.x!;
      for (let i = 0; i < 9; i++) y = exp(y);
      return { total: sum(y) };
    });
    expect(peakActivationBytes(chain)).toBe(2 * 400);
  });

  it('counts neither inputs nor outputs, and keeps what is read again at the end', () => {
    const kept = trace({ x }, (inputs) => {
      const first = exp(inputs.x!);
      let y = first;
      for (let i = 0; i < 5; i++) y = exp(y);
      return { out: mul(y, first) };
    });
    expect(peakActivationBytes(kept)).toBe(3 * 400);
  });
});

it('runningOrder reaches the output with the shortest path first, and every node after what it reads', () => {
  const program = trace({ x }, (inputs) => {
    const shared = exp(inputs.x!);
    const long = exp(exp(exp(shared)));
    return { long: sum(add(long, shared)), short: sum(shared) };
  });
  const order = runningOrder(program);
  const at = new Map(order.map((node, index) => [node, index]));
  for (const node of order)
    for (const { node: input } of node.inputs) expect(at.get(input)!).toBeLessThan(at.get(node)!);
  const [long, short] = program.outputs.map(({ tensor }) => at.get(tensor.node)!);
  expect(short).toBeLessThan(long!);
  expect(order.filter(({ op }) => op.name === 'exp').map((node) => at.get(node)! < short!)).toEqual([
    ...[true, false, false, false],
  ]);
});

describe('fitToMemory', () => {
  const gib = 2 ** 30;
  // 1 GiB per example, a quarter with checkpointing.
  const estimate = ({
    microBatchSize,
    gradientCheckpointing,
  }: {
    microBatchSize: number;
    gradientCheckpointing: boolean;
  }) => microBatchSize * gib * (gradientCheckpointing ? 0.25 : 1);

  it('halves the micro-batch first, and checkpoints only where one example does not fit', () => {
    expect(fitToMemory(9 * gib, 8, estimate)).toEqual({ microBatchSize: 8, gradientCheckpointing: false });
    expect(fitToMemory(8 * gib, 8, estimate)).toEqual({ microBatchSize: 4, gradientCheckpointing: false });
    expect(fitToMemory(0.9 * gib, 8, estimate)).toEqual({ microBatchSize: 2, gradientCheckpointing: true });
  });

  it('names the least that would do', () => {
    expect(() => fitToMemory(0.3 * gib, 8, estimate)).toThrow(
      /--memory: expected at least 0\.50GiB.*received 0\.30GiB/,
    );
  });
});

it('parseBytes reads binary and decimal units, and refuses what is none', () => {
  expect(['8GiB', '512MiB', '6GB', '1.5 TiB', '100B'].map(parseBytes)).toEqual([
    ...[8 * 2 ** 30, 512 * 2 ** 20, 6e9, 1.5 * 2 ** 40, 100],
  ]);
  for (const bad of ['8', 'lots', '8 gigs', '']) expect(() => parseBytes(bad)).toThrow(/a size such as 8GiB/);
});

it('trainedBytes has a second gradient where micro-batches add up, and the moments of the optimizer', () => {
  const adam = { optimizer: 'adamw', momentum: 0 };
  expect(trainedBytes(10, { ...adam, accumulates: true })).toEqual({ gradients: 20, optimizer: 20 });
  expect(trainedBytes(10, { optimizer: 'sgd', momentum: 0, accumulates: false })).toEqual({
    gradients: 10,
    optimizer: 0,
  });
});
