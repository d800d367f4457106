/** Activations of feed-forward layers by the names that config.json uses. */
import { gelu, geluTanh, relu, silu } from '../graph/ops/neural.ts';
import type { Tensor } from '../graph/tensor.ts';

const activations = {
  gelu,
  /** The tanh form under the names of its several implementations. */
  gelu_new: geluTanh,
  gelu_fast: geluTanh,
  gelu_pytorch_tanh: geluTanh,
  relu,
  silu,
} as const satisfies Readonly<Record<string, (x: Tensor) => Tensor>>;

export type ActivationName = keyof typeof activations;

export const activationNames = Object.keys(activations) as [ActivationName, ...ActivationName[]];

/** The activation of a name in config.json. */
export const activation = (name: ActivationName): ((x: Tensor) => Tensor) => activations[name];
