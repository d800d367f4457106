/** Rewrites a program into an equal one with fewer operations: folding, simplification, common subexpressions, dead code. */
import { allocate, type HostTensor, hostTensor } from '../core/host-tensor.ts';
import { broadcastShapes, sameShape, sizeOf } from '../core/shapes.ts';
import { constantOp, exactText, fillOp } from './ops/common.ts';
import { afterOp, customOp, stopGradientOp } from './ops/control.ts';
import { addOp, divOp, mulOp, negOp, subOp } from './ops/elementwise.ts';
import { broadcastToOp, reshapeOp, transposeOp } from './ops/shape.ts';
import { inputOp, type Program } from './program.ts';
import { apply, type Node, type Op, type Tensor } from './tensor.ts';

type Build = (op: Op, inputs: readonly Tensor[], attributes: object) => readonly Tensor[];

/** Constants up to this many elements are compared by content and may be made by folding. */
const smallConstant = 4096;

/**
 * Applies, in one pass from inputs to outputs: removal of operations that only matter to differentiation, constant
 * folding, algebraic identities that are exact in floating point, un-broadcasting of operands, and common-subexpression
 * elimination. Dead code goes because only nodes that the outputs need are rebuilt; waiting (`after`) needs nothing. Inputs keep their names and order.
 */
export function optimize(program: Program): Program {
  const replaced = new Map<Tensor, Tensor>();
  const known = new Map<string, readonly Tensor[]>();
  for (const { tensor } of program.inputs) replaced.set(tensor, tensor);
  const numbers = new Map<Tensor, number>();
  const numberOf = (tensor: Tensor): number => {
    let number = numbers.get(tensor);
    if (number === undefined) {
      number = numbers.size;
      numbers.set(tensor, number);
    }
    return number;
  };
  const build: Build = (op, inputs, attributes) => {
    const key = `${op.name}|${attributesKey(op, attributes)}|${inputs.map(numberOf).join(',')}`;
    const before = known.get(key);
    if (before !== undefined) return before;
    const outputs = apply(op, inputs, attributes);
    known.set(key, outputs);
    return outputs;
  };
  const live = findLive(program);
  for (const node of live.nodes) {
    if (isOp(node, inputOp)) {
      replaced.set(node.outputs[0]!, replaced.get(node.outputs[0]!) ?? node.outputs[0]!);
      continue;
    }
    if (isOp(node, customOp)) {
      for (const output of node.outputs)
        if (live.has(output)) replaced.set(output, replaced.get(node.inputs[output.index]!)!);
      continue;
    }
    const kept = isOp(node, afterOp)
      ? node.inputs.filter((tensor, index) => index === 0 || live.has(tensor))
      : node.inputs;
    const inputs = kept.map((tensor) => replaced.get(tensor)!);
    const light = lighten(node, inputs);
    const outputs =
      withoutElements(node, build) ??
      simplify(node, inputs, build) ??
      fold(node, light, build) ??
      build(node.op, light, node.attributes);
    node.outputs.forEach((old, index) => {
      replaced.set(old, outputs[index]!);
    });
  }
  return {
    inputs: program.inputs,
    outputs: program.outputs.map(({ name, tensor }) => ({ name, tensor: replaced.get(tensor)! })),
  };
}

interface Live {
  /** In order: inputs before users. */
  readonly nodes: readonly Node[];
  has(tensor: Tensor): boolean;
}

/** What the outputs need. What is only waited for is not needed, and of a custom function only the outputs in use are. */
function findLive(program: Program): Live {
  const tensors = new Set<Tensor>();
  const nodes = new Set<Node>();
  const stack = program.outputs.map(({ tensor }) => tensor);
  while (stack.length > 0) {
    const tensor = stack.pop()!;
    if (tensors.has(tensor)) continue;
    tensors.add(tensor);
    const { node } = tensor;
    nodes.add(node);
    if (isOp(node, customOp)) stack.push(node.inputs[tensor.index]!);
    else if (isOp(node, afterOp)) stack.push(node.inputs[0]!);
    else stack.push(...node.inputs);
  }
  return {
    nodes: [...nodes].sort((a, b) => a.id - b.id),
    has: (tensor) => (isOp(tensor.node, customOp) ? tensors.has(tensor) : nodes.has(tensor.node)),
  };
}

/** Constants for a node whose outputs have no elements: kernels need not be able to compute nothing. */
function withoutElements(node: Node, build: Build): readonly Tensor[] | undefined {
  if (isOp(node, constantOp) || node.outputs.some((output) => sizeOf(output.shape) > 0)) return undefined;
  return node.outputs.map(
    ({ dtype, shape }) =>
      build(constantOp as unknown as Op, [], { tensor: hostTensor(allocate(dtype, 0), shape) })[0]!,
  );
}

const isOp = (node: Node, op: object): boolean => (node.op as object) === op;

/** Identities that are exact in floating point, but for the sign of a zero: x·1, x/1, x + 0, x − 0, −(−x) and moves that undo each other. */
function simplify(node: Node, inputs: readonly Tensor[], build: Build): readonly Tensor[] | undefined {
  const [x, y] = inputs;
  const same = (tensor: Tensor): readonly Tensor[] | undefined =>
    sameShape(tensor.shape, node.outputs[0]!.shape) ? [tensor] : undefined;
  if (isOp(node, stopGradientOp)) return [x!];
  if (isOp(node, afterOp) && inputs.length === 1) return [x!];
  if (isOp(node, mulOp)) {
    if (uniformConstant(y!) === 1) return same(x!);
    if (uniformConstant(x!) === 1) return same(y!);
  }
  if (isOp(node, divOp) && uniformConstant(y!) === 1) return same(x!);
  if (isOp(node, addOp)) {
    if (uniformConstant(y!) === 0) return same(x!);
    if (uniformConstant(x!) === 0) return same(y!);
  }
  if (isOp(node, subOp) && uniformConstant(y!) === 0) return same(x!);
  if (isOp(node, negOp) && isOp(x!.node, negOp)) return [x!.node.inputs[0]!];
  if (isOp(node, reshapeOp)) {
    const source = isOp(x!.node, reshapeOp) ? x!.node.inputs[0]! : x!;
    return same(x!) ?? same(source);
  }
  if (isOp(node, transposeOp)) {
    if (permutationOf(node).every((axis, position) => axis === position)) return [x!];
    if (!isOp(x!.node, transposeOp)) return undefined;
    const inner = permutationOf(x!.node);
    const permutation = permutationOf(node).map((axis) => inner[axis]!);
    const source = x!.node.inputs[0]!;
    if (permutation.every((axis, position) => axis === position)) return [source];
    return build(transposeOp as unknown as Op, [source], { permutation });
  }
  return undefined;
}

const permutationOf = (node: Node): readonly number[] =>
  (node.attributes as { permutation: readonly number[] }).permutation;

/** Drops broadcasts that the operation does by itself, and chains of reshapes. */
function lighten(node: Node, inputs: readonly Tensor[]): readonly Tensor[] {
  if (isOp(node, reshapeOp) && isOp(inputs[0]!.node, reshapeOp)) return inputs[0]!.node.inputs;
  if (!broadcasting.has(node.op.name)) return inputs;
  const light = [...inputs];
  const shapeNow = () =>
    light.reduce<readonly number[]>((shape, x) => broadcastShapes(node.op.name, shape, x.shape), []);
  for (const [index, x] of inputs.entries()) {
    if (!isOp(x.node, fillOp) && !isOp(x.node, broadcastToOp)) continue;
    light[index] = x.node.inputs[0]!;
    if (!sameShape(shapeNow(), node.outputs[0]!.shape)) light[index] = x;
  }
  return light;
}

const broadcasting: ReadonlySet<string> = new Set([
  'add',
  'sub',
  'mul',
  'div',
  'maximum',
  'minimum',
  'equal',
  'less',
  'lessEqual',
  'greater',
  'greaterEqual',
  'and',
  'or',
  'where',
]);

/** The number every element of a small constant has, if there is one. */
function uniformConstant(x: Tensor): number | undefined {
  if (isOp(x.node, fillOp)) return uniformConstant(x.node.inputs[0]!);
  if (!isOp(x.node, constantOp)) return undefined;
  const { data } = (x.node.attributes as { tensor: HostTensor }).tensor;
  if (data.length !== 1) return undefined;
  return Number(data[0]);
}

/** Evaluates a node whose inputs are all constants and whose outputs are small. */
function fold(node: Node, inputs: readonly Tensor[], build: Build): readonly Tensor[] | undefined {
  if (inputs.length === 0 || isOp(node, fillOp)) return undefined;
  if (!inputs.every((x) => isOp(x.node, constantOp))) return undefined;
  if (node.outputs.some((output) => sizeOf(output.shape) > smallConstant)) return undefined;
  const values = inputs.map(
    (x) => constantOp.evaluate([], x.node.attributes as { tensor: HostTensor }, [])[0]!,
  );
  return node.op.evaluate(values, node.attributes, node.outputs).map(({ data, shape }, index) => {
    const { dtype } = node.outputs[index]!;
    const array = allocate(dtype, data.length);
    for (let i = 0; i < data.length; i++) {
      if (array instanceof BigInt64Array) array[i] = BigInt(data[i]!);
      else array[i] = data[i]!;
    }
    return build(constantOp as unknown as Op, [], { tensor: hostTensor(array, shape) })[0]!;
  });
}

let nextIdentity = 0;
const identities = new WeakMap<object, number>();

/** Text that is equal for equal attributes. Large arrays and functions are compared by identity. */
function attributesKey(op: Op, attributes: object): string {
  if ((op as object) === constantOp) {
    const { tensor } = attributes as { tensor: HostTensor };
    if (tensor.data.length <= smallConstant) {
      return `${tensor.dtype}[${tensor.shape.join()}]${Array.from(tensor.data as ArrayLike<number | bigint>, exactText).join()}`;
    }
    return `#${identityOf(tensor.data)}`;
  }
  return JSON.stringify(attributes, (_key, part: unknown) => {
    if (typeof part === 'function') return `#${identityOf(part)}`;
    if (typeof part === 'number') return exactText(part);
    return part;
  });
}

function identityOf(thing: object): number {
  let id = identities.get(thing);
  if (id === undefined) {
    id = nextIdentity++;
    identities.set(thing, id);
  }
  return id;
}
