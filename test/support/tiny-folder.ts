/** Folders of tiny models with a byte tokenizer (V 300), as the command line reads them. */

import { createRng } from '../../src/core/rng.ts';
import { saveModel } from '../../src/models/checkpoint.ts';
import { scoreModelFrom } from '../../src/models/score-model.ts';
import type { Tokenizer } from '../../src/tokenizer/index.ts';
import { tinyConfig, tinyModel } from './tiny-model.ts';
import { tinyTokenizer } from './tiny-server.ts';

/** Writes a language model (and, where named, a reward model over its trunk) and returns its tokenizer. */
export function writeTinyFolder(
  folder: string,
  options: {
    readonly reward?: string;
    readonly seed?: number;
    readonly overrides?: Record<string, unknown>;
  } = {},
): Tokenizer {
  const tokenizer = tinyTokenizer();
  const overrides = {
    vocab_size: tokenizer.vocabSize,
    max_position_embeddings: 128,
    head_dim: 8,
    ...options.overrides,
  };
  const source = tinyModel(options.seed ?? 7, overrides);
  const config = { ...tinyConfig, ...overrides };
  const files = Object.fromEntries(tokenizer.files);
  saveModel(folder, { config, parameters: source.parameters, files });
  if (options.reward === undefined) return tokenizer;
  const { parameters } = scoreModelFrom(source, { rng: createRng(3) });
  const scoring = { ...config, architectures: ['LlamaForSequenceClassification'], num_labels: 1 };
  saveModel(options.reward, { config: scoring, parameters, files });
  return tokenizer;
}
