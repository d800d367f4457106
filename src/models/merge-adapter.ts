/** An adapter's change written into the weights: a plain model again. */
import { ConfigError } from '../core/errors.ts';
import { allocateParameters, type Parameters } from '../nn/parameters.ts';
import type { LoadedModel } from './checkpoint.ts';
import { type LoraTarget, loraNames } from './lora-config.ts';
import { isLoraModel, type LoraModel, type ModelWithParameters } from './lora-model.ts';

/**
 * The base model with weights of its own in which the adapter's change is merged: W + s·B A, rows scaled to their
 * magnitudes with DoRA; modules trained whole are taken as they are. Sums are made in float64.
 */
export function mergeLora({ model, parameters }: ModelWithParameters<LoraModel>): ModelWithParameters {
  const { base, lora } = model;
  if (base.parameters.some(({ holds }) => holds !== undefined)) {
    throw new ConfigError({
      where: 'mergeLora',
      expected: 'a base in float32',
      received: 'a quantized one',
      fix: 'Load the base without quantizing it, with the adapter over it, and merge that',
    });
  }
  const merged = allocateParameters(base.parameters.map(({ frozen: _, ...spec }) => spec));
  for (const { name } of base.parameters) merged.view(name).set(parameters.view(name));
  for (const target of lora.targets) mergeTarget(target, parameters, merged.view(`${target.module}.weight`));
  return { model: base, parameters: merged };
}

/** A loaded model without adapter: merged where it has one, and as it is where it has none. */
export function mergeAdapter(loaded: LoadedModel): LoadedModel {
  const { model, parameters } = loaded;
  return isLoraModel(model) ? { ...loaded, ...mergeLora({ model, parameters }) } : loaded;
}

function mergeTarget(target: LoraTarget, parameters: Parameters, weight: Float32Array): void {
  const { module, layout, inputs, outputs, rank, scale } = target;
  const names = loraNames(module);
  const down = parameters.view(names.down);
  const up = parameters.view(names.up);
  const magnitude = parameters.has(names.magnitude) ? parameters.view(names.magnitude) : undefined;
  const row = new Float64Array(inputs);
  for (let o = 0; o < outputs; o++) {
    const at = (i: number): number => (layout === 'out-in' ? o * inputs + i : i * outputs + o);
    for (let i = 0; i < inputs; i++) row[i] = weight[at(i)]!;
    for (let r = 0; r < rank; r++) {
      const factor = scale * up[o * rank + r]!;
      for (let i = 0; i < inputs; i++) row[i] = row[i]! + factor * down[r * inputs + i]!;
    }
    const factor = magnitude === undefined ? 1 : magnitude[o]! / length(row);
    for (let i = 0; i < inputs; i++) weight[at(i)] = factor * row[i]!;
  }
}

function length(row: Float64Array): number {
  let squares = 0;
  for (const x of row) squares += x * x;
  return Math.sqrt(squares);
}
