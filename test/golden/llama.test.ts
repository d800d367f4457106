/**
 * A trained Llama, stories260K, against logits and greedy continuations that transformers gave (README.md here). Tiny
 * random models of every architecture are in models.test.ts.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/rng.ts';
import { createGenerator } from '../../src/generate/generate.ts';
import { readModel } from '../../src/models/checkpoint.ts';
import { expectClose, sharedOrt } from '../support/engines-agree.ts';
import { evaluate, type Recorded, readGolden } from '../support/golden-model.ts';

const stories = new URL('../../../shared/data/models/stories260K', import.meta.url).pathname;

describe.skipIf(!existsSync(stories))('stories260K', () => {
  const recorded = readGolden('stories260K.json') as {
    readonly logits: readonly (Recorded & { readonly positions: readonly number[] })[];
    readonly greedy: readonly {
      readonly prompt: readonly number[];
      readonly completion: readonly number[];
    }[];
  };

  it.each(['hf', 'stories260K.bin'])('gives the logits of transformers within 1e-4 (%s)', async (source) => {
    const loaded = readModel(join(stories, source));
    for (const { ids, positions, logits } of recorded.logits) {
      const outputs = await evaluate(sharedOrt(), loaded, { ids });
      const V = loaded.model.vocabSize;
      const rows = positions.flatMap((at) =>
        Array.from(outputs.logits!.subarray(at * V, (at + 1) * V), Number),
      );
      // Largest logit about 20: 5e-6 of it is 1e-4. transformers in float32 is within 1.3e-5 of float64.
      expectClose('logits', rows, logits.flat(), [positions.length, V], 5e-6);
    }
  });

  it('continues prompts greedily with the same 64 tokens', async () => {
    const { model, parameters } = readModel(join(stories, 'hf'));
    const generator = createGenerator({ engine: sharedOrt(), model, parameters });
    // The smallest distance between first and second choice is 0.028, far above the error of a logit.
    const completions = await generator.generate(
      recorded.greedy.map(({ prompt }) => prompt),
      { maxNewTokens: 64, stopIds: new Set(), rng: createRng(0), temperature: 0, topK: 0, topP: 1 },
    );
    expect(completions.map(({ ids }) => ids)).toEqual(recorded.greedy.map(({ completion }) => completion));
    generator.dispose();
  });
});
