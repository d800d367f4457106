/** Adapter folders in PEFT's layout: adapter_config.json and adapter_model.safetensors, in and out. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { CheckpointError } from '../core/errors.ts';
import { formatShape, sameShape, sizeOf } from '../core/shapes.ts';
import { type CausalModel, OUTPUT_EMBEDDINGS } from './causal-model.ts';
import { defaultLora, isInside, type LoraConfig, shortestTargets } from './lora-config.ts';
import { type AttachOptions, attachLora, type LoraModel, type ModelWithParameters } from './lora-model.ts';
import {
  readHeader,
  readTensor,
  type StoredTensor,
  type WritableType,
  writeSafetensors,
} from './safetensors.ts';
import { isScoreModel, SCORE_WEIGHT, scoreModelOver } from './score-model.ts';
import { writeFiles, writeModelFolder } from './write-folder.ts';

export const ADAPTER_CONFIG = 'adapter_config.json';
const ADAPTER_WEIGHTS = 'adapter_model.safetensors';
/** PEFT puts this before the names of the model it wraps. */
const PREFIX = 'base_model.model.';

/** Whether a folder holds an adapter and no model of its own. */
export function isAdapterFolder(path: string): boolean {
  return existsSync(join(path, ADAPTER_CONFIG)) && !existsSync(join(path, 'config.json'));
}

const numbers = z.record(z.string(), z.number());

/** Keys of adapter_config.json that matter here. Those that change the model in ways not known here must be off. */
const storedConfig = z.looseObject({
  peft_type: z.literal('LORA'),
  base_model_name_or_path: z.string().nullish(),
  task_type: z.string().nullish(),
  r: z.int().positive(),
  lora_alpha: z.number(),
  lora_dropout: z.number().min(0).max(0.999).default(0),
  target_modules: z.union([z.string(), z.array(z.string())]).nullish(),
  use_rslora: z.boolean().default(false),
  use_dora: z.boolean().default(false),
  bias: z.enum(['none', 'all', 'lora_only']).default('none'),
  modules_to_save: z.array(z.string()).nullish(),
  rank_pattern: numbers.nullish(),
  alpha_pattern: numbers.nullish(),
  init_lora_weights: z.union([z.boolean(), z.string()]).default(true),
  ensure_weight_tying: z.boolean().default(false),
});
type StoredConfig = z.output<typeof storedConfig>;

/** Features of PEFT that change what an adapter means, and the value that leaves them off. */
const foreign = [
  ...['lora_bias', 'layer_replication', 'trainable_token_indices', 'target_parameters', 'use_qalora'],
  ...['alora_invocation_tokens', 'arrow_config', 'use_bdlora', 'megatron_config'],
] as const;

/** adapter_config.json of a folder. Throws `CheckpointError` when it is no LoRA adapter that can be used. */
export function readAdapterConfig(folder: string): StoredConfig {
  const path = join(folder, ADAPTER_CONFIG);
  const failed = (where: string, expected: string, received: string, fix: string, cause?: unknown) =>
    new CheckpointError({ where, expected, received, fix, ...(cause === undefined ? {} : { cause }) });
  if (!existsSync(path)) {
    throw failed(folder, ADAPTER_CONFIG, 'no such file', 'Name a folder that PEFT or heed wrote');
  }
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw failed(path, 'JSON', (cause as Error).message, 'Repair the file', cause);
  }
  const parsed = storedConfig.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    const at = issue.path.join('.') || 'config';
    const received = JSON.stringify(issue.path.reduce<unknown>((x, key) => (x as never)?.[key], json));
    throw failed(`${path}: ${at}`, issue.message, received ?? 'nothing', 'Only LoRA adapters can be read');
  }
  const config = parsed.data;
  const used = foreign.find((key) => isOn(config[key]));
  if (used !== undefined) {
    const received = JSON.stringify(config[used]);
    throw failed(`${path}: ${used}`, 'false or null', received, 'This kind of adapter cannot be read');
  }
  // PiSSA, OLoRA, CorDA and LoftQ change the base when they start; PEFT writes `true` once they are converted.
  if (typeof config.init_lora_weights === 'string' && config.init_lora_weights !== 'gaussian') {
    throw failed(
      `${path}: init_lora_weights`,
      'true, false or "gaussian"',
      config.init_lora_weights,
      'Convert the adapter to plain LoRA with PEFT (save_pretrained with path_initial_model_for_weight_conversion)',
    );
  }
  return config;
}

const isOn = (value: unknown): boolean =>
  value !== undefined && value !== null && value !== false && !(Array.isArray(value) && value.length === 0);

/**
 * A model with the adapter of a folder. Which layers it changes, and their ranks, are read from the tensors; a score head
 * among them takes the place of a language model's output embedding.
 *
 * @throws CheckpointError when the adapter cannot be read or belongs to another model
 */
export function loadAdapter(
  folder: string,
  given: ModelWithParameters,
  options: Pick<AttachOptions, 'rng'> = {},
): ModelWithParameters<LoraModel> {
  const stored = readAdapterConfig(folder);
  const tensors = readAdapterTensors(folder);
  const outputs = tensors.get(SCORE_WEIGHT)?.shape[0];
  const base =
    outputs === undefined || isScoreModel(given.model) ? given : scoreModelOver(given, { outputs });
  const ranks = new Map<string, number>();
  for (const [name, { shape }] of tensors) {
    const module = /^(.*)\.lora_A\.weight$/.exec(name)?.[1];
    if (module !== undefined) ranks.set(module, shape[0] ?? 0);
  }
  refuseUntied(folder, stored, base.model);
  const config = configOf(stored);
  checkBaseWeights(folder, tensors, base);
  // PEFT names every head that a classifier might have.
  const modulesToSave = config.modulesToSave.filter((module) =>
    [...tensors.keys()].some((name) => isInside(name, module)),
  );
  const adapted = attachLora(base, { ...config, modulesToSave }, { ...options, ranks });
  loadAdapterWeights(folder, adapted.parameters, tensors);
  return adapted;
}

/**
 * Reads the tensors of a folder into the trained parameters of a model with the same adapter.
 *
 * @throws CheckpointError listing what is missing, unexpected or of another shape; `parameters` are then unchanged
 */
export function loadAdapterWeights(
  folder: string,
  parameters: ModelWithParameters['parameters'],
  stored: ReadonlyMap<string, StoredTensor> = readAdapterTensors(folder),
): void {
  const specs = new Map(parameters.specs.map((spec) => [spec.name, spec]));
  // A tied output embedding is stored a second time.
  const again = readAdapterConfig(folder).ensure_weight_tying ? OUTPUT_EMBEDDINGS : [];
  const known = [...stored].filter(([name]) => specs.has(name) || !again.includes(name));
  const tensors = new Map(known);
  const missing = [...specs.keys()].filter((name) => !tensors.has(name));
  const unexpected = [...tensors.keys()].filter((name) => !specs.has(name));
  const badShape = [...tensors].find(([name, { shape }]) => {
    const spec = specs.get(name);
    return spec !== undefined && !sameShape(spec.shape, shape);
  });
  const list = (what: string, names: readonly string[]): string[] =>
    names.length === 0
      ? []
      : [`${names.length} ${what} (${names.slice(0, 4).join(', ')}${names.length > 4 ? ', …' : ''})`];
  if (missing.length > 0 || unexpected.length > 0 || badShape !== undefined) {
    const shape = badShape && `${badShape[0]} of shape ${formatShape(badShape[1].shape)}`;
    throw new CheckpointError({
      where: join(folder, ADAPTER_WEIGHTS),
      expected: `the ${specs.size} tensors of this adapter on this model`,
      received: [
        ...list('missing', missing),
        ...list('unexpected', unexpected),
        ...(shape === undefined ? [] : [shape]),
      ].join(' and '),
      fix: 'Load the adapter on the model it was trained on',
    });
  }
  for (const [name, tensor] of tensors) readTensor(tensor, parameters.view(name));
}

/** Tensors of an adapter by the name they have among the parameters. */
function readAdapterTensors(folder: string): Map<string, StoredTensor> {
  const file = join(folder, ADAPTER_WEIGHTS);
  if (!existsSync(file)) {
    throw new CheckpointError({
      where: folder,
      expected: ADAPTER_WEIGHTS,
      received: 'no such file',
      fix: 'Name a folder with safetensors weights (pickle files are not read)',
    });
  }
  return new Map(
    [...readHeader(file)].map(([name, tensor]) => {
      const plain = name.startsWith(PREFIX) ? name.slice(PREFIX.length) : name;
      // Adapted layers keep their bias inside the layer they wrap.
      return [plain.replace(/\.base_layer\.bias$/, '.bias'), tensor];
    }),
  );
}

/** Numbers per sequence of the head that an adapter brings; undefined where it brings none. Reads no weights. */
export function adapterOutputs(folder: string): number | undefined {
  const tensors = readAdapterTensors(folder);
  return (tensors.get(SCORE_WEIGHT) ?? tensors.get('classifier.weight'))?.shape[0];
}

/**
 * Takes the weights that PEFT stores of adapted embeddings and heads out of `tensors`, and checks that they are the base's:
 * it stores them in case the vocabulary was changed.
 */
function checkBaseWeights(
  folder: string,
  tensors: Map<string, StoredTensor>,
  { parameters }: ModelWithParameters,
): void {
  for (const [name, tensor] of [...tensors]) {
    const weight = /^(.*)\.base_layer\.weight$/.exec(name)?.[1];
    if (weight === undefined) continue;
    tensors.delete(name);
    const own = parameters.view(`${weight}.weight`);
    const stored = new Float32Array(sizeOf(tensor.shape));
    readTensor(tensor, stored);
    if (stored.length === own.length && stored.every((x, index) => x === own[index])) continue;
    throw new CheckpointError({
      where: `${join(folder, ADAPTER_WEIGHTS)} (tensor "${name}")`,
      expected: `the weight of the base model, ${own.length} numbers`,
      received: stored.length === own.length ? 'other numbers' : `${stored.length} numbers`,
      fix: 'Load the adapter on the model it was trained on, with its vocabulary',
    });
  }
}

/** A trained input embedding under a tied output embedding: PEFT keeps the old output embedding unless told otherwise. */
function refuseUntied(folder: string, config: StoredConfig, model: CausalModel): void {
  const embedding = tiedEmbedding(model);
  const saved = config.modules_to_save ?? [];
  if (embedding === undefined || config.ensure_weight_tying) return;
  if (!saved.some((module) => embedding.slice(0, -'.weight'.length).endsWith(module))) return;
  throw new CheckpointError({
    where: join(folder, ADAPTER_CONFIG),
    expected: 'ensure_weight_tying: true, as input and output embedding are one matrix here',
    received: 'a trained input embedding with the old output embedding',
    fix: 'Train it again with ensure_weight_tying, or untie the base model first',
  });
}

/** Name of the embedding that is input and output at once; undefined where they are two. */
function tiedEmbedding(model: CausalModel): string | undefined {
  if (isScoreModel(model)) return undefined;
  const first = model.parameters[0]?.name;
  const head = model.parameters.some(({ name }) => OUTPUT_EMBEDDINGS.includes(name));
  return head ? undefined : first;
}

/** What transformers calls the output embedding of an architecture. */
const outputEmbedding = ({ type }: CausalModel): string =>
  type === 'gpt_neox' ? 'embed_out.weight' : 'lm_head.weight';

function configOf(stored: StoredConfig): LoraConfig {
  return {
    ...defaultLora,
    r: stored.r,
    alpha: stored.lora_alpha,
    dropout: stored.lora_dropout,
    rslora: stored.use_rslora,
    dora: stored.use_dora,
    bias: stored.bias,
    modulesToSave: stored.modules_to_save ?? [],
    rankPattern: stored.rank_pattern ?? {},
    alphaPattern: stored.alpha_pattern ?? {},
  };
}

export interface SaveAdapterOptions {
  readonly model: LoraModel;
  readonly parameters: ModelWithParameters['parameters'];
  /** Where the base model lies: a folder or a hub id, as PEFT will look for it. */
  readonly base: string;
  /** Element type of the weights; F32 when left out. */
  readonly dtype?: WritableType;
  /** Further files by name. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  /** Writes more files into the folder before it gets its name. */
  readonly extra?: (folder: string) => void;
}

/**
 * Writes an adapter folder that PEFT loads, whole or not at all.
 *
 * @throws CheckpointError when the place cannot be written or holds something else
 */
export function saveAdapter(folder: string, options: SaveAdapterOptions): void {
  const { model, parameters, base, dtype = 'F32', files = {}, extra } = options;
  const adapted = new Set(model.lora.targets.map(({ module }) => module));
  const storedName = (name: string): string =>
    name.endsWith('.bias') && adapted.has(name.slice(0, -'.bias'.length))
      ? `${PREFIX}${name.slice(0, -'.bias'.length)}.base_layer.bias`
      : PREFIX + name;
  const tensors = parameters.specs.map(({ name, shape }) => ({
    name: storedName(name),
    shape,
    data: parameters.view(name),
  }));
  const embedding = tiedEmbedding(model.base);
  const tied = tensors.find(({ name }) => embedding !== undefined && name === PREFIX + embedding);
  // PEFT looks for a tied output embedding too.
  if (tied !== undefined) tensors.push({ ...tied, name: PREFIX + outputEmbedding(model) });
  writeModelFolder(folder, (temporary) => {
    writeFileSync(
      join(temporary, ADAPTER_CONFIG),
      `${JSON.stringify(formatAdapterConfig(model, base), null, 2)}\n`,
    );
    writeSafetensors(join(temporary, ADAPTER_WEIGHTS), tensors, { dtype });
    writeFiles(temporary, files);
    extra?.(temporary);
  });
}

/** adapter_config.json of a model: the keys that PEFT and servers of adapters read. */
function formatAdapterConfig(model: LoraModel, base: string): Record<string, unknown> {
  const { config, targets } = model.lora;
  const embedding = tiedEmbedding(model.base);
  return {
    peft_type: 'LORA',
    task_type: isScoreModel(model) ? 'SEQ_CLS' : 'CAUSAL_LM',
    base_model_name_or_path: base,
    inference_mode: true,
    r: config.r,
    lora_alpha: config.alpha,
    lora_dropout: config.dropout,
    target_modules: shortestTargets(model.base, targets),
    fan_in_fan_out: targets[0]?.layout === 'in-out',
    use_rslora: config.rslora,
    use_dora: config.dora,
    bias: config.bias,
    modules_to_save: config.modulesToSave.length === 0 ? null : config.modulesToSave,
    ensure_weight_tying: embedding !== undefined && model.lora.whole.has(embedding),
    init_lora_weights: true,
    // The patterns may be regular expressions: what they came to is written.
    rank_pattern: patternOf(targets.map(({ module, rank }) => [module, rank, config.r])),
    alpha_pattern: patternOf(targets.map(({ module, alpha }) => [module, alpha, config.alpha])),
  };
}

/** Numbers that differ from the common one, by module. */
function patternOf(entries: readonly (readonly [string, number, number])[]): Record<string, number> {
  return Object.fromEntries(
    entries.filter(([, own, common]) => own !== common).map(([module, own]) => [module, own]),
  );
}

/** The model that an adapter on `source` changes: the base of its adapter where it is a folder of one, else `source` itself. */
export const baseNameOf = (source: string): string =>
  isAdapterFolder(source) ? baseOfAdapter(source) : source;

/**
 * Where the base model of an adapter folder lies: as its configuration says, looked for from here and from the folder.
 *
 * @throws CheckpointError when it says nothing
 */
export function baseOfAdapter(folder: string): string {
  const base = readAdapterConfig(folder).base_model_name_or_path;
  if (base === undefined || base === null || base === '') {
    throw new CheckpointError({
      where: join(folder, ADAPTER_CONFIG),
      expected: 'base_model_name_or_path, the model that the adapter changes',
      received: JSON.stringify(base ?? null),
      fix: 'Name the base model as model, and this folder as adapter',
    });
  }
  const beside = join(folder, base);
  return !existsSync(base) && existsSync(beside) ? beside : base;
}
