/** What the machine can do, by the same engine in the same run. */
import type { Engine } from '../../engine/engine.ts';
import { sum } from '../../graph/ops/reduce.ts';
import { trace } from '../../graph/program.ts';
import { matrixProductRate } from './engine.ts';

export interface MachineLimits {
  /** Rate of a product of 1024 × 1024 matrices. */
  readonly gflops: number;
  /** Rate at which 256 MiB are read and summed. */
  readonly gigabytesPerSecond: number;
}

const [rows, columns] = [8192, 8192];

/** Measures both, best of ten. */
export async function machineLimits(engine: Engine, clock: () => number): Promise<MachineLimits> {
  const reading = await engine.compile(
    trace({ x: { dtype: 'float32', shape: [rows, columns] } }, ({ x }) => ({ y: sum(x, { axes: 1 }) })),
    { name: 'read' },
  );
  const array = reading.bind({ x: new Float32Array(rows * columns).fill(1) });
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 10; i++) {
    const start = clock();
    array.runSync();
    least = Math.min(least, clock() - start);
  }
  array.dispose();
  reading.dispose();
  return {
    gflops: await matrixProductRate(engine, clock),
    gigabytesPerSecond: (4 * rows * columns) / least / 1e6,
  };
}
