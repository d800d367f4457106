/** Configuration of adapters that every method which trains shares, with the names of TRL's flags. */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { ConfigError } from '../../core/errors.ts';
import { createRng } from '../../core/rng.ts';
import { type LoadedModel, loadModel, type ReadOptions } from '../../models/checkpoint.ts';
import type { LoraConfig, TargetModules } from '../../models/lora-config.ts';
import { attachLora, isLoraModel } from '../../models/lora-model.ts';
import { headModules, isScoreModel } from '../../models/score-model.ts';

/** How the weights of linear layers may be kept. */
export const quantizations = ['none', '8bit', '4bit'] as const;

/** Options of `loadModel` for such a choice. */
export function quantizeOption(choice: (typeof quantizations)[number]): Pick<ReadOptions, 'quantize'> {
  return choice === 'none' ? {} : { quantize: { bits: choice === '8bit' ? 8 : 4 } };
}

export const loraFields = section('Adapter (LoRA)', {
  lora: field(z.boolean().default(false), { aliases: ['usePeft'] }).describe(
    'train a low-rank adapter over the frozen model: memory for gradients and moments of the adapter alone; the result is a folder that PEFT loads',
  ),
  loraR: field(z.int().positive().default(16)).describe('rank; memory and time of the adapter grow with it'),
  loraAlpha: field(z.number().positive().default(32)).describe(
    'the change is multiplied by loraAlpha / loraR',
  ),
  loraDropout: field(z.number().min(0).max(0.9).default(0)).describe(
    'share of the inputs of each change set to 0 in training; costs time and memory',
  ),
  loraTargetModules: field(z.array(z.string()).min(1).default(['all-linear']), {
    placeholder: 'name,…',
  }).describe(
    'layers to change: names (q_proj,v_proj), all-linear, or one regular expression for whole names',
  ),
  loraModulesToSave: field(z.array(z.string()).default([]), { placeholder: 'name,…' }).describe(
    'modules to train whole and save with the adapter',
  ),
  loraBias: field(z.enum(['none', 'all', 'lora_only']).default('none')).describe(
    'biases to train: none, all of the model, or those of changed layers',
  ),
  loraRankPattern: field(z.record(z.string(), z.int().positive()).default({})).describe(
    'ranks of layers whose name ends in a match of the key: {q_proj: 4}',
  ),
  loraAlphaPattern: field(z.record(z.string(), z.number().positive()).default({})).describe(
    'loraAlpha of layers whose name ends in a match of the key',
  ),
  quantizeBase: field(z.enum(quantizations).default('none')).describe(
    'keep the linear layers of the frozen model in 8 or 4 bits (QLoRA): a quarter or a seventh of their memory, for some accuracy and time',
  ),
  useRslora: field(z.boolean().default(false)).describe('multiply by loraAlpha / √loraR instead'),
  useDora: field(z.boolean().default(false)).describe(
    'train a length for each output besides (DoRA): often better at low rank, slower',
  ),
});

const loraSchema = z.strictObject(loraFields);
export type LoraFields = z.output<typeof loraSchema>;

/** Names, `all-linear`, or one entry that is no name: a regular expression. */
function targetsOf(entries: readonly string[]): TargetModules {
  const [first] = entries;
  if (entries.length === 1 && first === 'all-linear') return 'all-linear';
  const patterns = entries.filter((entry) => !/^[\w.-]+$/.test(entry) || entry === 'all-linear');
  if (patterns.length === 0) return entries;
  if (entries.length === 1) return { regex: first! };
  throw new ConfigError({
    where: '--lora-target-modules',
    expected: 'names of layers, or all-linear alone, or one regular expression alone',
    received: entries.join(', '),
    fix: 'Put several patterns into one: .*(q_proj|v_proj)',
  });
}

/** Settings of the adapter. @param head modules that are trained whole whatever the configuration says: a head that is new */
export function loraConfigOf(config: LoraFields, head: readonly string[]): LoraConfig {
  const saved = [...new Set([...config.loraModulesToSave, ...head])];
  return {
    r: config.loraR,
    alpha: config.loraAlpha,
    dropout: config.loraDropout,
    targetModules: targetsOf(config.loraTargetModules),
    rslora: config.useRslora,
    dora: config.useDora,
    bias: config.loraBias,
    modulesToSave: saved,
    rankPattern: config.loraRankPattern,
    alphaPattern: config.loraAlphaPattern,
  };
}

/** Loads the model to train, its linear layers in few bits where that is asked for. Throws `ConfigError` without an adapter. */
export async function loadToTrain(
  config: LoraFields & { readonly model: string },
  load: (source: string, options: ReadOptions) => Promise<LoadedModel> = loadModel,
): Promise<LoadedModel> {
  const loaded = await load(config.model, quantizeOption(config.quantizeBase));
  if (config.quantizeBase === 'none' || config.lora || isLoraModel(loaded.model)) return loaded;
  throw new ConfigError({
    where: '--quantize-base',
    expected: '--lora, or a model with an adapter: weights of few bits cannot be trained',
    received: config.quantizeBase,
    fix: 'Add --lora',
  });
}

/**
 * The model with a new adapter where the configuration asks for one; as it is where not.
 *
 * @throws ConfigError when the settings do not fit the model, or it carries an adapter already
 */
export function withLora<M extends Pick<LoadedModel, 'model' | 'parameters' | 'source'>>(
  loaded: M,
  config: LoraFields & { readonly seed: number },
): M {
  if (!config.lora) return loaded;
  if (isLoraModel(loaded.model)) {
    throw new ConfigError({
      where: '--lora',
      expected: 'a model without adapter',
      received: `"${loaded.source}", which has one`,
      fix: 'Leave out --lora to train that adapter further, or merge it first: heed convert <in> <out> --to merged',
    });
  }
  const head = isScoreModel(loaded.model) ? headModules(loaded.model) : [];
  const settings = loraConfigOf(config, head);
  return { ...loaded, ...attachLora(loaded, settings, { rng: createRng(config.seed).split('lora') }) };
}
