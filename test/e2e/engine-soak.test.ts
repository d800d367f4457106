/** Flat memory: neither runs nor bindings nor compilations may leave anything behind. */
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { createOrtEngine } from '../../src/engine/ort/ort-engine.ts';
import { add, mul } from '../../src/graph/ops/elementwise.ts';
import { matmul } from '../../src/graph/ops/matmul.ts';
import { softmax, sum } from '../../src/graph/ops/reduce.ts';
import { type Program, trace } from '../../src/graph/program.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/**
 * Bytes in use: resident memory outside JavaScript's heap, plus what lives on the heap. The heap's spare pages do not
 * count: V8 widens its nursery to tens of MB when much is allocated, whether or not anything stays.
 */
async function usedBytes(): Promise<number> {
  for (let round = 0; round < 3; round++) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const heap = getHeapStatistics();
  return process.memoryUsage.rss() - heap.total_physical_size + heap.used_heap_size;
}

/** Growth of used memory in bytes over `times` calls, after as many calls as the engine needs to settle. */
async function growth(
  warmUp: number,
  times: number,
  call: (index: number) => Promise<void> | void,
): Promise<number> {
  for (let index = 0; index < warmUp; index++) await call(index);
  const before = await usedBytes();
  for (let index = 0; index < times; index++) await call(index);
  return (await usedBytes()) - before;
}

const size = 16;
function program(layers: number): Program {
  const type = { dtype: 'float32', shape: [size, size] } as const;
  return trace({ x: type, w: type }, ({ x, w }) => {
    let y = x;
    for (let layer = 0; layer < layers; layer++) y = softmax(add(matmul(y, w), mul(x, layer)));
    return { y, total: sum(y) };
  });
}
const arrays = (): { x: Float32Array; w: Float32Array } => ({
  x: new Float32Array(size * size).fill(0.5),
  w: new Float32Array(size * size).fill(0.1),
});

describe('ONNX Runtime keeps memory flat', () => {
  it('over 10 000 runs, each with a binding of its own', async () => {
    const engine = createOrtEngine({ threads: 2 });
    const executable = await engine.compile(program(2));
    const { x, w } = arrays();
    const bytes = await growth(3000, 10_000, async (index) => {
      if (index % 2 === 0) {
        const { total } = await executable.run({ x, w });
        if (index === 0) expect(total!.data[0]).toBeCloseTo(size, 4);
      } else {
        const binding = executable.bind({ x, w });
        binding.runSync();
        binding.dispose();
      }
    });
    engine.dispose();
    // 0 to 3 MB in practice; a leak of 1 kB per run would be 10 MB.
    expect(bytes).toBeLessThan(5e6);
  });

  it('over 200 compilations', async () => {
    const engine = createOrtEngine({ threads: 2 });
    const { x, w } = arrays();
    const bytes = await growth(60, 200, async (index) => {
      const executable = await engine.compile(program(4 + (index % 3)), { constants: { w } });
      await executable.run({ x });
      executable.dispose();
    });
    engine.dispose();
    // 1 to 4 MB in practice. A session that stays costs more than 100 kB: 20 MB.
    expect(bytes).toBeLessThan(5e6);
  });
});
