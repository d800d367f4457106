/** Traced tensors: an immutable graph of operations, one record per operation. */
import { ShapeError } from '../core/errors.ts';
import type { DType, Shape } from '../core/shapes.ts';
import { formatShape } from '../core/shapes.ts';
import type { Lowering } from './lowering.ts';

/** What a tensor is before any number is known. Shapes are static. */
export interface TensorType {
  readonly dtype: DType;
  readonly shape: Shape;
}

/** Plain data that configures a node: numbers, strings and lists of numbers, so that equal nodes can be found. */
export type Attributes = object;

/** Numbers of one tensor in the interpreter: float64 whatever the dtype (bool is 0 or 1; integers stay exact to 2^53). */
export interface Value {
  readonly shape: Shape;
  readonly data: Float64Array;
}

/** What a gradient rule sees. A missing cotangent means zero. */
export interface GradientContext<A extends Attributes> {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly cotangents: readonly (Tensor | undefined)[];
  readonly attributes: A;
}

/** Everything heed knows about one operation. */
export interface Op<A extends Attributes = Attributes> {
  readonly name: string;
  /** Shape rule: types of the outputs. Throws `ShapeError` on inputs that do not fit. */
  infer(inputs: readonly TensorType[], attributes: A): readonly TensorType[];
  /** Reference value in float64. */
  evaluate(inputs: readonly Value[], attributes: A, outputs: readonly TensorType[]): readonly Value[];
  /** Cotangent per input (undefined = none). Leave out for operations with no gradient (comparisons, indices). */
  gradient?(context: GradientContext<A>): readonly (Tensor | undefined)[];
  /** ONNX: emits nodes, returns the name of each output. */
  lower(lowering: Lowering, inputs: readonly string[], node: Node<A>): readonly string[];
}

/** One application of an operation. */
export interface Node<A extends Attributes = Attributes> {
  /** Creation order: every input of a node has a smaller id. */
  readonly id: number;
  readonly op: Op<A>;
  readonly inputs: readonly Tensor[];
  readonly attributes: A;
  readonly outputs: readonly Tensor[];
}

/** One output of a node. Immutable; holds no numbers. */
export class Tensor implements TensorType {
  readonly node: Node;
  /** Which output of the node. */
  readonly index: number;
  readonly dtype: DType;
  readonly shape: Shape;

  constructor(node: Node, index: number, type: TensorType) {
    this.node = node;
    this.index = index;
    this.dtype = type.dtype;
    this.shape = type.shape;
  }

  get rank(): number {
    return this.shape.length;
  }

  toString(): string {
    return `${this.dtype}${formatShape(this.shape)}`;
  }
}

let nextId = 0;

/** Id that the next node will get: nodes below it existed before. */
export function nextNodeId(): number {
  return nextId;
}

/** Applies an operation: checks the inputs by its shape rule and returns its outputs. */
export function apply<A extends Attributes>(
  op: Op<A>,
  inputs: readonly Tensor[],
  attributes: A,
): readonly Tensor[] {
  const types = op.infer(inputs, attributes);
  const outputs: Tensor[] = [];
  const node: Node<A> = { id: nextId++, op, inputs, attributes, outputs };
  for (const [index, type] of types.entries()) {
    if (type.shape.some((dimension) => !Number.isInteger(dimension) || dimension < 0)) {
      throw new ShapeError({
        where: op.name,
        expected: 'non-negative integer dimensions',
        received: formatShape(type.shape),
        fix: 'Check the sizes passed to this operation',
      });
    }
    outputs.push(new Tensor(node as unknown as Node, index, type));
  }
  return outputs;
}

/** `apply` for operations with one output. */
export function applyOne<A extends Attributes>(op: Op<A>, inputs: readonly Tensor[], attributes: A): Tensor {
  return apply(op, inputs, attributes)[0]!;
}
