/**
 * Tokens per second of llama.cpp (through node-llama-cpp) on a Llama folder: a peer of `heed bench generate`.
 *
 *     npm run build
 *     npm install --prefix bench/peers/llama-cpp --ignore-scripts
 *     heed bench generate --peer "node bench/peers/llama-cpp/generate.mjs"
 *
 * The weights are written as GGUF in float32, keys and values are cached in float32, and a batch is as many sequences of one
 * context, sampled at temperature 1 from the whole vocabulary. `--check` compares greedy tokens with heed's first.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { GgmlType, getLlama, LlamaLogLevel } from 'node-llama-cpp';
import { createEngine, createGenerator, createRng, loadModel } from '../../../dist/index.js';
import { writeGguf } from './write-gguf.mjs';

const text = { type: 'string' };
const { values } = parseArgs({
  options: {
    ...{ model: text, batches: text, prompt: text, 'new-tokens': text, repeats: text, threads: text },
    check: { type: 'boolean' },
  },
});
const [promptTokens, newTokens, repeats] = [values.prompt, values['new-tokens'], values.repeats].map(Number);

const place = mkdtempSync(join(tmpdir(), 'heed-llama-'));
try {
  const file = join(place, 'model.gguf');
  const config = await writeGguf(values.model, file);
  const llama = await getLlama({
    ...{ gpu: false, build: 'never', logLevel: LlamaLogLevel.error, maxThreads: Number(values.threads) },
  });
  const model = await llama.loadModel({ modelPath: file });
  const tokensPerSecond = {};
  for (const batch of values.batches.split(',').map(Number)) {
    const context = await model.createContext({
      ...{ sequences: batch, contextSize: promptTokens + newTokens, batchSize: batch * promptTokens },
      ...{ threads: Number(values.threads), experimentalKvCacheKeyType: GgmlType.F32 },
      experimentalKvCacheValueType: GgmlType.F32,
    });
    const sequences = Array.from({ length: batch }, () => context.getSequence());
    const one = async (sequence, row, temperature) => {
      const ids = Array.from(
        { length: promptTokens },
        (_, t) => 300 + (((row * promptTokens + t) * 7919) % (config.vocab_size - 300)),
      );
      const made = [];
      const options = { temperature, topK: 0, topP: 1, minP: 0, yieldEogToken: true };
      for await (const token of sequence.evaluate(ids, options)) {
        made.push(token);
        if (made.length === newTokens) break;
      }
      if (made.length !== newTokens) throw new Error(`${made.length} tokens`);
      return { ids, made };
    };
    const run = async (temperature) => {
      for (const sequence of sequences) await sequence.clearHistory();
      const start = performance.now();
      const rows = await Promise.all(sequences.map((sequence, row) => one(sequence, row, temperature)));
      return { rows, ms: performance.now() - start };
    };
    if (values.check) await check((await run(0)).rows);
    // Warm for two seconds, as heed is.
    const cold = performance.now();
    do await run(1);
    while (performance.now() - cold < 2000);
    const times = [];
    for (let i = 0; i < repeats; i++) times.push((await run(1)).ms);
    times.sort((a, b) => a - b);
    tokensPerSecond[batch] = (1000 * batch * newTokens) / times[Math.floor(repeats / 2)];
    await context.dispose();
  }
  const name = `llama.cpp ${llama.llamaCppRelease.release}`;
  process.stdout.write(`${JSON.stringify({ name, tokensPerSecond })}\n`);
  await llama.dispose();
} finally {
  rmSync(place, { recursive: true });
}

/** Compares greedy completions with heed's; rounding may part them where two logits are nearly equal. */
async function check(rows) {
  const engine = await createEngine();
  const { model, parameters } = await loadModel(values.model);
  const generator = createGenerator({ engine, model, parameters });
  const own = await generator.generate(
    rows.map(({ ids }) => ids),
    { temperature: 0, topK: 0, topP: 1, maxNewTokens: newTokens, rng: createRng(0), stopIds: new Set() },
  );
  const same = rows.filter(({ made }, row) => made.join() === own[row].ids.join()).length;
  process.stderr.write(`${same} of ${rows.length} greedy completions are equal\n`);
  generator.dispose();
  engine.dispose();
}
