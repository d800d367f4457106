/**
 * Supervised fine-tuning: maximum likelihood of demonstrations.
 *
 * @paper   Ouyang et al. 2022, "Training language models to follow instructions with human feedback" (arXiv 2203.02155),
 *          section 3.5, step 1; noise on embeddings: Jain et al. 2023 (arXiv 2310.05914); packing with kept-apart segments: Krell et al. 2021 (arXiv 2107.02027)
 * @code    huggingface/trl v1.16.0 `trl/trainer/sft_trainer.py` (column types, defaults, metric names)
 * @differs 1. prompt and completion are tokenised apart, so the border never falls inside a token
 *          2. packed examples never attend to each other, and their positions start again
 */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { metric } from '../../core/metrics.ts';
import { createRng } from '../../core/rng.ts';
import { createEncoder, encodeCache, encodeRows, packExamples } from '../../data/index.ts';
import { withEmbeddingNoise } from '../../models/neftune.ts';
import type { TokenExample } from '../../parts/batch.ts';
import { defineMethod, trainMetrics } from '../../parts/method.ts';
import { supervisedStep } from '../../parts/step/supervised.ts';
import { trainerFields } from '../../parts/trainer/config.ts';
import { encodingFields, encodingOptions } from '../../parts/trainer/encoding-fields.ts';

export const config = z.strictObject({
  ...trainerFields,
  ...encodingFields,
  ...section('Supervised fine-tuning', {
    learn: field(z.enum(['completion', 'all']).default('completion')).describe(
      'completion: completions and assistant turns only (of plain texts, all tokens); all: prompts too',
    ),
    appendEos: field(z.boolean().default(true)).describe(
      'end texts and completions with the end-of-text token',
    ),
    neftuneNoiseAlpha: field(z.number().min(0).default(0)).describe(
      'noise on embeddings in training, uniform within ± alpha/√(tokens of a row · width) (NEFTune; 5 is usual); 0: none',
    ),
    packing: field(z.boolean().default(false)).describe(
      'several examples per row of maxLength tokens, kept apart: less padding, one row counts as one example of batchSize',
    ),
  }),
});

export const sft = defineMethod<typeof config, TokenExample>({
  id: 'sft',
  kind: 'train',
  summary: 'supervised fine-tuning on texts, conversations or prompts with completions',
  data: 'language modeling or prompt-completion',
  config,
  needs: ['policy'],
  metrics: [
    ...trainMetrics,
    metric('entropy', 'mean entropy of the predictions at learned tokens, nats'),
    metric('mean_token_accuracy', 'share of learned tokens that are the most likely one'),
  ],
  encode(rows, { config, tokenizer, encodeFolder }) {
    const { maxLength, truncation, refused, learn, appendEos } = config;
    const stop = appendEos ? {} : ({ stop: 'none' } as const);
    const options = { maxLength, truncation, learn, ...stop, ...encodingOptions(config) };
    const cache = encodeCache(encodeFolder, tokenizer, { supervised: options });
    return encodeRows(rows, createEncoder(tokenizer, options).supervised, { refused, cache });
  },
  async prepare(examples, { config: { packing, maxLength } }) {
    return packing ? packExamples(examples, maxLength) : examples;
  },
  trained: (model, { neftuneNoiseAlpha, seed }) =>
    withEmbeddingNoise(model, neftuneNoiseAlpha, createRng(seed).split('neftune')),
  // The mean over all learned tokens of a batch, as TRL: long examples weigh more than short ones.
  build: ({ packing }) => supervisedStep({ aggregation: 'token-mean', packed: packing }),
});
