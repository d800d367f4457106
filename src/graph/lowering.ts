import type { HostTensor } from '../core/host-tensor.ts';
import type { DType } from '../core/shapes.ts';

/** Attribute of an ONNX node. Numbers are written as INT when tagged, else FLOAT. */
export type OnnxAttribute =
  | { readonly int: number }
  | { readonly ints: readonly number[] }
  | { readonly float: number }
  | { readonly floats: readonly number[] }
  | { readonly string: string };

export interface OnnxNodeOptions {
  /** '' is the standard domain; 'com.microsoft' holds ONNX Runtime's fused operators. */
  readonly domain?: '' | 'com.microsoft';
  readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
  /** Number of outputs to name; 1 when left out. */
  readonly outputs?: number;
}

/** What an operation needs to write itself as ONNX. Names are strings private to one model. */
export interface Lowering {
  /** Appends a node and returns its output names. An empty input name means an optional input left out. */
  node(opType: string, inputs: readonly string[], options?: OnnxNodeOptions): readonly string[];
  /** A constant in the model; equal small constants are stored once. */
  constant(tensor: HostTensor): string;
  /** A 1-D int64 constant (shapes, axes, starts). */
  ints(values: readonly number[]): string;
  /** A 0-D constant. */
  scalar(value: number, dtype: DType): string;
}
