/** Architectures by the `model_type` of config.json. */
import type { z } from 'zod';
import { ConfigError } from '../core/errors.ts';
import { bert, bertConfig } from './bert.ts';
import type { CausalModel } from './causal-model.ts';
import type { ClassifierModel } from './classifier-model.ts';
import { gemma2, gemma2Config } from './gemma2.ts';
import { gemma3Text, gemma3TextConfig } from './gemma3-text.ts';
import { gptNeox, gptNeoxConfig } from './gpt-neox.ts';
import { gpt2, gpt2Config } from './gpt2.ts';
import { llama, llamaConfig } from './llama.ts';
import { type LlavaConfig, llava, llavaConfig, type MultimodalModel } from './llava.ts';
import { mistral, mistralConfig } from './mistral.ts';
import { modernbert, modernbertConfig } from './modernbert.ts';
import { phi3, phi3Config } from './phi3.ts';
import { qwen2, qwen2Config } from './qwen2.ts';
import { qwen3, qwen3Config } from './qwen3.ts';
import { hasScoreHead, hasTokenHead, scoreModel, scoreOutputs } from './score-model.ts';
import { siglipVision, siglipVisionConfig, type VisionModel } from './siglip.ts';

interface Architecture<M> {
  build(config: unknown, where: string): M;
}

function architecture<C, M>(schema: z.ZodType<C>, build: (config: C) => M): Architecture<M> {
  return {
    build(config, where) {
      const parsed = schema.safeParse(config);
      if (parsed.success) return build(parsed.data);
      const issue = parsed.error.issues[0]!;
      throw new ConfigError({
        where: `${where}: ${issue.path.join('.') || 'config'}`,
        expected: issue.message,
        received:
          JSON.stringify(
            issue.path.reduce<unknown>(
              (at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key],
              config,
            ),
          ) ?? 'nothing',
        fix: 'Correct config.json, or take it from the original checkpoint',
      });
    },
  };
}

const architectures: Readonly<Record<string, Architecture<CausalModel>>> = {
  llama: architecture(llamaConfig, llama),
  gpt2: architecture(gpt2Config, gpt2),
  gpt_neox: architecture(gptNeoxConfig, gptNeox),
  phi3: architecture(phi3Config, phi3),
  gemma2: architecture(gemma2Config, gemma2),
  gemma3_text: architecture(gemma3TextConfig, gemma3Text),
  mistral: architecture(mistralConfig, mistral),
  qwen2: architecture(qwen2Config, qwen2),
  qwen3: architecture(qwen3Config, qwen3),
};

const classifiers: Readonly<Record<string, Architecture<ClassifierModel>>> = {
  bert: architecture(bertConfig, bert),
  modernbert: architecture(modernbertConfig, modernbert),
};

/** Types of encoders that `buildClassifier` can build. */
export const classifierTypes: readonly string[] = Object.keys(classifiers);

/** Types of models that heed can build. */
export const modelTypes: readonly string[] = Object.keys(architectures);

/**
 * The model that a config.json describes; with a score head where its `architectures` say so.
 *
 * @param where what to call the config in errors
 * @throws ConfigError for an unknown `model_type` or a missing or unfit key
 */
export function buildModel(config: Readonly<Record<string, unknown>>, where = 'config.json'): CausalModel {
  const type = config['model_type'];
  const known =
    typeof type === 'string' && Object.hasOwn(architectures, type) ? architectures[type] : undefined;
  if (known === undefined) {
    throw new ConfigError({
      where: `${where}: model_type`,
      expected: modelTypes.join(', '),
      received: JSON.stringify(type) ?? 'nothing',
      fix: otherLoader(type) ?? 'Use a checkpoint of a supported architecture',
    });
  }
  const trunk = known.build(config, where);
  return hasScoreHead(config) || hasTokenHead(config) ? scoreModel(trunk, scoreOutputs(config)) : trunk;
}

/** What to do with a model that is no language model. */
function otherLoader(type: unknown): string | undefined {
  if (classifierTypes.includes(String(type)))
    return 'It is an encoder, which writes no text: name a language model. Encoders are for bt-rm, heed convert and loadClassifier';
  if (type === 'llava') return 'It sees pictures: no command takes it, loadMultimodal does';
  return type === 'siglip_vision_model'
    ? 'It is a vision encoder: no command takes it, loadVision does'
    : undefined;
}

/**
 * The encoder with its classification head that a config.json describes.
 *
 * @param where what to call the config in errors
 * @throws ConfigError for an unknown `model_type`, a missing or unfit key, or a checkpoint without a classification head
 */
export function buildClassifier(
  config: Readonly<Record<string, unknown>>,
  where = 'config.json',
): ClassifierModel {
  const type = config['model_type'];
  const known = typeof type === 'string' && Object.hasOwn(classifiers, type) ? classifiers[type] : undefined;
  if (known === undefined) {
    throw new ConfigError({
      where: `${where}: model_type`,
      expected: classifierTypes.join(', '),
      received: JSON.stringify(type) ?? 'nothing',
      fix: modelTypes.includes(String(type))
        ? 'It is a decoder: load it with loadModel'
        : 'Use a checkpoint of a supported architecture',
    });
  }
  if (!hasScoreHead(config)) {
    throw new ConfigError({
      where: `${where}: architectures`,
      expected: 'a model for sequence classification (…ForSequenceClassification)',
      received: JSON.stringify(config['architectures']) ?? 'nothing',
      fix: 'Use a checkpoint with a classification head',
    });
  }
  return known.build(config, where);
}

const vision = architecture(siglipVisionConfig, siglipVision);
const multimodal = architecture(llavaConfig, (config: LlavaConfig) =>
  llava(config, (text) => buildModel(text, 'config.json text_config')),
);

/** The vision encoder that a config.json describes. Throws `ConfigError` for another `model_type` or an unfit key. */
export function buildVision(config: Readonly<Record<string, unknown>>, where = 'config.json'): VisionModel {
  checkType(config, where, 'siglip_vision_model', 'a vision encoder');
  return vision.build(config, where);
}

/** The model of text and pictures that a config.json describes. Throws `ConfigError` as `buildVision`. */
export function buildMultimodal(
  config: Readonly<Record<string, unknown>>,
  where = 'config.json',
): MultimodalModel {
  checkType(config, where, 'llava', 'a model of text and pictures');
  return multimodal.build(config, where);
}

function checkType(
  config: Readonly<Record<string, unknown>>,
  where: string,
  type: string,
  what: string,
): void {
  if (config['model_type'] === type) return;
  throw new ConfigError({
    where: `${where}: model_type`,
    expected: `${type}, ${what}`,
    received: JSON.stringify(config['model_type']) ?? 'nothing',
    fix: 'Use loadModel for language models and loadClassifier for classifiers',
  });
}
