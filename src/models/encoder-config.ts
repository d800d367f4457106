/** Keys of config.json that classifiers have in common, and what is read from them. */
import { z } from 'zod';
import { ConfigError } from '../core/errors.ts';
import type { LabelKind } from './classifier-model.ts';
import { scoreOutputs } from './score-model.ts';

/** The common keys; an architecture extends them with its own. Others are kept in the file untouched. */
export const encoderConfig = z.looseObject({
  vocab_size: z.int().positive(),
  hidden_size: z.int().positive(),
  intermediate_size: z.int().positive(),
  num_hidden_layers: z.int().positive(),
  num_attention_heads: z.int().positive(),
  max_position_embeddings: z.int().positive(),
  initializer_range: z.number().positive().default(0.02),
  num_labels: z.int().positive().nullish(),
  id2label: z.record(z.string(), z.string()).nullish(),
  problem_type: z.enum(['regression', 'single_label_classification', 'multi_label_classification']).nullish(),
});
export type EncoderConfig = z.infer<typeof encoderConfig>;

/**
 * Names of the labels by index: `id2label`, or LABEL_0, LABEL_1, …
 *
 * @throws ConfigError when `id2label` has no name for an index
 */
export function readLabels(config: EncoderConfig): readonly string[] {
  const names = config.id2label;
  return Array.from({ length: scoreOutputs(config) }, (_, index) => {
    const name = names == null ? `LABEL_${index}` : names[String(index)];
    if (name !== undefined) return name;
    throw new ConfigError({
      where: 'config.json id2label',
      expected: `a name for each of ${scoreOutputs(config)} labels`,
      received: `none for ${index}`,
      fix: 'Name every label by its index, from "0"',
    });
  });
}

/** What the numbers of the labels are, as transformers' pipeline reads `problem_type`; one label alone is a probability. */
export function readLabelKind(config: EncoderConfig): LabelKind {
  switch (config.problem_type) {
    case 'regression':
      return 'number';
    case 'multi_label_classification':
      return 'each';
    case 'single_label_classification':
      return 'one-of';
    default:
      return scoreOutputs(config) === 1 ? 'each' : 'one-of';
  }
}
