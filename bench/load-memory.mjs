/**
 * Peak memory of loading a checkpoint to float32, as a multiple of its float32 size; the checkpoint is loaded in a process
 * of its own. Without arguments: a random bfloat16 checkpoint with the shapes of SmolLM2-135M, written to a temporary folder.
 *
 *     npm run build && node bench/load-memory.mjs [folder or .gguf file …]
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createRng } from '../dist/core/index.js';
import { buildModel, loadModel, saveModel } from '../dist/models/index.js';
import { allocateParameters, initialize } from '../dist/nn/index.js';

const print = (line) => process.stdout.write(`${line}\n`);

const smolLm2 = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  ...{ hidden_size: 576, intermediate_size: 1536, num_hidden_layers: 30, vocab_size: 49152 },
  ...{
    num_attention_heads: 9,
    num_key_value_heads: 3,
    max_position_embeddings: 8192,
    tie_word_embeddings: true,
  },
};

const [command, ...sources] = process.argv.slice(2);
if (command === '--child') {
  const { parameters } = await loadModel(sources[0]);
  const { maxRSS } = process.resourceUsage(); // KiB
  print(JSON.stringify({ count: parameters.count, peak: maxRSS * 1024 }));
} else {
  const place = mkdtempSync(join(tmpdir(), 'heed-load-'));
  try {
    const given = command === undefined ? [random(join(place, 'random-135m'))] : [command, ...sources];
    print('| checkpoint | parameters | float32 MB | peak MB | ratio |\n|---|---:|---:|---:|---:|');
    for (const source of given) {
      const child = spawnSync(process.execPath, [fileURLToPath(import.meta.url), '--child', source], {
        encoding: 'utf8',
      });
      if (child.status !== 0) throw new Error(child.stderr);
      const { count, peak } = JSON.parse(child.stdout);
      const size = 4 * count;
      const mb = (bytes) => (bytes / 1e6).toFixed(0);
      const name = source.split('/').at(-1);
      print(
        `| ${name} | ${count.toLocaleString('en')} | ${mb(size)} | ${mb(peak)} | ${(peak / size).toFixed(2)} |`,
      );
    }
  } finally {
    rmSync(place, { recursive: true });
  }
}

function random(folder) {
  const parameters = allocateParameters(buildModel(smolLm2).parameters);
  initialize(parameters, createRng(0));
  saveModel(folder, { config: smolLm2, parameters, dtype: 'BF16' });
  return folder;
}
