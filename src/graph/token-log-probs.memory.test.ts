/** A file of its own: vitest gives it a process of its own, whose resident memory is measured. */
import { describe, expect, it } from 'vitest';
import { points } from '../../test/support/gradient-check.ts';
import { toArray } from '../../test/support/samples.ts';
import { createOrtEngine } from '../engine/ort/ort-engine.ts';
import { gradients } from './gradient.ts';
import { add, mul } from './ops/elementwise.ts';
import { sum } from './ops/reduce.ts';
import { trace } from './program.ts';
import { tokenLogProbs } from './token-log-probs.ts';

const N = 256;
const V = 151_936; // Qwen's vocabulary
const D = 16;
const matrix = N * V * 4;

/** Growth of resident memory, in bytes, over one forward and backward pass. Sampled: ONNX Runtime runs off the event loop. */
async function growth(chunk: number, withEntropy: boolean): Promise<number> {
  const types = {
    hidden: { dtype: 'float32', shape: [N, D] },
    head: { dtype: 'float32', shape: [V, D] },
    labels: { dtype: 'int64', shape: [N] },
    weights: { dtype: 'float32', shape: [N] },
  } as const;
  const program = trace(types, ({ hidden, head, labels, weights }) => {
    const { logProbs, entropy } = tokenLogProbs(hidden, head, labels, { chunk });
    // A loss whose cotangents depend on every log-prob: no backward pass can begin before the last forward.
    const policy = sum(mul(weights, mul(logProbs, logProbs)));
    const loss = withEntropy ? add(policy, sum(mul(entropy, entropy))) : policy;
    const [dHidden, dHead] = gradients(loss, [hidden, head]);
    return { loss, dHidden: dHidden!, dHead: dHead! };
  });
  const engine = createOrtEngine({ threads: 2 });
  const executable = await engine.compile(program);
  const binding = executable.bind({
    hidden: toArray(points([N, D], 1)),
    head: toArray(points([V, D], 2)),
    labels: BigInt64Array.from({ length: N }, (_, i) => BigInt((i * 7919) % V)),
    weights: toArray(points([N], 3)),
  });
  const before = process.memoryUsage.rss();
  let peak = before;
  const sampler = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss());
  }, 1);
  await binding.run();
  clearInterval(sampler);
  expect((binding.outputs.loss!.data as Float32Array)[0]).toSatisfy(Number.isFinite);
  engine.dispose();
  return peak - before;
}

describe(`log-probs of ${N} tokens over ${V} entries, forward and backward`, () => {
  // Chunks first: memory that the whole matrix needed may stay with the process.
  it('never holds [N, V] by chunks of 16, and does without chunks', async () => {
    const chunked = await growth(16, false);
    const withEntropy = await growth(16, true);
    const whole = await growth(N, false);
    expect(chunked).toBeLessThan(0.5 * matrix);
    expect(withEntropy).toBeLessThan(0.6 * matrix);
    expect(whole).toBeGreaterThan(1.5 * matrix);
  });
});
