/** The load test in short: that nothing is left over and every refusal has its shape. Its speeds are for `heed bench serve`. */
import { expect, it } from 'vitest';
import { benchServe } from '../../src/cli/bench/serve.ts';
import { runClients } from '../../src/cli/bench/serve-clients.ts';
import { createOrtEngine } from '../../src/engine/ort/ort-engine.ts';
import { tinyConfig } from '../support/tiny-model.ts';

it('64 clients that ask, leave, dawdle and send rubbish leave nothing behind', async () => {
  const engine = createOrtEngine({ threads: 1 });
  const result = await benchServe({
    ...{ engine, clients: 64, seconds: 8, slots: 16, onStage: () => {} },
    config: { ...tinyConfig, head_dim: 8, max_position_embeddings: 256 },
    clock: () => performance.now(),
    now: () => Date.now(),
    memory: () => process.memoryUsage.rss(),
    runClients: (load) => runClients(load, () => performance.now()),
  });
  engine.dispose();
  expect(result.wrong).toEqual([]);
  expect(result.left).toEqual({ rows: 0, waiting: 0, requests: 0 });
  // Every kind of client was there, and no status that is not one of these.
  expect(Object.keys(result.requests)).toHaveLength(8);
  expect(Object.keys(result.statuses).toSorted()).toEqual(['200', '400', '404', '413']);
  expect(result.tokensPerSecond).toBeGreaterThan(0);
});
