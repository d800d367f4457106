/**
 * Models and vocabularies in GGUF files against what reference libraries gave for them (record-gguf.py).
 *
 * Logits: 1e-5 of the largest in float32, as for the same models in safetensors (models.test.ts). Rows of heads in another
 * order, norms around another zero and matrices on their side change them by more than 0.01.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readModel, saveModel } from '../../src/models/checkpoint.ts';
import { ggufArchitectures, readGgufModel } from '../../src/models/gguf-model.ts';
import { loadTokenizer } from '../../src/tokenizer/index.ts';
import { expectClose, sharedOrt } from '../support/engines-agree.ts';
import { evaluate, goldenFolder, readGolden } from '../support/golden-model.ts';

const { models } = readGolden('gguf', 'models.json') as {
  models: Record<string, { ids: number[]; logits: number[][] }>;
};
const { tokenizers } = readGolden('gguf', 'tokenizers.json') as {
  tokenizers: Record<string, { text: string; ids: number[] }[]>;
};
const fileOf = (name: string): string => join(goldenFolder('gguf'), `${name}.gguf`);

describe.each(Object.entries(models))('%s', (name, { ids, logits }) => {
  it('gives the logits of the model that the file was made of', async () => {
    const outputs = await evaluate(sharedOrt(), readModel(fileOf(name)), { ids });
    expectClose('logits', outputs.logits!, logits.flat(), [ids.length, logits[0]!.length], 1e-5);
  });

  it('is the same model after it was saved as a folder', () => {
    const { config, parameters } = readModel(fileOf(name));
    const place = mkdtempSync(join(tmpdir(), 'heed-gguf-'));
    try {
      saveModel(join(place, 'model'), { config, parameters });
      const again = readModel(join(place, 'model'));
      expect(again.config).toEqual(config);
      expect(again.parameters.flat).toEqual(parameters.flat);
    } finally {
      rmSync(place, { recursive: true });
    }
  });
});

it('has a recorded file of every architecture', () => {
  expect(Object.keys(models).filter((name) => !name.includes('-'))).toEqual(
    expect.arrayContaining([...ggufArchitectures]),
  );
});

it('finds the rope scaling of Llama 3 from its divisors', () => {
  expect(readGgufModel(fileOf('llama-rope-llama3')).config.rope_scaling).toEqual({
    ...{ rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4 },
    original_max_position_embeddings: 8192,
  });
});

describe.each(Object.entries(tokenizers))('%s', (name, cases) => {
  it('gives the ids of the reference, and the texts back', async () => {
    const tokenizer = await loadTokenizer(fileOf(name));
    for (const { text, ids } of cases) {
      expect({ text, ids: tokenizer.encode(text) }).toEqual({ text, ids });
    }
    expect(tokenizer.chatTemplate).toBe("{% for m in messages %}{{ m['content'] }}{% endfor %}");
  });
});
