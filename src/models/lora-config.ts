/** What a low-rank adapter changes of a model, and how: the settings, and the layers they come to. */
import { ConfigError } from '../core/errors.ts';
import { suggest } from '../core/suggest.ts';
import type { LinearLayout } from '../nn/linear.ts';
import type { ParameterSpec } from '../nn/parameters.ts';
import { type CausalModel, OUTPUT_EMBEDDINGS } from './causal-model.ts';

/** Which linear layers get an adapter: names of modules (or how they end), all of them, or a regular expression for the whole name. */
export type TargetModules = readonly string[] | 'all-linear' | { readonly regex: string };

/** Settings of an adapter, with PEFT's meaning and defaults. */
export interface LoraConfig {
  /** Rank R. */
  readonly r: number;
  /** α: the change is multiplied by α/R. */
  readonly alpha: number;
  readonly targetModules: TargetModules;
  /** Share of the change's inputs set to 0 in training. */
  readonly dropout: number;
  /** Multiply by α/√R instead. */
  readonly rslora: boolean;
  /** Train a length for each output besides. */
  readonly dora: boolean;
  /** Biases that are trained whole: none, all of the model, or those of adapted layers. */
  readonly bias: 'none' | 'all' | 'lora_only';
  /** Modules that are trained whole and saved with the adapter. */
  readonly modulesToSave: readonly string[];
  /** Rank and α of modules whose name ends in a match of the key. */
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly alphaPattern: Readonly<Record<string, number>>;
}

/** PEFT's defaults, on all linear layers. */
export const defaultLora: LoraConfig = {
  ...{ r: 8, alpha: 8, targetModules: 'all-linear', dropout: 0, rslora: false, dora: false },
  ...{ bias: 'none', modulesToSave: [], rankPattern: {}, alphaPattern: {} },
};

/** An adapted layer. */
export interface LoraTarget {
  /** Name without `.weight`. */
  readonly module: string;
  readonly layout: LinearLayout;
  readonly inputs: number;
  readonly outputs: number;
  readonly rank: number;
  readonly alpha: number;
  /** Multiplies the product of both matrices: α/R, or α/√R. */
  readonly scale: number;
}

/** The settings applied to a model. */
export interface LoraPlan {
  readonly config: LoraConfig;
  readonly targets: readonly LoraTarget[];
  /** Names of parameters that are trained whole. */
  readonly whole: ReadonlySet<string>;
}

const WEIGHT = '.weight';
const BIAS = '.bias';

/** Names of an adapted layer's matrices among the parameters, as PEFT writes them after `base_model.model.`. */
export const loraNames = (module: string) => ({
  down: `${module}.lora_A.weight`,
  up: `${module}.lora_B.weight`,
  magnitude: `${module}.lora_magnitude_vector`,
});

/**
 * The layers that the settings name.
 *
 * @param ranks ranks that stand in a file, by module; they decide instead of targets and patterns
 * @throws ConfigError when nothing matches, a pattern is no regular expression, or a part of the model cannot be adapted
 */
export function planLora(
  model: Pick<CausalModel, 'type' | 'parameters'>,
  config: LoraConfig,
  ranks?: ReadonlyMap<string, number>,
): LoraPlan {
  const layers = linearLayers(model, config.targetModules !== 'all-linear' || ranks !== undefined);
  const saved = savedParameters(model, config.modulesToSave);
  const isTarget = ranks === undefined ? targetTest(layers, config) : (module: string) => ranks.has(module);
  const targets = layers
    .filter(({ module }) => isTarget(module) && !saved.has(module + WEIGHT))
    .map((layer) => {
      const rank = ranks?.get(layer.module) ?? patternOf(config.rankPattern, layer.module) ?? config.r;
      const alpha = patternOf(config.alphaPattern, layer.module) ?? config.alpha;
      return { ...layer, rank, alpha, scale: alpha / (config.rslora ? Math.sqrt(rank) : rank) };
    });
  for (const { module, rank } of targets) {
    if (Number.isInteger(rank) && rank > 0) continue;
    throw failed('rank', 'a positive integer', `${rank} for ${module}`, 'Correct r or the rank pattern');
  }
  if (targets.length === 0) {
    const names = [...new Set(layers.map(({ module }) => lastPart(module)))];
    throw failed(
      'target modules',
      `layers of ${model.type}: ${names.join(', ')}, or all-linear`,
      describeTargets(config.targetModules),
      'Name some of these layers',
    );
  }
  const biases = config.bias === 'none' ? [] : trainedBiases(model, config.bias, targets);
  return { config, targets, whole: new Set([...saved, ...biases]) };
}

/** Linear layers of a model; its output embedding is one of them `withHead`, which `all-linear` leaves out. */
function linearLayers(
  { parameters }: Pick<CausalModel, 'parameters'>,
  withHead: boolean,
): Omit<LoraTarget, 'rank' | 'alpha' | 'scale'>[] {
  return parameters.flatMap((spec) => {
    const { name, shape, linear } = spec.holds ?? spec;
    const layout = linear ?? (withHead && OUTPUT_EMBEDDINGS.includes(name) ? 'out-in' : undefined);
    if (layout === undefined) return [];
    const [outputs, inputs] = (layout === 'out-in' ? shape : [...shape].reverse()) as [number, number];
    return [{ module: name.slice(0, -WEIGHT.length), layout, inputs, outputs }];
  });
}

function targetTest(
  layers: readonly { readonly module: string }[],
  { targetModules }: LoraConfig,
): (module: string) => boolean {
  if (targetModules === 'all-linear') return () => true;
  if ('regex' in targetModules) {
    const pattern = compile('target modules', `^(?:${targetModules.regex})$`, targetModules.regex);
    return (module) => pattern.test(module);
  }
  const known = new Set(layers.flatMap(({ module }) => [module, lastPart(module)]));
  for (const name of targetModules) {
    if (layers.some(({ module }) => endsInModule(module, name))) continue;
    const hint = suggest(name, known);
    throw failed(
      'target modules',
      `names of linear layers: ${[...new Set(layers.map(({ module }) => lastPart(module)))].join(', ')}`,
      `"${name}"`,
      hint === undefined ? 'Name some of these, or all-linear' : `Did you mean "${hint}"?`,
    );
  }
  return (module) => targetModules.some((name) => endsInModule(module, name));
}

/** Names of all parameters inside the modules to save. */
function savedParameters(
  { type, parameters }: Pick<CausalModel, 'type' | 'parameters'>,
  modules: readonly string[],
): Set<string> {
  const saved = new Set<string>();
  for (const module of modules) {
    const inside = parameters.filter(({ name }) => isInside(name, module));
    if (inside.length === 0) {
      throw failed(
        'modules to save',
        `a module of ${type} with weights of its own`,
        `"${module}"`,
        'A tied output embedding is part of the input embedding: name that one',
      );
    }
    const packed = inside.find(({ holds }) => holds !== undefined);
    if (packed !== undefined) {
      throw failed(
        'modules to save',
        'modules that are kept as float32',
        `"${module}" with ${packed.holds!.name}, which is quantized`,
        'Change it with the adapter, or do not quantize the base',
      );
    }
    for (const { name } of inside) saved.add(name);
  }
  return saved;
}

/** Whether a parameter belongs to a module, named by any end of its name as in PEFT (`norm` is `q_norm` too), or to a part of it. */
export function isInside(parameter: string, module: string): boolean {
  const parts = parameter.split('.');
  return parts.some((_, index) => parts.slice(0, index).join('.').endsWith(module));
}

function trainedBiases(
  { parameters }: Pick<CausalModel, 'parameters'>,
  mode: 'all' | 'lora_only',
  targets: readonly LoraTarget[],
): string[] {
  const modules = new Set(targets.map(({ module }) => module));
  return parameters
    .map(({ name }) => name)
    .filter((name) => name.endsWith(BIAS) && (mode === 'all' || modules.has(name.slice(0, -BIAS.length))));
}

/** Value of the first key that matches the end of a module's name from the start of a part on. */
function patternOf(pattern: Readonly<Record<string, number>>, module: string): number | undefined {
  return Object.entries(pattern).find(([key]) =>
    compile('pattern', `^(?:.*\\.)?(?:${key})$`, key).test(module),
  )?.[1];
}

function compile(what: string, source: string, given: string): RegExp {
  try {
    // Python's named groups.
    return new RegExp(source.replaceAll('(?P<', '(?<'));
  } catch (cause) {
    throw failed(
      what,
      'a regular expression',
      `"${given}": ${(cause as Error).message}`,
      'Correct it',
      cause,
    );
  }
}

/** Whether a module's name is `end`, or ends in it from the start of a part on. */
export const endsInModule = (module: string, end: string): boolean =>
  module === end || module.endsWith(`.${end}`);

const lastPart = (module: string): string => module.slice(module.lastIndexOf('.') + 1);

function describeTargets(targets: TargetModules): string {
  if (targets === 'all-linear') return 'a model without linear layers';
  return 'regex' in targets ? `/${targets.regex}/, which matches none` : 'none';
}

function failed(what: string, expected: string, received: string, fix: string, cause?: unknown): ConfigError {
  return new ConfigError({ where: `adapter: ${what}`, expected, received, fix, ...(cause ? { cause } : {}) });
}

/**
 * Names for a file: the last parts of the names where they mean the same layers, as tools that serve adapters expect,
 * else whole names.
 */
export function shortestTargets(
  model: Pick<CausalModel, 'parameters'>,
  targets: readonly LoraTarget[],
): string[] {
  const chosen = new Set(targets.map(({ module }) => module));
  const last = [...new Set(targets.map(({ module }) => lastPart(module)))];
  const same = linearLayers(model, true).every(
    ({ module }) => chosen.has(module) === last.some((name) => endsInModule(module, name)),
  );
  return same ? last : [...chosen];
}

/** Specs of the matrices that an adapter adds. */
export function loraSpecs({ targets, config }: LoraPlan): ParameterSpec[] {
  return targets.flatMap(({ module, rank, inputs, outputs }) => {
    const names = loraNames(module);
    return [
      // PyTorch's initialisation of a linear layer, as PEFT: uniform in ±1/√I. The other matrix is 0, so nothing changes yet.
      { name: names.down, shape: [rank, inputs], init: { kind: 'uniform', bound: 1 / Math.sqrt(inputs) } },
      { name: names.up, shape: [outputs, rank], init: { kind: 'zeros' } },
      ...(config.dora ? [{ name: names.magnitude, shape: [outputs] }] : []),
    ] as ParameterSpec[];
  });
}
