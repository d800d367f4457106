/** Specs of the usual layers' weights, named as in Hugging Face checkpoints. */
import type { ParameterSpec } from './parameters.ts';

/** One weight drawn from N(0, std²). */
export const matrix = (name: string, shape: readonly number[], std: number): ParameterSpec => ({
  name,
  shape,
  init: { kind: 'normal', std },
});

/** Weight [O, I] of a linear layer, and its bias [O] where it has one. */
export const projection = (
  name: string,
  [out, inside]: readonly [number, number],
  { std, bias }: { readonly std: number; readonly bias: boolean },
): ParameterSpec[] => [
  { ...matrix(`${name}.weight`, [out, inside], std), linear: 'out-in' },
  ...(bias ? [{ name: `${name}.bias`, shape: [out], init: { kind: 'zeros' as const } }] : []),
];

/** Weight of a root-mean-square normalisation; `zeros` where the norm multiplies by 1 + weight. */
export const rmsNormSpec = (name: string, size: number, kind: 'ones' | 'zeros' = 'ones'): ParameterSpec => ({
  name: `${name}.weight`,
  shape: [size],
  init: { kind },
});

/** Weight and bias of a layer normalisation. */
export const layerNormSpecs = (name: string, size: number): ParameterSpec[] => [
  { name: `${name}.weight`, shape: [size], init: { kind: 'ones' } },
  { name: `${name}.bias`, shape: [size], init: { kind: 'zeros' } },
];
