/**
 * A model with a low-rank adapter over the weights of another, which stay where they are: several adapters over one base
 * take the memory of one base. The adapter switched off is the base model itself.
 */
import { createRng, type Rng } from '../core/rng.ts';
import { sizeOf } from '../core/shapes.ts';
import { sliceAxis } from '../graph/ops/shape.ts';
import type { Tensor } from '../graph/tensor.ts';
import { drawFeatureKeys, drawTokenKeys, dropout } from '../nn/dropout.ts';
import type { LinearLayout } from '../nn/linear.ts';
import { loraWeight } from '../nn/lora.ts';
import { allocateOver, initialize, type ParameterSpec, type Parameters } from '../nn/parameters.ts';
import { dequantizeMatrix } from '../nn/quantize.ts';
import type { CausalModel, TrainingForm, Weights } from './causal-model.ts';
import { type LoraConfig, type LoraPlan, loraNames, loraSpecs, planLora } from './lora-config.ts';

/** A model with an adapter; its `parameters` are those of the base, frozen but for those trained whole, and the adapter's. */
export interface LoraModel extends CausalModel {
  readonly base: CausalModel;
  readonly lora: LoraPlan;
}

/** Whether a model carries an adapter. */
export const isLoraModel = (model: CausalModel): model is LoraModel => 'lora' in model;

/** A model with the weights that are its own, and those it stands on. */
export interface ModelWithParameters<M extends CausalModel = CausalModel> {
  readonly model: M;
  readonly parameters: Parameters;
}

export interface AttachOptions {
  /** Draws the matrices, and the masks of dropout in training. */
  readonly rng?: Rng;
  /** Ranks that stand in a file, by module, in place of targets and patterns. */
  readonly ranks?: ReadonlyMap<string, number>;
}

/**
 * A new adapter over a model: its output is the base's until it is trained. Weights of the base are bound where they lie;
 * those that the adapter trains whole are copied.
 *
 * @throws ConfigError when the settings do not fit the model
 */
export function attachLora(
  { model: base, parameters: frozen }: ModelWithParameters,
  config: LoraConfig,
  { rng = createRng(0), ranks }: AttachOptions = {},
): ModelWithParameters<LoraModel> {
  const lora = planLora(base, config, ranks);
  const model = loraModel(base, lora, rng.split('dropout'));
  const parameters = allocateOver(model.parameters, frozen.arrays());
  for (const name of lora.whole) parameters.view(name).set(frozen.view(name));
  initialize(
    parameters,
    rng.split('adapter'),
    loraSpecs(lora).filter(({ init }) => init !== undefined),
  );
  for (const { module, layout, outputs } of config.dora ? lora.targets : []) {
    const weight = weightOf({ model: base, parameters: frozen }, `${module}.weight`, layout);
    rowLengths(weight, layout, parameters.view(loraNames(module).magnitude), outputs);
  }
  return { model, parameters };
}

/** Numbers of a base weight, from packed integers where they are all there is. */
function weightOf(
  { model, parameters }: ModelWithParameters,
  name: string,
  layout: LinearLayout,
): Float32Array {
  const packed = model.parameters.find(({ holds }) => holds?.name === name);
  if (packed === undefined) return parameters.view(name);
  const { columns } = packed.quantized!;
  const rows = new Float32Array(sizeOf(packed.holds!.shape)); // [N, K]
  const scales = parameters.view(`${name}.scales`);
  const integers = parameters.arrays()[packed.name] as Uint8Array;
  dequantizeMatrix({ packed: integers, scales, layout: packed.quantized! }, rows);
  if (layout === 'out-in') return rows;
  const N = rows.length / columns;
  return Float32Array.from(rows, (_, i) => rows[(i % N) * columns + Math.floor(i / N)]!);
}

/** Length of each output's row of a weight: what DoRA starts from. */
function rowLengths(
  weight: Float32Array,
  layout: LinearLayout,
  lengths: Float32Array,
  outputs: number,
): void {
  const inputs = weight.length / outputs;
  for (let o = 0; o < outputs; o++) {
    let squares = 0;
    for (let i = 0; i < inputs; i++) {
      squares += weight[layout === 'out-in' ? o * inputs + i : i * outputs + o]! ** 2;
    }
    lengths[o] = Math.sqrt(squares);
  }
}

/** The traced functions of a base with an adapter. */
function loraModel(base: CausalModel, lora: LoraPlan, rng: Rng): LoraModel {
  const parameters: ParameterSpec[] = [
    ...base.parameters.map((spec) =>
      lora.whole.has(spec.name) ? unfrozen(spec) : { ...spec, frozen: true },
    ),
    ...loraSpecs(lora),
  ];
  const changed = (adapt: (weights: Weights) => Weights): CausalModel => ({
    ...base,
    parameters,
    forward: (weights, input) => base.forward(adapt(weights), input),
    head: (weights) => base.head(adapt(weights)),
    ...(base.labels === undefined
      ? {}
      : { labels: { ...base.labels, score: (weights, input) => base.labels!.score(adapt(weights), input) } }),
    matrixParameters:
      base.matrixParameters +
      lora.targets.reduce((total, { rank, inputs, outputs }) => total + rank * (inputs + outputs), 0),
  });
  const plain = changed((weights) => adaptWeights(base, weights, lora));
  const training = lora.config.dropout > 0 ? dropoutForm(base, lora, rng, changed) : undefined;
  return { ...plain, base, lora, ...(training === undefined ? {} : { training }) };
}

function unfrozen({ frozen: _, ...spec }: ParameterSpec): ParameterSpec {
  return spec;
}

/** The weights with each adapted one in place of its base. */
function adaptWeights(
  base: CausalModel,
  given: Weights,
  { targets, config }: LoraPlan,
  dropoutOf?: (target: number) => (x: Tensor) => Tensor,
): Weights {
  const weights = base.resolve?.(given) ?? given;
  const adapted: Record<string, Tensor> = { ...weights };
  for (const [index, { module, layout, scale }] of targets.entries()) {
    const names = loraNames(module);
    const weight = `${module}.weight`;
    adapted[weight] = loraWeight(weights[weight]!, layout, {
      ...{ down: weights[names.down]!, up: weights[names.up]!, scale },
      ...(config.dora ? { magnitude: weights[names.magnitude]! } : {}),
      ...(dropoutOf === undefined ? {} : { dropout: dropoutOf(index) }),
    });
  }
  return adapted;
}

const TOKEN_KEYS = 'dropout.tokens';
const FEATURE_KEYS = 'dropout.features';

/** Dropout on the input of every change: keys of tokens are new in each micro-batch, those of features stay. */
function dropoutForm(
  base: CausalModel,
  lora: LoraPlan,
  rng: Rng,
  changed: (adapt: (weights: Weights) => Weights) => CausalModel,
): TrainingForm {
  const starts: number[] = [];
  let features = 0;
  for (const { inputs } of lora.targets) {
    starts.push(features);
    features += inputs;
  }
  const featureKeys = drawFeatureKeys(features, rng.split('features'));
  return {
    types: (tokens) => ({
      [TOKEN_KEYS]: { dtype: 'int64', shape: [2, tokens] },
      [FEATURE_KEYS]: { dtype: 'int64', shape: [features] },
    }),
    arrays: (tokens, step, microBatch) => ({
      [TOKEN_KEYS]: drawTokenKeys(tokens, rng.split('tokens'), step, microBatch),
      [FEATURE_KEYS]: featureKeys,
    }),
    model: (inputs) =>
      changed((weights) =>
        adaptWeights(base, weights, lora, (target) => (x) => {
          const tokens = sizeOf(x.shape.slice(0, -1));
          const start = starts[target]!;
          return dropout(
            x,
            {
              tokens: sliceAxis(inputs[TOKEN_KEYS]!, 1, 0, tokens),
              features: sliceAxis(inputs[FEATURE_KEYS]!, 0, start, start + lora.targets[target]!.inputs),
            },
            lora.config.dropout,
          );
        }),
      ),
  };
}
