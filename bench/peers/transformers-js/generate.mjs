/**
 * Tokens per second of transformers.js in Node on a model folder: a peer of `heed bench generate`.
 *
 *     npm run build
 *     npm install --prefix bench/peers/transformers-js --ignore-scripts
 *     heed bench generate --peer "node bench/peers/transformers-js/generate.mjs"
 *
 * The folder is exported by `heed convert --to onnx`, float32, and sampled at temperature 1 from the whole vocabulary.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { AutoModelForCausalLM, env, Tensor } from '@huggingface/transformers';

const text = { type: 'string' };
const { values } = parseArgs({
  options: { model: text, batches: text, prompt: text, 'new-tokens': text, repeats: text, threads: text },
});
const [promptTokens, newTokens, repeats] = [values.prompt, values['new-tokens'], values.repeats].map(Number);

const place = mkdtempSync(join(tmpdir(), 'heed-tjs-'));
try {
  const cli = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url));
  const converted = spawnSync(
    process.execPath,
    [cli, 'convert', values.model, join(place, 'model'), '--to', 'onnx', '--quiet'],
    { encoding: 'utf8' },
  );
  if (converted.status !== 0) throw new Error(converted.stderr);
  env.allowRemoteModels = false;
  env.localModelPath = place;
  const model = await AutoModelForCausalLM.from_pretrained('model', {
    dtype: 'fp32',
    session_options: { intraOpNumThreads: Number(values.threads) },
  });
  const tokensPerSecond = {};
  for (const batch of values.batches.split(',').map(Number)) {
    const size = batch * promptTokens;
    const ids = BigInt64Array.from({ length: size }, (_, i) => BigInt((i * 7919) % model.config.vocab_size));
    const run = async () => {
      const start = performance.now();
      const result = await model.generate({
        inputs: new Tensor('int64', ids, [batch, promptTokens]),
        attention_mask: new Tensor('int64', new BigInt64Array(size).fill(1n), [batch, promptTokens]),
        max_new_tokens: newTokens,
        min_new_tokens: newTokens,
        do_sample: true,
        temperature: 1,
        top_k: 0,
        eos_token_id: -1,
      });
      if (result.dims[0] !== batch || result.dims[1] !== promptTokens + newTokens)
        throw new Error(`generate returned [${result.dims}]`);
      return performance.now() - start;
    };
    // Warm for two seconds, as heed is.
    const cold = performance.now();
    do await run();
    while (performance.now() - cold < 2000);
    const times = [];
    for (let i = 0; i < repeats; i++) times.push(await run());
    times.sort((a, b) => a - b);
    tokensPerSecond[batch] = (1000 * batch * newTokens) / times[Math.floor(repeats / 2)];
  }
  process.stdout.write(`${JSON.stringify({ name: `transformers.js ${env.version}`, tokensPerSecond })}\n`);
} finally {
  rmSync(place, { recursive: true });
}
