/**
 * Loading a bfloat16 checkpoint to float32 needs no second copy of the weights, nor the file in memory. Measured as the peak
 * of a process that loads, less that of one that loads a tiny model; bench/load-memory.mjs has the figures of real sizes.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { buildModel, saveModel } from '../../src/models/index.ts';
import { allocateParameters } from '../../src/nn/parameters.ts';
import { goldenFolder } from '../support/golden-model.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

function load(folder: string): { readonly count: number; readonly peak: number } {
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [join(root, 'bench/load-memory.mjs'), '--child', folder],
    { encoding: 'utf8' },
  );
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return JSON.parse(stdout) as { count: number; peak: number };
}

it.skipIf(!existsSync(join(root, 'dist')))('peaks below 1.3 times the float32 size', () => {
  const config = {
    ...{
      model_type: 'llama',
      hidden_size: 512,
      intermediate_size: 2048,
      num_hidden_layers: 8,
      vocab_size: 16384,
    },
    ...{ num_attention_heads: 8, max_position_embeddings: 64, tie_word_embeddings: true },
  };
  const folder = mkdtempSync(join(tmpdir(), 'heed-load-'));
  try {
    const parameters = allocateParameters(buildModel(config).parameters);
    saveModel(join(folder, 'model'), { config, parameters, dtype: 'BF16' });
    const { count, peak } = load(join(folder, 'model')); // 42 M parameters
    const base = load(goldenFolder('llama-plain')).peak;
    // The file alone is another half of that size.
    expect((peak - base) / (4 * count)).toBeLessThan(1.3);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
